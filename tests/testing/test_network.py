"""Tests of modelota.testing.network: the server itself, by a client that has no part in it."""

import http.client
import threading
from pathlib import Path

import pytest

from modelota.testing.network import (
    Cut,
    Garble,
    IgnoreRange,
    InstrumentedServer,
    LieAboutSize,
    Redirect,
    Slow,
    Stall,
    Status,
)

BODY = bytes(range(256)) * 300


@pytest.fixture
def server(tmp_path: Path):  # noqa: ANN201  a generator fixture
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "a file").write_bytes(BODY)
    with InstrumentedServer(tmp_path) as server:
        yield server


def ask(server: InstrumentedServer, path: str, *, method: str = "GET", span: str | None = None):  # noqa: ANN201  a pair
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={"Range": span} if span else {})
        answer = connection.getresponse()
        try:
            return answer, answer.read()
        except http.client.IncompleteRead as error:
            return answer, error.partial
    finally:
        connection.close()


def test_serves_and_counts(server: InstrumentedServer) -> None:
    """Whole files, ranges and heads are served, and every payload byte is counted per path."""
    assert ask(server, "/dir/a%20file")[1] == BODY
    answer, body = ask(server, "/dir/a%20file", span="bytes=10-19")
    assert (answer.status, body) == (206, BODY[10:20])
    assert answer.getheader("Content-Range") == f"bytes 10-19/{len(BODY)}"
    answer, body = ask(server, "/dir/a%20file", span=f"bytes={len(BODY) - 5}-")
    assert body == BODY[-5:]
    assert ask(server, "/dir/a%20file", span=f"bytes={len(BODY)}-")[0].status == 416
    answer, body = ask(server, "/dir/a%20file", method="HEAD")
    assert (answer.getheader("Content-Length"), body) == (str(len(BODY)), b"")
    assert server.sent_bytes("dir/*") == len(BODY) + 10 + 5
    assert [(r.method, r.status, r.range) for r in server.requests()][:2] == [
        ("GET", 200, None),
        ("GET", 206, "bytes=10-19"),
    ]
    server.forget()
    assert server.requests() == ()


@pytest.mark.parametrize("path", ["/absent", "/", "/dir", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"])
def test_serves_nothing_else(server: InstrumentedServer, path: str) -> None:
    """Directories, missing files and paths that lead out are 404."""
    assert ask(server, path)[0].status == 404


def test_scripts_apply_to_the_requests_they_name(server: InstrumentedServer) -> None:
    """A fault starts at the n-th request, lasts as often as told, and only where the pattern fits."""
    server.script("dir/*", Status(503), nth=2, times=2)
    assert [ask(server, "/dir/a%20file")[0].status for _ in range(4)] == [200, 503, 503, 200]
    server.script("other/*", Status(500))
    assert ask(server, "/dir/a%20file")[0].status == 200
    assert ask(server, "/other/x")[0].status == 500
    server.behave()
    assert ask(server, "/other/x")[0].status == 404


def test_faults(server: InstrumentedServer) -> None:
    """Each fault does what it says."""

    def faulty(fault: object, span: str | None = None):  # noqa: ANN202  a pair
        server.behave()
        server.script("dir/*", fault)  # type: ignore[arg-type]  all of them, one after the other
        return ask(server, "/dir/a%20file", span=span)

    assert faulty(IgnoreRange(), "bytes=0-9")[1] == BODY
    assert faulty(LieAboutSize(7))[1] == BODY + b"\xa5" * 7
    assert faulty(LieAboutSize(-7))[1] == BODY[:-7]
    assert faulty(Cut(after_bytes=12345))[1] == BODY[:12345]
    assert faulty(Redirect("/elsewhere/{path}"))[0].getheader("Location") == "/elsewhere/dir/a file"
    garbled = faulty(Garble(70_000))[1]
    assert [index for index in range(len(BODY)) if garbled[index] != BODY[index]] == [70_000]
    assert faulty(Slow(bytes_per_s=10_000_000))[1] == BODY


def test_stalls_until_released(server: InstrumentedServer) -> None:
    """A stalled answer goes on when it is released."""
    release = threading.Event()
    server.script("dir/*", Stall(after_bytes=100, until=release))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/dir/a%20file")
    answer = connection.getresponse()
    assert answer.read(100) == BODY[:100]
    release.set()
    assert answer.read() == BODY[100:]
    connection.close()


def test_closes_with_clients_still_connected(tmp_path: Path) -> None:
    """Leaving the block ends stalled answers and idle connections, and joins every thread."""
    (tmp_path / "file").write_bytes(BODY)
    before = threading.active_count()
    with InstrumentedServer(tmp_path) as server:
        server.script("file", Stall(after_bytes=1, until=threading.Event()))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/file")
        connection.getresponse().read(1)
    connection.close()
    assert threading.active_count() == before
