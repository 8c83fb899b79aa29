"""Memory of the device's worker while it applies full, incremental and differential plans of models of two sizes.

    python benchmarks/apply_memory.py [--mib 256 1536] [--loops native | numpy]

Prints a JSON list, one object per size and plan. A device installs a bf16 model, then a release in which every tenth
tensor is new, then one in which every value of every tensor moved a little.

| key | meaning |
|---|---|
| `mib`, `mode` | the model's size, and the mode of the plan that the device made |
| `idle_mib` | Pss_Anon of a worker that has been started and given nothing to do |
| `peak_mib` | the most that the worker had while it fetched, verified, deployed and tested, sampled every 10 ms |
| `above_idle_mib` | the difference |
| `bar_mib`, `met` | the bar, whatever the model's size, and whether it is met |
| `phases_mib` | the peak in each phase, above the idle worker |
| `seconds` | from the answer to the end of the self-test |
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from product.memory import WorkerPeaks, idle_worker_bytes
from product.vendor import Vendor, installed
from training.storing import rounded

from modelota.content.delta.loops import LOOPS_VARIABLE
from modelota.content.digest import digest_file
from modelota.repository.packages import PackageChoice
from modelota.spec.limits import MIB

BAR_MIB = 96
SHAPE = (2048, 4096)
TENSOR_BYTES = 2 * SHAPE[0] * SHAPE[1]
RELEASES = (("1.1.1", "full"), ("1.1.2", "incremental"), ("1.1.3", "differential"))
PHASES_AT_REST = ("idle", "watching", "offered", "degraded")
Words = npt.NDArray[Any]


def tensor(number: int, version: str) -> Words:
    """The values of one tensor in one release, as bfloat16's 16 bits."""
    is_new = number % 10 == 0 and version != "1.1.1"
    values = _normal(number, int(is_new), 0.02)
    if version == "1.1.3":
        values += _normal(number, 2, 2e-5)
    return rounded(values, "BF16")


def _normal(number: int, stream: int, scale: float) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng((number, stream))
    return rng.standard_normal(SHAPE, dtype=np.float32) * np.float32(scale)


def write_model(path: Path, mib: int, values: Callable[[int], Words]) -> None:
    """A safetensors file of about `mib` MiB, tensor by tensor."""
    count = max(1, mib * MIB // TENSOR_BYTES)
    places = [[number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES] for number in range(count)]
    header = {f"t.{at:04}": {"dtype": "BF16", "shape": SHAPE, "data_offsets": place} for at, place in enumerate(places)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number in range(count):
            file.write(values(number).tobytes())


def measure(place: Path, mib: int) -> list[dict[str, Any]]:
    """Publish and apply the three releases of one size.

    Raises:
        AssertionError: an update failed, used another mode, or its result is not the published file.
    """
    vendor = Vendor(place)
    source = place / "model.safetensors"
    device = vendor.device()
    idle_bytes = idle_worker_bytes(device.root)
    rows = []
    for version, mode in RELEASES:
        write_model(source, mib, lambda number, version=version: tensor(number, version))
        vendor.publish(version, source, packages=PackageChoice(full_only=version == "1.1.1"))
        with device.running():
            offer = device.check()
            assert offer["offer"]["mode"] == mode, offer["offer"]["mode"]
            with WorkerPeaks(device.pid) as watched:
                started = time.monotonic()
                watched.phase = "rechecking"
                device.decide(offer["digest"])
                while (phase := device.status()["phase"]) not in PHASES_AT_REST:
                    watched.phase = phase
                    time.sleep(0.005)
                seconds = time.monotonic() - started
        with device.running():
            assert device.status()["active_version"] == version, device.status()
        assert digest_file(installed(device, version) / source.name) == digest_file(source), version
        peak_bytes = max(watched.peak_bytes.values())
        above_mib = (peak_bytes - idle_bytes) / MIB
        rows.append(
            {
                "mib": mib,
                "mode": mode,
                "idle_mib": round(idle_bytes / MIB, 1),
                "peak_mib": round(peak_bytes / MIB, 1),
                "above_idle_mib": round(above_mib, 1),
                "bar_mib": BAR_MIB,
                "met": above_mib <= BAR_MIB,
                "phases_mib": {
                    phase: round((peak - idle_bytes) / MIB, 1) for phase, peak in watched.peak_bytes.items()
                },
                "samples": watched.samples,
                "seconds": round(seconds, 1),
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, nargs="+", default=[256, 1536], help="sizes of the models")
    parser.add_argument("--loops", choices=["native", "numpy"], help="the codec's inner loops; default: the fastest")
    options = parser.parse_args()
    if options.loops:
        os.environ[LOOPS_VARIABLE] = options.loops
    rows = []
    for mib in options.mib:
        with tempfile.TemporaryDirectory(prefix="modelota-bench-") as place:
            rows += measure(Path(place), mib)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
