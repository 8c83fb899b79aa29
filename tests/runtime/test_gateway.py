"""The gateway: one endpoint for applications, switches without loss, nothing for web pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.processes import until

from modelota.errors import AskPerson, TryLater
from modelota.runtime.client import EngineClient
from modelota.runtime.gateway import Gateway, new_token, token_digest
from modelota.runtime.http import Response, events, request, stream
from modelota.testing.engine import FakeEngine, Script

MODEL = "acme/assistant"
ASK = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "q"}]})


async def never(model: str) -> None:
    raise TryLater("engine-start-failed", slot=model, detail="not in this test")


@asynccontextmanager
async def gateway_at(path: Path, ensure: Any = never, **options: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(ensure, **options)
    gateway.upstreams.declare(MODEL)
    await gateway.serve_unix(path)
    try:
        yield gateway
    finally:
        await gateway.close()


def error_of(answer: Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


async def tcp(port: int, head: str, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def reached(engine: FakeEngine, count: int) -> None:
    assert await until(lambda: len(engine.requests) >= count) < 30


async def test_a_request_reaches_the_engine_of_its_model(run_dir: Path) -> None:
    """Whole and streamed answers come through; the model may be left out where there is only one."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two three")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        whole = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
        assert whole.json()["choices"][0]["message"]["content"] == "one two three"
        assert (await EngineClient(run_dir / "g.sock").chat("q", max_tokens=5)).text == "one two three"
        assert (await request(run_dir / "g.sock", "GET", "/health")).status == 200
        models = (await request(run_dir / "g.sock", "GET", "/v1/models")).json()
        assert [model["id"] for model in models["data"]] == [MODEL]
    assert (run_dir / "g.sock").exists() is False


async def test_tokens_pass_as_they_come(run_dir: Path) -> None:
    """The first token reaches the application while the engine is still at the second."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        engine.release.clear()
        body = msgspec.json.encode({"stream": True, "messages": [{"role": "user", "content": "q"}]})
        async with stream(run_dir / "g.sock", "POST", "/v1/chat/completions", body) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            incoming = events(answer.chunks)
            assert "one" in (await anext(incoming)).data
            assert engine.finished == 0
            engine.release.set()
            assert [event.data async for event in incoming][-1] == "[DONE]"


async def test_a_client_that_leaves_stops_the_engine(run_dir: Path) -> None:
    """Nobody computes an answer that nobody reads."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        engine.release.clear()
        body = msgspec.json.encode({"stream": True, "messages": [{"role": "user", "content": "q"}]})
        async with stream(run_dir / "g.sock", "POST", "/v1/chat/completions", body) as answer:
            await anext(answer.chunks)
        await asyncio.wait_for(engine.abort_seen.wait(), 5)
        upstream = gateway.upstreams.current(MODEL)
        assert upstream is not None
        assert await gateway.upstreams.drained(upstream, 5)


async def test_a_switch_under_load_drops_nothing(run_dir: Path) -> None:
    """Requests under way finish on the old engine, new ones go to the new one, none fails."""
    generations = 4
    async with gateway_at(run_dir / "g.sock") as gateway:
        engines = [
            FakeEngine(run_dir / f"e{n}.sock", Script(default=f"from {n}", token_delay_s=0.005), label=f"v{n}")
            for n in range(generations)
        ]
        await engines[0].start()
        gateway.upstreams.switch(MODEL, engines[0])
        stop = asyncio.Event()
        answers: list[str] = []

        async def application(*, streamed: bool) -> None:
            while not stop.is_set():
                if streamed:
                    answers.append((await EngineClient(run_dir / "g.sock").chat("q", max_tokens=9)).text)
                    continue
                whole = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
                assert whole.status == 200
                answers.append(whole.json()["choices"][0]["message"]["content"])

        load = [asyncio.ensure_future(application(streamed=n % 2 == 0)) for n in range(8)]
        try:
            for old, new in pairwise(engines):
                await new.start()
                await reached(old, 20)
                before = gateway.upstreams.switch(MODEL, new)
                assert await gateway.upstreams.drained(before, 10)
                settled = len(old.requests)
                await reached(new, 5)
                assert len(old.requests) == settled
                await old.stop()
            await reached(engines[-1], 20)
        finally:
            stop.set()
            await asyncio.gather(*load)
            await engines[-1].stop()
    asked = sum(len(engine.requests) for engine in engines)
    assert len(answers) == asked == sum(engine.finished for engine in engines)
    assert {f"from {n}" for n in range(generations)} == set(answers)
    assert sum(engine.aborted for engine in engines) == 0


