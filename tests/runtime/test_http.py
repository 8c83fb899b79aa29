"""HTTP on sockets: what goes through, and what hostile or broken peers cannot do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import AskPerson, TryLater
from modelota.runtime import http_connection
from modelota.runtime.http import (
    Handler,
    HttpServer,
    PeerCredentials,
    Reply,
    Request,
    Response,
    ServerLimits,
    ServerSentEvent,
    StreamingResponse,
    events,
    json_response,
    request,
    serve_tcp,
    serve_unix,
    stream,
)

QUICK = ServerLimits(
    body_bytes=1000, connections=4, head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.2, write_timeout_s=0.2
)


async def echo(request: Request) -> Reply:
    return json_response(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body.decode(),
            "uid": None if request.peer is None else request.peer.uid,
            "pid": None if request.peer is None else request.peer.pid,
            "twice": request.headers.get("x-twice"),
        }
    )


@asynccontextmanager
async def serving(path: Path, handler: Handler = echo, limits: ServerLimits | None = None) -> AsyncIterator[HttpServer]:
    server = await serve_unix(path, handler, limits=limits)
    try:
        yield server
    finally:
        await server.close()


async def raw(path: Path, data: bytes) -> bytes:
    """Everything the server says to `data`, until it closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_a_request_goes_through_with_its_peer(run_dir: Path) -> None:
    """Method, decoded path and query, body, and the kernel's word on who asks arrive at the handler."""
    path = run_dir / "s.sock"
    async with serving(path):
        answer = await request(path, "POST", "/v1/a%20b?x=1&y=%E4%BD%A0", b'{"k": 1}')
    assert answer.status == 200
    assert answer.json() == {
        "method": "POST",
        "path": "/v1/a b",
        "query": {"x": "1", "y": "你"},
        "body": '{"k": 1}',
        "uid": os.geteuid(),
        "pid": os.getpid(),
        "twice": None,
    }


