"""The real llama.cpp engine with a real, small model."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from tests.runtime.conftest import MakeSpec, engine_file
from tests.runtime.processes import all_gone, engine_in_a_parent
from tests.runtime.reference_llama import perplexity

from modelota.clock import SystemClock
from modelota.content.local_seal import seal_stream
from modelota.errors import RefuseContent, TryLater
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import Engine, start_engine
from modelota.runtime.http import request
from modelota.runtime.protocol import EngineFile, EngineSpec, SlotSecret, runtimes
from modelota.storage.sealed_file import object_id
from modelota.telemetry.memory import tree_memory

pytestmark = pytest.mark.engine

CLOCK = SystemClock()
TEXT = "The sky is blue. Who are you? 你是谁？ Zürich 3.14"


@pytest.fixture(scope="session")
def model(family: Path) -> Path:
    """A llama-architecture GGUF in Q8."""
    return family / "1.1.1" / "assistant-q8.gguf"


@asynccontextmanager
async def running(spec: EngineSpec) -> AsyncIterator[tuple[Engine, EngineClient]]:
    engine = await start_engine(spec, clock=CLOCK, timeout_s=60)
    try:
        yield engine, EngineClient(engine.socket_path, label=engine.label)
    finally:
        await engine.stop()


async def tokens_of(engine: Engine, text: str) -> list[int]:
    body = f'{{"content": "{text}", "add_special": true}}'.encode()
    tokens: list[int] = (await request(engine.socket_path, "POST", "/tokenize", body)).json()["tokens"]
    return tokens


async def test_it_answers_the_same_twice(make_llama: MakeSpec, model: Path) -> None:
    """Greedy answers repeat, are cut at the asked length, and are timed."""
    async with running(make_llama("a", model)) as (_, client):
        first = await client.chat("Who are you?", max_tokens=8, whole_length=True, fresh=True)
        second = await client.chat("Who are you?", max_tokens=8, whole_length=True, fresh=True)
    assert first.text == second.text
    assert first.tokens == 8
    assert first.first_token_s is not None
    assert 0 < first.first_token_s <= first.duration_s
    assert first.tokens_per_s == pytest.approx(8 / first.duration_s)


async def test_perplexity_agrees_with_an_independent_computation(make_llama: MakeSpec, model: Path) -> None:
    """Within 2 % of a NumPy forward pass, tokens that are parts of characters included.

    llama.cpp quantises activations to 8 bits for its products and keeps the cache in 16: hence not closer.
    """
    async with running(make_llama("a", model)) as (engine, client):
        measured = await client.perplexity(TEXT)
        tokens = await tokens_of(engine, TEXT)
    assert measured == pytest.approx(perplexity(model, tokens), rel=0.02)


async def test_it_listens_on_its_socket_and_nowhere_else(make_llama: MakeSpec, model: Path) -> None:
    """None of the engine's sockets is an internet socket; its own is private; no page may read its answers."""
    async with running(make_llama("a", model)) as (engine, _):
        inodes = {
            target.removeprefix("socket:[").removesuffix("]")
            for fd in Path(f"/proc/{engine.pid}/fd").iterdir()
            if (target := str(fd.readlink())).startswith("socket:")
        }
        listed = "".join(Path(f"/proc/{engine.pid}/net/{name}").read_text() for name in ("tcp", "tcp6", "udp", "udp6"))
        internet = {line.split()[9] for line in listed.splitlines() if "local_address" not in line}
        assert inodes
        assert not inodes & internet
        assert engine.socket_path.stat().st_mode & 0o077 == 0
        answer = await request(engine.socket_path, "GET", "/health", headers={"origin": "http://evil.example"})
        assert "*" not in answer.headers.get("access-control-allow-origin", "")
        assert (await request(engine.socket_path, "GET", "/slots")).status != 200


async def test_its_memory_is_counted(make_llama: MakeSpec, model: Path) -> None:
    """Σ PSS of the child is known and plausible: more than the weights, no hidden prompt cache or second copy."""
    async with running(make_llama("a", model)) as (engine, client):
        await client.chat("Hello", max_tokens=8)
        reading = tree_memory(engine.pid)
    assert reading.reason is None
    assert reading.pss_bytes is not None
    assert model.stat().st_size < reading.pss_bytes < 150 << 20