async def test_draining_has_a_limit(run_dir: Path) -> None:
    """An answer that does not end is reported, not waited for."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        engine.release.clear()
        asking = asyncio.ensure_future(request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK))
        await engine.arrived.wait()
        old = gateway.upstreams.switch(MODEL, None)
        assert await gateway.upstreams.drained(old, 0.05) is False
        engine.release.set()
        assert (await asking).status == 200
        assert await gateway.upstreams.drained(old, 5) is True


async def test_requests_wait_for_an_engine_that_is_started_once(run_dir: Path) -> None:
    """Twenty applications that arrive at once start one engine and are all answered."""
    engine = FakeEngine(run_dir / "e.sock")
    started: list[str] = []

    async def ensure(model: str) -> None:
        started.append(model)
        await engine.start()
        gateway.upstreams.switch(model, engine)

    async with gateway_at(run_dir / "g.sock", ensure) as gateway:
        asked = [request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK) for _ in range(20)]
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    await engine.stop()
    assert started == [MODEL]


async def test_waiting_for_an_engine_is_bounded_and_failures_are_told(run_dir: Path) -> None:
    """A start that hangs is a timeout; one that fails is its own error; both in OpenAI's shape with our code."""

    async def hang(_: str) -> None:
        await asyncio.get_running_loop().create_future()

    async with gateway_at(run_dir / "g.sock", hang, wait_s=0.05):
        late = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
    assert (late.status, error_of(late)["code"]) == (503, "engine-timeout")
    async with gateway_at(run_dir / "g.sock"):
        failed = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
    assert failed.status == 503
    assert error_of(failed) == {
        "message": f"engine-start-failed (slot={MODEL}, detail=not in this test)",
        "type": "try-later",
        "code": "engine-start-failed",
        "param": None,
        "params": {"slot": MODEL, "detail": "not in this test"},
    }


