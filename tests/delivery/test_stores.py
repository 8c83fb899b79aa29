"""Tests of modelota.delivery.stores and transport, against a real server and a real directory."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from modelota.delivery import paths
from modelota.delivery.stores import ObjectStore, open_store
from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent, TryLater
from modelota.testing.network import (
    Cut,
    Endless,
    Fault,
    IgnoreRange,
    InstrumentedServer,
    LieAboutSize,
    Redirect,
    Stall,
    Status,
    WrongRange,
)

BODY = bytes(range(256)) * 40
ROLE_FILE = paths.metadata_path("acme/assistant-releases", 3)
ODD_NAMES = [
    "percent %2F sign",
    "question?mark",
    "hash#tag",
    "plus+amp&semi;",
    "模型/说明.json",
    "[brackets]",
    "~tilde'",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("object", ROLE_FILE, *ODD_NAMES):
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(BODY)
    return tmp_path / "root"


@pytest.fixture
def server(root: Path) -> Iterator[InstrumentedServer]:
    with InstrumentedServer(root) as server:
        yield server


@pytest.fixture(params=["file", "path", "http"])
def store(request: pytest.FixtureRequest, root: Path, server: InstrumentedServer) -> ObjectStore:
    return open_store({"file": root.as_uri(), "path": str(root), "http": server.url}[request.param])


def code_of(error: pytest.ExceptionInfo[ModelotaError]) -> str:
    return error.value.code


# -- reading, all stores ----------------------------------------------------------------------------------------------


async def test_reads_whole_and_in_part(store: ObjectStore) -> None:
    """Whole objects, ranges, sizes and existence are the same on a directory and a web server."""
    assert store.get("object", len(BODY)) == BODY
    assert store.get_range("object", 100, 1000) == BODY[100:1100]
    assert await store.aget_range("object", 100, 1000) == BODY[100:1100]
    assert store.size("object") == len(BODY)
    assert store.exists("object")
    assert not store.exists("absent")


@pytest.mark.parametrize("name", [ROLE_FILE, *ODD_NAMES])
def test_one_name_everywhere(store: ObjectStore, name: str) -> None:
    """The name of an object is the name of its file, whatever characters the request has to encode."""
    assert store.get(name, len(BODY)) == BODY
    assert store.size(name) == len(BODY)


@pytest.mark.parametrize("limit_bytes", [0, 1, len(BODY) - 1])
def test_limit_on_whole_objects(store: ObjectStore, limit_bytes: int) -> None:
    """An object longer than the limit is document-too-large."""
    with pytest.raises(RefuseContent) as caught:
        store.get("object", limit_bytes)
    assert code_of(caught) == "document-too-large"
    assert caught.value.params["limit_bytes"] == limit_bytes


async def test_missing_object(store: ObjectStore) -> None:
    """What is not there is object-missing, for every way of reading."""
    with pytest.raises(TryLater) as caught:
        store.get("absent", 10)
    assert code_of(caught) == "object-missing"
    with pytest.raises(TryLater) as caught:
        await store.aget_range("absent/too", 0, 10)
    assert code_of(caught) == "object-missing"
    with pytest.raises(TryLater) as caught:
        store.size("metadata")  # a directory is not an object
    assert code_of(caught) == "object-missing"


@pytest.mark.parametrize(("offset", "length"), [(len(BODY) - 10, 20), (len(BODY), 5), (len(BODY) + 100, 5)])
async def test_range_past_the_end(store: ObjectStore, offset: int, length: int) -> None:
    """A range that the object does not have is server-lies-about-size: its size is signed elsewhere."""
    with pytest.raises(RefuseContent) as caught:
        store.get_range("object", offset, length)
    assert code_of(caught) == "server-lies-about-size"
    with pytest.raises(RefuseContent) as caught:
        await store.aget_range("object", offset, length)
    assert code_of(caught) == "server-lies-about-size"


@pytest.mark.parametrize(
    "path",
    ["", "/object", "../object", "a/../object", "./object", "a//b", "a/", "nul\0", "line\nfeed", "a\\b", "x" * 1025],
)
def test_unsafe_paths(store: ObjectStore, path: str) -> None:
    """A path that could mean another object somewhere is refused before anything is asked."""
    with pytest.raises(RefuseContent) as caught:
        store.get(path, 10)
    assert code_of(caught) == "unsafe-path"


def test_stores_open_for_reading_only(store: ObjectStore) -> None:
    """Writing to a store that was opened for reading is a bug of the caller."""
    with pytest.raises(OurBug):
        store.put("object", b"")
    with pytest.raises(OurBug):
        store.delete("object")


# -- directory --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["directory", "memory"])
def writable(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "new" / "repo") if request.param == "directory" else "memory://", writable=True)


def test_put_list_delete(writable: ObjectStore, tmp_path: Path) -> None:
    """Objects can be stored from bytes and files, replaced, listed and deleted."""
    (tmp_path / "big").write_bytes(BODY * 1000)
    writable.put("packs/aa/one", tmp_path / "big")
    writable.put(ROLE_FILE, b"old")
    writable.put(ROLE_FILE, b"new!")
    assert sorted(writable.list("")) == [(ROLE_FILE, 4), ("packs/aa/one", len(BODY) * 1000)]
    assert [entry.path for entry in writable.list("metadata")] == [ROLE_FILE]
    assert list(writable.list("absent")) == []
    writable.delete(ROLE_FILE)
    assert not writable.exists(ROLE_FILE)


def test_create_only(writable: ObjectStore) -> None:
    """A second creation is publish-conflict, and changes nothing."""
    writable.put("metadata/1.snapshot.json", b"first", create_only=True)
    with pytest.raises(TryLater) as caught:
        writable.put("metadata/1.snapshot.json", b"second", create_only=True)
    assert code_of(caught) == "publish-conflict"
    assert writable.get("metadata/1.snapshot.json", 100) == b"first"
    assert [entry.path for entry in writable.list("")] == ["metadata/1.snapshot.json"]


def test_concurrent_creation_has_one_winner(tmp_path: Path) -> None:
    """Of many simultaneous creations on a directory exactly one succeeds."""
    store = open_store(str(tmp_path), writable=True)
    start = threading.Barrier(8)
    won: list[int] = []

    def create(number: int) -> None:
        start.wait()
        try:
            store.put("x/commit", str(number).encode(), create_only=True)
            won.append(number)
        except TryLater as error:
            assert error.code == "publish-conflict"

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("x/commit", 10) == str(won[0]).encode()


def test_links_out_of_a_directory(root: Path, tmp_path: Path) -> None:
    """Symbolic links inside a directory work; one that leads out of it is refused, for reading and writing."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (root / "inner").symlink_to("object")
    (root / "file").symlink_to(tmp_path / "outside" / "secret")
    (root / "dir").symlink_to(tmp_path / "outside")
    store = open_store(str(root), writable=True)
    assert store.get("inner", len(BODY)) == BODY
    for path in ("file", "dir/secret"):
        with pytest.raises(RefuseContent) as caught:
            store.get(path, 100)
        assert code_of(caught) == "unsafe-path"
        with pytest.raises(RefuseContent):
            store.put(path, b"x")
        with pytest.raises(RefuseContent):
            store.size(path)
    with pytest.raises(RefuseContent):
        list(store.list("dir"))
    assert (tmp_path / "outside" / "secret").read_bytes() == b"secret"


