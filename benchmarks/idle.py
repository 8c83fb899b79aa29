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

from product.memory import smaps
from product.vendor import Vendor

from modelota.testing.device import DeviceUnderTest

BARE = "import asyncio; asyncio.run(asyncio.Event().wait())"


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
    """A device with a release to install, not running."""
    vendor = Vendor(place)
    (place / "model.bin").write_bytes(b"no weights")
    vendor.publish("1.1.1", place / "model.bin")
    return vendor.device()


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
