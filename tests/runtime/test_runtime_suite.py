"""Every runtime passes the same suite, and the suite finds what it is for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.runtime.conftest import MakeSpec

from modelota.clock import SystemClock
from modelota.runtime.protocol import BrokenRuntime, Runtime, runtimes
from modelota.testing.runtime_suite import check_runtime

CLOCK = SystemClock()


async def test_the_command_runtime_passes(make_fake: MakeSpec) -> None:
    """With the scripted engine as its command."""
    assert await check_runtime(make_fake(default="one two three", helpers=1), clock=CLOCK) == []


@pytest.mark.engine
async def test_llamacpp_passes(make_llama: MakeSpec, family: Path) -> None:
    """With a real model."""
    assert await check_runtime(make_llama("a", family / "1.1.1" / "assistant-q8.gguf"), clock=CLOCK) == []


async def test_the_suite_finds_faults(make_fake: MakeSpec) -> None:
    """An engine that listens on the network and falls for nonsense does not pass."""
    spec = make_fake()
    code = (
        "import os, socket, sys; s = socket.create_server(('127.0.0.1', 0)); s.set_inheritable(True); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    argv = (spec.profile_argv[0], "-c", code, *spec.profile_argv)
    findings = await check_runtime(msgspec.structs.replace(spec, profile_argv=argv), clock=CLOCK)
    assert [finding.check for finding in findings] == ["listens on no internet address"]


def test_registered_runtimes_are_runtimes() -> None:
    """Entry points resolve; one that cannot be imported is `not installed` and hides no other."""
    found = runtimes()
    assert {"llama.cpp", "command"} <= found.keys()
    assert all(isinstance(runtime, Runtime) for runtime in found.values())
    assert isinstance(BrokenRuntime("x", "ImportError"), Runtime)
    assert BrokenRuntime("x", "ImportError").version() is None