def test_a_pipe_is_not_an_object(root: Path) -> None:
    """A named pipe on a hostile stick does not block the reader."""
    os.mkfifo(root / "pipe")
    with pytest.raises(TryLater) as caught:
        open_store(str(root)).get("pipe", 100)
    assert code_of(caught) == "object-missing"


def test_missing_directory(tmp_path: Path) -> None:
    """A directory that is not there is repository-not-found when reading."""
    with pytest.raises(RefuseContent) as caught:
        open_store(str(tmp_path / "absent"))
    assert code_of(caught) == "repository-not-found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(root: Path) -> None:
    """A file that may not be read is permission-denied."""
    (root / "object").chmod(0)
    with pytest.raises(AskPerson) as caught:
        open_store(str(root)).get("object", 100)
    assert code_of(caught) == "permission-denied"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """Storing below something that is not a directory is a disk error, and leaves no partial file."""
    store = open_store(str(tmp_path), writable=True)
    store.put("name", b"file")
    with pytest.raises(TryLater) as caught:
        store.put("name/below", b"x")
    assert code_of(caught) == "disk-error"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


# -- web server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (IgnoreRange(), "server-ignores-ranges"),
        (WrongRange(7), "server-lies-about-size"),
        (LieAboutSize(-5000), "server-lies-about-size"),
        (Cut(after_bytes=100), "network-interrupted"),
        (Cut(after_bytes=0), "network-interrupted"),
        (Status(500), "server-error"),
        (Status(503), "server-error"),
        (Status(403), "server-error"),
        (Status(401), "server-error"),
        (Status(404), "object-missing"),
        (Endless(), "server-ignores-ranges"),
        (Redirect("http://127.0.0.1:{port}/elsewhere"), "object-missing"),
    ],
    ids=repr,
)
async def test_faults_in_ranges(server: InstrumentedServer, fault: Fault, code: str) -> None:
    """Each misbehaviour of a server has its code, and no request is repeated behind the caller's back."""
    if isinstance(fault, Redirect):
        fault = Redirect(fault.location.replace("{port}", str(server.port)))
    server.script("object", fault)
    store = open_store(server.url)
    with pytest.raises(ModelotaError) as caught:
        await store.aget_range("object", 0, len(BODY))
    assert code_of(caught) == code
    assert len(server.requests("object")) == 1
    with pytest.raises(ModelotaError) as caught:
        store.get_range("object", 0, len(BODY))
    assert code_of(caught) == code