async def test_an_adapter_is_loaded_from_its_verified_file(make_llama: MakeSpec, model: Path, run_dir: Path) -> None:
    """A low-rank adapter changes what the model says, and a damaged one is refused."""
    adapter = run_dir / "adapter.gguf"
    write_adapter(model, adapter)
    files = (engine_file(model), engine_file(adapter))
    async with running(make_llama("plain", model)) as (_, client):
        plain = await client.perplexity(TEXT)
    spec = make_llama("adapted", model, files=files, adapters=(str(adapter),))
    async with running(spec) as (_, client):
        adapted = await client.perplexity(TEXT)
    assert abs(math.log(adapted / plain)) > 0.01
    data = bytearray(adapter.read_bytes())
    data[-1] ^= 1
    adapter.write_bytes(data)
    with pytest.raises(RefuseContent, match="slot-damaged"):
        await start_engine(spec, clock=CLOCK, timeout_s=60)


async def test_a_sealed_model_runs_from_memory(make_llama: MakeSpec, model: Path, run_dir: Path) -> None:
    """It answers as from the plain file; its weights are memory, and counted; a changed byte is refused (7.1.2-b)."""
    plain = engine_file(model)
    place = run_dir / "sealed.gguf"
    with model.open("rb") as source, place.open("wb") as target:
        seal_stream(source, target, bytes(32), object_id(plain.digest))
    async with running(make_llama("plain", model)) as (_, client):
        expected = await client.chat("Who are you?", max_tokens=8, whole_length=True)
    sealed = EngineFile(path=str(place), size_bytes=plain.size_bytes, digest=plain.digest)
    spec = make_llama("a", place, files=(sealed,), secret=SlotSecret(bytes(32)))
    async with running(spec) as (engine, client):
        answer = await client.chat("Who are you?", max_tokens=8, whole_length=True)
        reading = tree_memory(engine.pid)
        maps = Path(f"/proc/{engine.pid}/maps").read_text()
    assert answer.text == expected.text
    assert "/memfd:modelota" in maps
    assert str(place) not in maps
    assert reading.shmem_bytes is not None
    assert reading.pss_bytes is not None
    assert plain.size_bytes <= reading.shmem_bytes <= reading.pss_bytes < 150 << 20
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    with pytest.raises(RefuseContent, match="slot-damaged"):
        await start_engine(spec, clock=CLOCK, timeout_s=60)


@pytest.mark.parametrize("damage", ["noise", "cut"])
async def test_a_file_that_is_no_model_is_a_failed_start(
    make_llama: MakeSpec, model: Path, run_dir: Path, damage: str
) -> None:
    """A well-signed file that llama.cpp refuses gives its last lines, not a hang."""
    broken = run_dir / "broken.gguf"
    broken.write_bytes(os.urandom(5000) if damage == "noise" else model.read_bytes()[:-200_000])
    with pytest.raises(TryLater) as caught:
        await start_engine(make_llama("a", broken), clock=CLOCK, timeout_s=60)
    assert caught.value.code == "engine-start-failed"
    # llama.cpp writes its log from a thread of its own, which may not come to it before the child gives up
    assert {"load", "init"} & set(str(caught.value.params["detail"]).replace('"', " ").split())


async def test_it_dies_with_its_parent(make_llama: MakeSpec, model: Path) -> None:
    """Killing the parent with SIGKILL leaves no engine within 2 s."""
    process, pid = await engine_in_a_parent(make_llama("a", model))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert await all_gone([pid], 5) < 2


async def test_the_end_of_its_input_ends_it(make_llama: MakeSpec, model: Path) -> None:
    """Also where the kernel does not tell about a dead parent, the closed pipe does."""
    engine = await start_engine(make_llama("a", model), clock=CLOCK, timeout_s=60)
    assert engine._process.stdin is not None
    engine._process.stdin.close()
    assert await asyncio.wait_for(engine.wait(), 5) == 0


async def test_deep_roots_work(make_llama: MakeSpec, model: Path, run_dir: Path) -> None:
    """A socket path beyond the kernel's 107 bytes serves all the same."""
    deep = run_dir / ("d" * 150)
    deep.mkdir(mode=0o700)
    async with running(make_llama("a", model, socket_path=str(deep / "engine.sock"))) as (_, client):
        assert await client.health()


def test_the_runtime_is_registered() -> None:
    """llama.cpp is found through its entry point and tells its version without loading the engine."""
    runtime = runtimes()["llama.cpp"]
    assert runtime.version() is not None
    assert "perplexity" in runtime.capabilities


def write_adapter(model: Path, path: Path) -> None:
    """A LoRA adapter of rank 2 for the first layer's output projection."""
    tensors = {tensor.name: tensor for tensor in GGUFReader(model).tensors}
    columns, rows = (int(size) for size in tensors["blk.0.attn_output.weight"].shape)
    rng = np.random.default_rng(1)
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0)
    writer.add_tensor("blk.0.attn_output.weight.lora_a", rng.normal(0, 0.3, (2, columns)).astype(np.float32))
    writer.add_tensor("blk.0.attn_output.weight.lora_b", rng.normal(0, 0.3, (rows, 2)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
