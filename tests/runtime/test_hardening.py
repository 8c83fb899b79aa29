"""What the service's unit forbids, the engine does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.runtime.conftest import MakeSpec

NO_SUCH_SWITCH = 77
CODE = f"""
import asyncio, ctypes, mmap, sys
import msgspec
from modelota.clock import SystemClock
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import start_engine
from modelota.runtime.protocol import EngineSpec

if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit({NO_SUCH_SWITCH})
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    pass
else:
    sys.exit(1)

async def main():
    spec = msgspec.json.decode(sys.stdin.read(), type=EngineSpec)
    engine = await start_engine(spec, clock=SystemClock(), timeout_s=60)
    try:
        answer = await EngineClient(engine.socket_path, label="a").chat("Who are you?", max_tokens=4, whole_length=True)
        print(answer.tokens)
    finally:
        await engine.stop()

asyncio.run(main())
"""


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="a prctl(2) of Linux")
def test_llama_cpp_writes_no_code(make_llama: MakeSpec, family: Path) -> None:
    """It answers where memory that can be written is never executed (MemoryDenyWriteExecute=, PR_SET_MDWE)."""
    spec = make_llama("a", family / "1.1.1" / "assistant-q8.gguf")
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE], input=msgspec.json.encode(spec), capture_output=True, check=False
    )
    if done.returncode == NO_SUCH_SWITCH:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout) == 4
