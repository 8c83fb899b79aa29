"""Tests of modelota.repository.serve."""

import http.client
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import ModelotaError
from modelota.repository.serve import RepositoryServer, parse_range
from modelota.testing.certificates import CertificateAuthority

DATA = bytes(range(200))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RepositoryServer]:
    """A running server over a directory with one file, and a secret beside the directory."""
    (tmp_path / "secret").write_text("secret")
    public = tmp_path / "public"
    (public / "deep").mkdir(parents=True)
    (public / "deep" / "file").write_bytes(DATA)
    (public / "empty").write_bytes(b"")
    (public / "way out").symlink_to(tmp_path / "secret")
    with RepositoryServer(public) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _ask(
    server: RepositoryServer, path: str, byte_range: str | None = None, method: str = "GET"
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(server.host, server.server_address[1], timeout=10)
    try:
        connection.request(method, path, headers={} if byte_range is None else {"Range": byte_range})
        answer = connection.getresponse()
        return answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()}
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, 200),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=190-", 206, 190, 200),
        ("bytes=-5", 206, 195, 200),
        ("bytes=-500", 206, 0, 200),
        ("bytes=199-1000000", 206, 199, 200),
        ("bytes=0-1,5-6", 200, 0, 200),
        ("lines=1-2", 200, 0, 200),
    ],
)
def test_ranges(server: RepositoryServer, asked: str | None, status: int, start: int, end: int) -> None:
    """Single ranges are answered with 206 and their place; what is not understood gives the whole file."""
    found, body, headers = _ask(server, "/deep/file", asked)
    assert (found, body) == (status, DATA[start:end])
    assert headers.get("content-range") == (f"bytes {start}-{end - 1}/200" if status == 206 else None)


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=9-3", "bytes=-0", "bytes=-"])
def test_ranges_that_cannot_be(server: RepositoryServer, asked: str) -> None:
    """A range outside the file is 416 with the size."""
    status, body, headers = _ask(server, "/deep/file", asked)
    assert (status, body, headers["content-range"]) == (416, b"", "bytes */200")


def test_head_has_no_body(server: RepositoryServer) -> None:
    """HEAD tells the length only; an empty file is one."""
    status, body, headers = _ask(server, "/deep/file", method="HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", "200")
    assert _ask(server, "/empty")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/deep/../../secret",
        "/%2e%2e/secret",
        "/deep/%2e%2e/%2e%2e/secret",
        "/..%2fsecret",
        "//secret",
        "/way%20out",
        "/deep",
        "/",
        "/absent",
        "/deep/file/",
        "/%00",
        "/deep\\file",
        "/" + "a" * 3000,
    ],
)
def test_nothing_outside_the_directory(server: RepositoryServer, path: str) -> None:
    """Dots, encoded dots, links that lead out, directories and odd bytes are all not found."""
    status, body, _ = _ask(server, path)
    assert (status, body) == (404, b"")


def test_other_methods(server: RepositoryServer) -> None:
    """The server only reads."""
    assert _ask(server, "/deep/file", method="PUT")[0] == 501
    assert _ask(server, "/deep/file", method="DELETE")[0] == 501


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_addresses_need_tls(tmp_path: Path, host: str) -> None:
    """Without a certificate only this machine is served."""
    with pytest.raises(ModelotaError) as caught:
        RepositoryServer(tmp_path, host=host)
    assert caught.value.code == "argument-invalid"


def test_servers_that_cannot_be(tmp_path: Path) -> None:
    """No directory, a port that is none, a certificate that is none, a port that is taken."""
    (tmp_path / "cert").write_text("no certificate")
    pair = (tmp_path / "cert", tmp_path / "cert")
    with RepositoryServer(tmp_path) as running:
        for directory, options, code in (
            (tmp_path / "absent", {}, "repository-not-found"),
            (tmp_path, {"port": 70_000}, "argument-invalid"),
            (tmp_path, {"tls": pair}, "argument-invalid"),
            (tmp_path, {"port": running.server_address[1]}, "argument-invalid"),
        ):
            with pytest.raises(ModelotaError) as caught:
                RepositoryServer(directory, **options)  # type: ignore[arg-type]  # from a table
            assert caught.value.code == code


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 1000))
def test_any_range_stays_inside(text: str, size_bytes: int) -> None:
    """Whatever is asked, the span lies in the file and is not empty."""
    span = parse_range(text, size_bytes)
    assert span is None or 0 <= span[0] < span[1] <= size_bytes


def test_over_tls(tmp_path: Path) -> None:
    """With a certificate the server speaks TLS, and a client that trusts the authority reads the file."""
    authority = CertificateAuthority()
    (tmp_path / "server.pem").write_bytes(authority._server_pem)
    (tmp_path / "file").write_bytes(DATA)
    pair = (tmp_path / "server.pem", tmp_path / "server.pem")
    context = ssl.create_default_context(cadata=authority.ca_pem.decode())
    with RepositoryServer(tmp_path, tls=pair) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert running.url.startswith("https://127.0.0.1:")
            with urllib.request.urlopen(f"{running.url}/file", timeout=10, context=context) as answer:
                assert answer.read() == DATA
        finally:
            running.shutdown()
            thread.join()
