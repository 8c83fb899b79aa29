"""Watching processes from outside, for tests about who dies with whom."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from modelota.runtime.protocol import EngineSpec

PARENT = """
import asyncio, sys
import msgspec
from modelota.clock import SystemClock
from modelota.runtime.engine import start_engine
from modelota.runtime.protocol import EngineSpec

async def main():
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=EngineSpec)
    engine = await start_engine(spec, clock=SystemClock(), timeout_s=30)
    print(engine.pid, flush=True)
    await engine.wait()

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def command_line(pid: int) -> bytes:
    """The process's arguments; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def open_files(pid: int) -> set[str]:
    """Paths that the process has open; empty once it is gone."""
    try:
        return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


async def until(condition: Callable[[], bool], limit_s: float = 30.0) -> float:
    """Wait until `condition` holds; the seconds it took, or the limit."""
    started = time.monotonic()
    while not condition() and time.monotonic() - started < limit_s:  # noqa: ASYNC110  other processes set no events
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def all_gone(pids: list[int], limit_s: float) -> float:
    """Wait until none of `pids` runs; the seconds it took, or the limit."""
    return await until(lambda: not any(is_alive(pid) for pid in pids), limit_s)


async def parent_of(spec: EngineSpec) -> asyncio.subprocess.Process:
    """A process that starts an engine, prints its process id once it is healthy, and waits for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(spec))
    process.stdin.close()
    return process


async def engine_in_a_parent(spec: EngineSpec) -> tuple[asyncio.subprocess.Process, int]:
    """A process that started an engine and waits for it, and the engine's process id."""
    process = await parent_of(spec)
    assert process.stdout is not None
    return process, int(await asyncio.wait_for(process.stdout.readline(), 30))