async def test_interrupted_ranges_keep_what_came(server: InstrumentedServer) -> None:
    """The bytes before a break are not lost: the caller goes on from there."""
    server.script("object", Cut(after_bytes=1000), times=1)
    store = open_store(server.url)
    received = bytearray()
    with pytest.raises(TryLater):
        await store.aread_into(received, "object", 0, len(BODY))
    assert received == BODY[:1000]
    await store.aread_into(received, "object", 1000, len(BODY) - 1000)
    assert received == BODY
    assert server.sent_bytes("object") == len(BODY)


def test_broken_document_is_read_once_more(server: InstrumentedServer) -> None:
    """A whole document whose connection broke is asked for again, once."""
    server.script("object", Cut(after_bytes=10), times=1)
    store = open_store(server.url)
    assert store.get("object", len(BODY)) == BODY
    server.script("object", Cut(after_bytes=10))
    with pytest.raises(TryLater) as caught:
        store.get("object", len(BODY))
    assert code_of(caught) == "network-interrupted"
    assert len(server.requests("object")) == 4


def test_endless_document_ends(server: InstrumentedServer) -> None:
    """A body without end is read up to the limit and dropped; one that states no length is not read at all."""
    server.script("object", LieAboutSize(1 << 50), times=1)
    store = open_store(server.url)
    with pytest.raises(RefuseContent) as caught:
        store.get("object", 100_000)
    assert code_of(caught) == "document-too-large"
    server.script("object", Endless())
    with pytest.raises(RefuseContent) as caught:
        store.get("object", 100_000)
    assert code_of(caught) == "server-lies-about-size"


def test_stalled_server(server: InstrumentedServer) -> None:
    """A server that stops sending is given up: before the answer unreachable, within it interrupted."""
    server.script("object", Stall(after_bytes=100, until=threading.Event()))
    store = open_store(server.url, stall_timeout=timedelta(milliseconds=100))
    with pytest.raises(TryLater) as caught:
        store.get_range("object", 0, len(BODY))
    assert (code_of(caught), caught.value.params["detail"]) == ("network-interrupted", "timeout")