async def test_an_engine_that_died_is_replaced_for_the_waiting_request(run_dir: Path) -> None:
    """A request that finds a dead engine is answered by the next one; only a second death is an error."""
    dead, alive = FakeEngine(run_dir / "dead.sock"), FakeEngine(run_dir / "alive.sock")
    await alive.start()
    order = [alive, dead, dead]

    async def ensure(model: str) -> None:
        gateway.upstreams.switch(model, order.pop(0))

    async with gateway_at(run_dir / "g.sock", ensure) as gateway:
        gateway.upstreams.switch(MODEL, dead)
        assert (await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)).status == 200
        gateway.upstreams.switch(MODEL, dead)
        failed = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
        assert (failed.status, error_of(failed)["code"]) == (503, "engine-crashed")
    await alive.stop()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"not json", 400, "request-invalid"),
        ("POST", "/v1/chat/completions", b"[]", 400, "request-invalid"),
        ("POST", "/v1/chat/completions", b'{"model": 7}', 400, "request-invalid"),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400, "request-invalid"),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400, "request-invalid"),
        ("POST", "/v1/chat/completions", b'{"model": "acme/other"}', 404, "no-model-installed"),
        ("POST", "/v1/embeddings", ASK, 405, "route-unknown"),
        ("OPTIONS", "/v1/chat/completions", None, 405, "route-unknown"),
        ("GET", "/v1/chat/completions", None, 405, "route-unknown"),
        ("POST", "/completion", ASK, 405, "route-unknown"),
        ("POST", "/v1/../slots", ASK, 405, "route-unknown"),
        ("GET", "/slots", None, 405, "route-unknown"),
    ],
)
async def test_what_is_no_request_is_refused(
    run_dir: Path, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    """Only the listed routes exist, whatever else the engine behind would answer."""
    async with FakeEngine(run_dir / "e.sock") as engine, gateway_at(run_dir / "g.sock") as gateway:
        gateway.upstreams.switch(MODEL, engine)
        answer = await request(run_dir / "g.sock", method, path, body)
        assert (answer.status, error_of(answer)["code"]) == (status, code)
        assert engine.requests == []


async def test_a_body_beyond_the_limit_is_refused(run_dir: Path) -> None:
    """Declared or not, more than 16 MiB is not read."""
    async with gateway_at(run_dir / "g.sock"):
        _, writer = reader_writer = await asyncio.open_unix_connection(run_dir / "g.sock")
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n")
        said = await reader_writer[0].readuntil(b"\r\n")
        writer.close()
    assert b" 413 " in said


async def test_tcp_needs_host_token_and_no_origin(run_dir: Path) -> None:
    """A web page, a rebound name and a caller without a token are refused; an application is served; no CORS ever."""
    token, digest = new_token()
    gateway = Gateway(never, tokens={digest: "notes"}, origins=frozenset({"http://localhost:3000"}))
    gateway.upstreams.declare(MODEL)
    port = await gateway.serve_tcp()
    auth = f"authorization: Bearer {token}\r\n"
    cases = {
        "good": (f"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{auth}", 200, ""),
        "localhost": (f"GET /v1/models HTTP/1.1\r\nhost: LocalHost:{port}\r\n{auth}", 200, ""),
        "rebound": (f"GET /v1/models HTTP/1.1\r\nhost: evil.example:{port}\r\n{auth}", 403, "gateway-host-refused"),
        "no port": (f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{auth}", 403, "gateway-host-refused"),
        "wrong port": (f"GET /v1/models HTTP/1.1\r\nhost: localhost:1\r\n{auth}", 403, "gateway-host-refused"),
        "suffix": (f"GET / HTTP/1.1\r\nhost: localhost:{port}.evil.example\r\n{auth}", 403, "gateway-host-refused"),
        "absolute": (
            f"GET http://localhost:{port}/v1/models HTTP/1.1\r\nhost: evil.example\r\n{auth}",
            403,
            "gateway-host-refused",
        ),
        "no token": (f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\n", 401, "gateway-token-refused"),
        "bad token": (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer x\r\n",
            401,
            "gateway-token-refused",
        ),
        "digest as token": (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer {digest}\r\n",
            401,
            "gateway-token-refused",
        ),
        "page": (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\n{auth}origin: http://evil.example\r\n",
            403,
            "gateway-origin-refused",
        ),
        "sandboxed page": (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\n{auth}origin: null\r\n",
            403,
            "gateway-origin-refused",
        ),
        "two origins": (
            f"GET / HTTP/1.1\r\nhost: localhost:{port}\r\n{auth}origin: http://localhost:3000\r\norigin: http://x\r\n",
            403,
            "gateway-origin-refused",
        ),
        "listed page": (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\n{auth}origin: http://localhost:3000\r\n",
            200,
            "",
        ),
        "preflight": (
            f"OPTIONS /v1/models HTTP/1.1\r\nhost: localhost:{port}\r\n{auth}origin: http://localhost:3000\r\n",
            405,
            "route-unknown",
        ),
    }
    try:
        for name, (head, status, code) in cases.items():
            said = await tcp(port, head)
            assert said.startswith(b"HTTP/1.1 %d " % status), (name, said)
            assert code.encode() in said, (name, said)
            assert b"access-control" not in said.lower(), name
            assert token.encode() not in said
        gateway.set_tokens({})
        assert (await tcp(port, cases["good"][0])).startswith(b"HTTP/1.1 401")
    finally:
        await gateway.close()


async def test_a_page_is_refused_on_the_socket_too(run_dir: Path) -> None:
    """Something that forwards web requests to the socket gains nothing."""
    async with gateway_at(run_dir / "g.sock"):
        answer = await request(run_dir / "g.sock", "GET", "/v1/models", headers={"origin": "http://evil.example"})
    assert (answer.status, error_of(answer)["code"]) == (403, "gateway-origin-refused")


async def test_headers_of_the_engine_do_not_leak(run_dir: Path) -> None:
    """An engine that allows every origin does not make the gateway allow it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nset-cookie: a=b\r\nserver: engine\r\n"
            b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )
        writer.close()

    class Upstream:
        socket_path = run_dir / "e.sock"
        label = "v1"

    engine = await asyncio.start_unix_server(talk, run_dir / "e.sock")
    async with gateway_at(run_dir / "g.sock") as gateway:
        gateway.upstreams.switch(MODEL, Upstream())
        answer = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
    engine.close()
    assert answer.body == b"{}"
    assert set(answer.headers) == {"content-type", "transfer-encoding", "connection"}


async def test_a_forgotten_model_is_unknown_at_once(run_dir: Path) -> None:
    """After an uninstall applications are told that the model is not there."""
    async with FakeEngine(run_dir / "e.sock") as engine, gateway_at(run_dir / "g.sock") as gateway:
        gateway.upstreams.switch(MODEL, engine)
        assert gateway.upstreams.forget(MODEL) is not None
        answer = await request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK)
    assert (answer.status, error_of(answer)["code"]) == (404, "no-model-installed")


def test_tokens_are_random_and_only_their_digest_is_needed() -> None:
    """A token is told once; what is kept cannot be used as one."""
    (first, digest), (second, _) = new_token(), new_token()
    assert first != second
    assert token_digest(first) == digest != token_digest(digest)
    assert AskPerson("gateway-token-refused").params == {}


async def test_a_stream_that_is_cut_says_so(run_dir: Path) -> None:
    """An answer in events that outlasts the drain limit ends with an error event, in the shape clients know."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        engine.release.clear()
        body = msgspec.json.encode({"stream": True, "messages": [{"role": "user", "content": "q"}]})
        async with stream(run_dir / "g.sock", "POST", "/v1/chat/completions", body) as answer:
            incoming = events(answer.chunks)
            assert "one" in (await anext(incoming)).data
            old = gateway.upstreams.switch(MODEL, None)
            assert old is not None
            assert not await gateway.upstreams.drained(old, 0.01)
            assert old.cut(60.0) == 1
            rest = [event.data async for event in incoming]
        error = msgspec.json.decode(rest[-1])["error"]
        assert (error["code"], error["type"]) == ("answers-cut", "try-later")
        assert error["params"] == {"model": MODEL, "requests": 1, "seconds": 60.0}
        assert "[DONE]" not in rest
        await asyncio.wait_for(engine.abort_seen.wait(), 5)
        assert await gateway.upstreams.drained(old, 5)


async def test_an_answer_that_is_cut_before_it_began_is_an_error(run_dir: Path) -> None:
    """A request that waits for its whole answer gets 503 with code and reason, not a closed connection."""
    async with (
        FakeEngine(run_dir / "e.sock", Script(default="one two")) as engine,
        gateway_at(run_dir / "g.sock") as gateway,
    ):
        gateway.upstreams.switch(MODEL, engine)
        engine.release.clear()
        asked = asyncio.create_task(request(run_dir / "g.sock", "POST", "/v1/chat/completions", ASK))
        await asyncio.wait_for(engine.arrived.wait(), 5)
        old = gateway.upstreams.switch(MODEL, None)
        assert old is not None
        old.cut(60.0)
        old.cut(0.0)  # a second time (the agent is closing) changes nothing
        answer = await asked
        assert answer.status == 503
        assert error_of(answer)["code"] == "answers-cut"