async def test_the_socket_has_its_mode_from_the_start_and_goes_in_the_end(run_dir: Path) -> None:
    """Permissions are as asked whatever the umask is, and closing removes the file."""
    path = run_dir / "s.sock"
    server = await serve_unix(path, echo, mode=0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    await server.close()
    assert not path.exists()


async def test_a_dead_socket_is_replaced_and_a_file_is_not(run_dir: Path) -> None:
    """What a killed process left is no obstacle; something that is no socket is never removed."""
    path = run_dir / "s.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with serving(path):
        assert (await request(path, "GET", "/")).status == 200
    path.write_text("precious")
    with pytest.raises(AskPerson, match="argument-invalid"):
        await serve_unix(path, echo)
    assert path.read_text() == "precious"


async def test_paths_longer_than_a_socket_address_work(run_dir: Path) -> None:
    """A device root may lie deep; the kernel's 107 bytes are not the user's problem."""
    deep = run_dir / ("d" * 120)
    deep.mkdir()
    path = deep / "s.sock"
    async with serving(path):
        assert (await request(path, "GET", "/")).status == 200


async def test_kept_and_pipelined_requests_are_answered_in_order(run_dir: Path) -> None:
    """One connection serves several requests, also when they arrive together."""
    path = run_dir / "s.sock"
    async with serving(path):
        two = b"GET /one HTTP/1.1\r\nhost: x\r\n\r\nGET /two HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        said = await raw(path, two)
    assert said.index(b"/one") < said.index(b"/two")
    assert said.count(b"HTTP/1.1 200") == 2


async def test_chunked_bodies_are_read_and_limited(run_dir: Path) -> None:
    """A body without a declared length is accepted up to the limit and refused beyond it."""
    path = run_dir / "s.sock"
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(path, limits=QUICK):
        good = await raw(path, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        large = await raw(path, head + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n")
    assert b'"body":"abcde"' in good
    assert large.startswith(b"HTTP/1.1 413")
    assert b"request-too-large" in large


async def test_a_declared_length_beyond_the_limit_is_refused_unread(run_dir: Path) -> None:
    """The refusal comes before any of the body does."""
    path = run_dir / "s.sock"
    async with serving(path, limits=QUICK):
        said = await raw(path, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nbig: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 5000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS?\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET /?" + b"&".join(b"a%d=1" % n for n in range(100)) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    ],
)
async def test_hostile_heads_are_refused_with_a_code(run_dir: Path, data: bytes, status: int) -> None:
    """Huge, torn, ambiguous or foreign heads get an error answer, and the server goes on serving."""
    path = run_dir / "s.sock"
    async with serving(path):
        said = await raw(path, data)
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert b'"code":"request-invalid"' in said
        assert (await request(path, "GET", "/")).status == 200


@pytest.mark.parametrize(
    "trickle",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: ",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc",
    ],
    ids=["silent", "half a line", "half a head", "half a body"],
)
async def test_a_peer_that_stops_talking_is_cut_off(run_dir: Path, trickle: bytes) -> None:
    """Neither silence nor a half-sent request holds a connection beyond its limit."""
    path = run_dir / "s.sock"
    async with serving(path, limits=QUICK):
        assert await raw(path, trickle) == b""


async def test_a_head_that_trickles_in_is_cut_off_in_all(run_dir: Path) -> None:
    """A byte now and then does not renew the time limit of a head (slow loris)."""
    path = run_dir / "s.sock"
    async with serving(path, limits=QUICK):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        ended = asyncio.ensure_future(reader.read())
        started = asyncio.get_running_loop().time()
        while not ended.done():
            if not writer.is_closing():
                writer.write(b"a")
            await asyncio.wait({ended}, timeout=0.02)
        assert asyncio.get_running_loop().time() - started < 2
        with suppress(OSError):  # an end or a reset, as the kernel likes
            assert await ended == b""
        writer.close()


async def test_a_peer_that_does_not_read_is_cut_off(run_dir: Path) -> None:
    """An endless answer to a peer that never reads ends, and its source is closed."""
    path = run_dir / "s.sock"
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            closed.set()

    async def handler(_: Request) -> Reply:
        return StreamingResponse(chunks=endless())

    async with serving(path, handler, QUICK):
        _, writer = await asyncio.open_unix_connection(path, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(closed.wait(), 5)
        writer.close()


async def test_connections_beyond_the_limit_are_turned_away(run_dir: Path) -> None:
    """The fifth of four is told 503 at once; when one leaves, there is room again."""
    path = run_dir / "s.sock"
    limits = ServerLimits(connections=4)
    async with serving(path, limits=limits):
        held = [await asyncio.open_unix_connection(path) for _ in range(4)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        for reader, _ in held:
            await reader.readuntil(b"\r\n\r\n")
        assert (await raw(path, b"")).startswith(b"HTTP/1.1 503")
        reader, writer = held[0]
        writer.close()
        await reader.read()
        assert (await request(path, "GET", "/")).status == 200
        for _, writer in held[1:]:
            writer.close()


async def test_streams_arrive_piece_by_piece(run_dir: Path) -> None:
    """The second piece is not needed for the first to arrive."""
    path = run_dir / "s.sock"
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    async def handler(_: Request) -> Reply:
        return StreamingResponse(headers={"content-type": "text/plain"}, chunks=pieces())

    async with serving(path, handler), stream(path, "GET", "/") as answer:
        assert answer.headers["content-type"] == "text/plain"
        assert await anext(answer.chunks) == b"first"
        go_on.set()
        assert [chunk async for chunk in answer.chunks] == [b"second"]


async def test_a_client_that_leaves_cancels_what_was_done_for_it(run_dir: Path) -> None:
    """Both a handler at work and a stream under way are stopped at once."""
    path = run_dir / "s.sock"
    started, stopped = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            started.set()
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    async def handler(request: Request) -> Reply:
        if request.path == "/stream":
            return StreamingResponse(chunks=pieces())
        try:
            started.set()
            return await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    async with serving(path, handler):
        for target in (b"/stream", b"/work"):
            started.clear()
            stopped.clear()
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.wait_for(started.wait(), 5)
            assert not stopped.is_set()
            writer.close()
            await asyncio.wait_for(stopped.wait(), 5)


async def test_a_broken_handler_answers_and_the_server_lives(run_dir: Path) -> None:
    """A bug is answered with `unexpected`, an error of ours with its code and status."""
    path = run_dir / "s.sock"

    async def handler(request: Request) -> Reply:
        if request.path == "/bug":
            raise ValueError("boom")
        raise TryLater("engine-timeout", slot="x", seconds=1.5)

    async with serving(path, handler):
        bug = await request(path, "GET", "/bug")
        late = await request(path, "GET", "/late")
    assert (bug.status, bug.json()["code"]) == (500, "unexpected")
    assert (late.status, late.json()) == (
        503,
        {"code": "engine-timeout", "params": {"slot": "x", "seconds": 1.5}, "now": "", "now_params": {}},
    )


async def test_a_stream_that_breaks_does_not_look_complete(run_dir: Path) -> None:
    """The client of a body that fails half-way is told so."""
    path = run_dir / "s.sock"

    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise TryLater("peer-unreachable", path="engine", detail="gone")

    async def handler(_: Request) -> Reply:
        return StreamingResponse(chunks=pieces())

    async with serving(path, handler):
        with pytest.raises(TryLater) as caught:
            await request(path, "GET", "/")
    assert caught.value.code in {"peer-protocol", "peer-unreachable"}


async def test_closing_lets_answers_finish_within_the_grace(run_dir: Path) -> None:
    """A clean close waits for an answer under way; without grace it is cut."""
    path = run_dir / "s.sock"
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_: Request) -> Reply:
        arrived.set()
        await go_on.wait()
        return Response(headers={"connection": "close"}, body=b"done")

    server = await serve_unix(path, handler)
    asking = asyncio.ensure_future(request(path, "GET", "/"))
    await arrived.wait()
    closing = asyncio.ensure_future(server.close(grace_s=5))
    go_on.set()
    assert (await asking).body == b"done"
    await closing


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "::", "example.org", ""])
async def test_tcp_is_for_loopback_only(host: str) -> None:
    """No configuration makes the server listen on a network."""
    with pytest.raises(AskPerson, match="argument-invalid"):
        await serve_tcp(host, 0, echo)


async def test_the_client_names_what_is_wrong_with_its_peer(run_dir: Path) -> None:
    """Nobody there, silence, noise, too much, and an early end each have their code."""
    path = run_dir / "s.sock"
    with pytest.raises(TryLater, match="peer-unreachable"):
        await request(path, "GET", "/")

    said = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if said:
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_unix_server(talk, path)
    try:
        for said, code in (
            (b"", "peer-timeout"),
            (b"220 smtp ready\r\n\r\n", "peer-protocol"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "peer-protocol"),
            (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9000 + b"\r\n", "peer-protocol"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000, "peer-protocol"),
        ):
            with pytest.raises(TryLater) as caught:
                await request(path, "GET", "/", timeout_s=0.3, limit_bytes=2000)
            assert caught.value.code == code, said[:40]
    finally:
        server.close()


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"])), st.booleans()),
        max_size=5,
    ),
    st.integers(1, 7),
)
def test_event_streams_survive_any_cut(texts: list[tuple[str, bool]], size: int) -> None:
    """What is encoded as events is decoded to the same events, however the bytes are cut."""
    wanted = [
        ServerSentEvent(data=f"{text}\n{text}" if two else text, event="progress", id=str(index))
        for index, (text, two) in enumerate(texts)
    ]
    wire = b"".join(event.encode() for event in wanted)

    async def cut() -> AsyncIterator[bytes]:
        for start in range(0, len(wire), size):
            yield wire[start : start + size]

    async def read() -> list[ServerSentEvent]:
        return [event async for event in events(cut())]

    assert asyncio.run(read()) == wanted