def test_silent_server() -> None:
    """A server that takes the connection and says nothing is network-unreachable."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TryLater) as caught:
            open_store(url, stall_timeout=timedelta(milliseconds=100)).get("object", 10)
    assert (code_of(caught), caught.value.params["detail"]) == ("network-unreachable", "timeout")


def test_nobody_there(root: Path) -> None:
    """A closed port and an unknown name are network-unreachable, and say which."""
    with InstrumentedServer(root) as server:
        url = server.url
    with pytest.raises(TryLater) as caught:
        open_store(url).get("object", 10)
    assert (code_of(caught), caught.value.params["detail"]) == ("network-unreachable", "refused")
    with pytest.raises(TryLater) as caught:
        open_store("https://no-such-host.invalid/").get("object", 10)
    assert (code_of(caught), caught.value.params["detail"]) == ("network-unreachable", "dns")


def test_web_servers_do_not_list_or_write(server: InstrumentedServer) -> None:
    """Listing a web server, or opening one for writing, is argument-invalid."""
    with pytest.raises(AskPerson):
        list(open_store(server.url).list(""))
    with pytest.raises(AskPerson):
        open_store(server.url, writable=True)


def test_https(root: Path) -> None:
    """TLS works with an authority one was given, and fails without it."""
    with InstrumentedServer(root, tls=True) as server:
        assert open_store(server.url, ca_pem=server.ca_pem).get("object", len(BODY)) == BODY
        with pytest.raises(TryLater) as caught:
            open_store(server.url).get("object", len(BODY))
        assert (code_of(caught), caught.value.params["detail"]) == ("network-unreachable", "tls")


def test_redirect_from_https_to_plain_http(root: Path, server: InstrumentedServer) -> None:
    """Nothing is asked in plain text because a server said so."""
    with InstrumentedServer(root, tls=True) as secure:
        secure.script("object", Redirect(server.url + "{path}"))
        with pytest.raises(RefuseContent) as caught:
            open_store(secure.url, ca_pem=secure.ca_pem).get("object", len(BODY))
    assert code_of(caught) == "insecure-url"
    assert server.requests() == ()


def test_redirect_away_from_this_machine(server: InstrumentedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http stays on this machine, whatever a redirect or the environment's proxy says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.script("object", Redirect("http://192.0.2.1/{path}"), times=1)
    store = open_store(server.url)
    with pytest.raises(RefuseContent) as caught:
        store.get("object", len(BODY))
    assert code_of(caught) == "insecure-url"
    assert store.get("object", len(BODY)) == BODY


def test_redirect_loop(server: InstrumentedServer) -> None:
    """A server that redirects for ever is a server error."""
    server.script("object", Redirect(server.url + "{path}"))
    with pytest.raises(TryLater) as caught:
        open_store(server.url).get("object", len(BODY))
    assert code_of(caught) == "server-error"


def test_the_standard_library_server_serves_a_repository(root: Path) -> None:
    """What obstore's directory store wrote, Python's own web server serves under the same names."""
    written = open_store(str(root), writable=True)
    written.put("metadata/7.acme/assistant-control.json", b"seven")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    handler = partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain:
        thread = threading.Thread(target=plain.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            store = open_store(f"http://127.0.0.1:{plain.server_address[1]}/")
            assert store.get("metadata/7.acme/assistant-control.json", 10) == b"seven"
            for name in ODD_NAMES:
                assert store.get(name, len(BODY)) == BODY
            with pytest.raises(RefuseContent) as caught:
                store.get_range("object", 5, 10)
            assert code_of(caught) == "server-ignores-ranges"  # http.server knows no ranges
        finally:
            plain.shutdown()
            thread.join()


def test_stock_tuf_clients_reach_the_same_file(root: Path, server: InstrumentedServer) -> None:
    """A client that encodes the slash of a role's name, as ngclient does, is served the same file."""
    assert paths.metadata_path("acme/assistant-releases", 3) == "metadata/3.acme/assistant-releases.json"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        request = "GET /metadata/3.acme%2Fassistant-releases.json HTTP/1.0\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.endswith(BODY)


# -- buckets ----------------------------------------------------------------------------------------------------------


def test_buckets_need_a_safe_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket behind plain http elsewhere is refused; an address that names none is argument-invalid."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.example:9000")
    with pytest.raises(RefuseContent) as caught:
        open_store("s3://bucket/prefix")
    assert code_of(caught) == "insecure-url"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(AskPerson) as other:
        open_store("s3://")
    assert code_of(other) == "argument-invalid"


def test_a_bucket_reads_like_a_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the S3 protocol an object has the same name as on the disk and on a web server."""
    (root / "bucket").mkdir()
    for name in (ROLE_FILE, *ODD_NAMES):
        file = root / "bucket" / "prefix" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(BODY)
    with InstrumentedServer(root) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url.rstrip("/"))
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        store = open_store("s3://bucket/prefix")
        for name in (ROLE_FILE, *ODD_NAMES):
            assert store.get(name, len(BODY)) == BODY
            assert store.get_range(name, 10, 20) == BODY[10:30]
        with pytest.raises(TryLater) as caught:
            store.get("absent", 10)
        assert code_of(caught) == "object-missing"
