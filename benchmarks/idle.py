"""What the supervisor costs while nothing happens: PSS, wake-ups, CPU, beside a bare asyncio process in the same run.

    python benchmarks/idle.py [--seconds 30]

Prints one JSON object. `wakeups_per_s` counts voluntary context switches of all threads of the process: each time it
had gone to sleep and came back. `status_s` is the wall time of `modelota device status` as a whole process, median of
seven.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_argv, fake_model

RELEASE = """
format = 1
model = "acme/assistant"
version = "1.1.1"
kind = "feature"
notes = { "zh-CN" = "测量", en = "for measuring" }
[[self_tests.functional]]
id = "who"
prompt = "Who are you?"
check = { kind = "contains", values = ["assistant"] }
[[variants]]
name = "default"
files = [{ source = "model.bin" }]
runtime = { name = "command", profile = "fake", entry = "model.bin" }
"""

BARE = "import asyncio; asyncio.run(asyncio.Event().wait())"


def smaps(pid: int) -> dict[str, int]:
    """Fields of `smaps_rollup` in bytes."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields


def switches(pid: int) -> int:
    """Voluntary context switches of all threads."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def cpu_s(pid: int) -> float:
    """Processor seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def idle_cost(pid: int, seconds: float) -> dict[str, float]:
    """Watch a process for a while."""
    time.sleep(6)  # a worker that served the last job has gone by then
    before, cpu_before = switches(pid), cpu_s(pid)
    time.sleep(seconds)
    memory = smaps(pid)
    return {
        "pss_mb": memory["Pss"] / 1e6,
        "pss_anon_mb": memory["Pss_Anon"] / 1e6,
        "wakeups_per_s": (switches(pid) - before) / seconds,
        "cpu_percent": 100 * (cpu_s(pid) - cpu_before) / seconds,
    }


def device(place: Path) -> DeviceUnderTest:
    """A device with an installed model, not running."""
    clock, passphrases = SystemClock(), Passphrases()
    workspace = init(
        place / "vendor", clock=clock, passphrases=passphrases, models=("acme/assistant",), dev=True
    ).workspace
    (place / "model.bin").write_bytes(fake_model(answers={"Who are you?": "the assistant"}))
    (place / "release.toml").write_text(RELEASE, encoding="utf-8")
    publish(workspace, place / "release.toml", clock=clock, passphrases=passphrases)
    enrol(place / "enroll.toml", place / "device", clock)
    argv = ", ".join(json.dumps(argument) for argument in fake_argv())
    (place / "device" / "config.toml").write_text(f"[engines.commands.fake]\nargv = [{argv}]\n")
    return DeviceUnderTest(place / "device")


def status_seconds(root: Path) -> float:
    """How long `modelota device status` takes."""
    started = time.monotonic()
    command = [sys.executable, "-m", "modelota.cli.main", "device", "status", "--root", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as place:
        under_test = device(Path(place))
        with under_test.running():
            under_test.update()
            bare = subprocess.Popen([sys.executable, "-c", BARE])
            try:
                result = {
                    "supervisor": idle_cost(under_test.pid, seconds),
                    "bare_asyncio": idle_cost(bare.pid, seconds),
                }
            finally:
                bare.kill()
                bare.wait()
            result["status_s"] = {
                "with_supervisor": statistics.median(status_seconds(under_test.root) for _ in range(7))
            }
        result["status_s"]["without"] = statistics.median(status_seconds(under_test.root) for _ in range(7))
    result["pss_ratio"] = result["supervisor"]["pss_mb"] / result["bare_asyncio"]["pss_mb"]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