@pytest.mark.parametrize("most", [1, 3])
async def test_one_user_cannot_hold_every_connection(run_dir: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """A user has so many; all others together leave as many to root and to the server's own user, who have no limit."""
    path = run_dir / "s.sock"
    user = 1000

    def credentials(_writer: object) -> PeerCredentials:
        return PeerCredentials(pid=1, uid=user, gid=user)

    monkeypatch.setattr(http_connection, "_credentials", credentials)
    limits = ServerLimits(connections=2 * most + 1, connections_per_user=most)
    async with serving(path, limits=limits):
        held = []

        async def answered() -> bool:
            """Whether one more connection of the user is served; it then stays open."""
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 5)
            held.append(writer)
            return b" 200 " in line

        assert [await answered() for _ in range(most + 1)] == [True] * most + [False]
        served = 0
        for user in range(1001, 1005):  # noqa: B007  `credentials` reads it
            served += await answered()
        assert served == 1  # of 2 * most + 1, `most` are the first user's, and `most` stay free
        user = os.geteuid()
        assert [await answered() for _ in range(most)] == [True] * most
        for writer in held:
            writer.close()


_ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(b"GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
while data := peer.recv(65536):
    sys.stdout.buffer.write(data)
"""


async def groups_of(request: Request) -> Reply:
    return json_response(sorted(request.peer.groups) if request.peer is not None else None)


async def test_the_peer_s_groups_are_its_process_s(run_dir: Path) -> None:
    """A service may have groups that no user database knows; the kernel tells them. Too many are told as none."""
    path = run_dir / "s.sock"
    async with serving(path, groups_of):
        assert (await request(path, "GET", "/")).json() == sorted(os.getgroups())
        if os.geteuid() != 0:
            return  # only root gives a process other groups
        for groups in ([4242, 4243], list(range(4000, 4256)), list(range(4000, 4300))):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-c", _ASK, str(path), stdout=asyncio.subprocess.PIPE, extra_groups=groups
            )
            told, _ = await child.communicate()
            assert json.loads(told.partition(b"\r\n\r\n")[2]) == (groups if len(groups) <= 256 else [])
