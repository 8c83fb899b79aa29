"""What a real device fetches when one tensor of a model changed, against what that tensor is worth.

    python benchmarks/changed_tensor.py [--seed 1]

Prints a JSON list. A device installs a model of 24 tensors; then one tensor changes, the vendor publishes, the device
updates, and the bytes that the web server handed out are counted:

| key | meaning |
|---|---|
| `case` | what changed |
| `mode` | of the plan that the device made |
| `coded_bytes` | the changed tensor as the codec makes it, cut into chunks by itself: its coded size |
| `index_bytes` | the index: the release's manifest as it is published |
| `fetched_bytes` | of content: everything below `packs/` |
| `bar_bytes`, `met` | `coded_bytes` + 1 % of `index_bytes`, and whether no more was fetched |
| `signed_bytes` | fetched besides content: metadata, catalog, and the manifest itself; no part of the bar |
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from product.vendor import Vendor, installed
from training.storing import rounded, store

from modelota.content.delta import encode_delta, encode_full
from modelota.spec.limits import CHUNK_MAX_BYTES
from modelota.testing.network import InstrumentedServer

# The index is what a device must know before it can fetch: the manifest. Of this, the bar allows 1 % as overhead.
INDEX_PERCENT = 1
LAYERS = 4
WIDTH = 1024
Floats = npt.NDArray[np.float32]
Change = Callable[[np.random.Generator, Floats], Floats]


@dataclass(frozen=True)
class Case:
    """One update: which tensor changes, and how."""

    name: str
    tensor: str
    change: Change


def _tuned(rng: np.random.Generator, values: Floats) -> Floats:
    return values + rng.standard_normal(values.shape).astype("f4") * np.float32(2e-5)


def _new(rng: np.random.Generator, values: Floats) -> Floats:
    return rng.standard_normal(values.shape).astype("f4") * np.float32(0.02)


def _one_value(_: np.random.Generator, values: Floats) -> Floats:
    changed = values.copy()
    changed.flat[values.size // 2] += np.float32(0.5)
    return changed


CASES = (
    Case("one tensor, every value a little", "layer.1.up", _tuned),
    Case("one tensor, new values", "layer.2.up", _new),
    Case("one small tensor, every value a little", "layer.3.norm", _tuned),
    Case("one tensor that shares its chunk, every value a little", "layer.0.bias", _tuned),
    Case("one value of one tensor", "embedding", _one_value),
)


def model(rng: np.random.Generator) -> dict[str, Floats]:
    """Weights like a model's: large matrices, norms, and biases so small that they share chunks."""
    shapes: dict[str, tuple[int, ...]] = {"embedding": (4 * WIDTH, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {
            f"layer.{layer}.up": (WIDTH, 4 * WIDTH),
            f"layer.{layer}.down": (4 * WIDTH, WIDTH),
            f"layer.{layer}.attention": (WIDTH, WIDTH),
            f"layer.{layer}.norm": (WIDTH,),
            f"layer.{layer}.bias": (64,),
            f"layer.{layer}.gate": (48,),
        }
    return {name: (rng.standard_normal(shape) * 0.02).astype("f4") for name, shape in shapes.items()}


def coded_bytes(old: bytes, new: bytes) -> int:
    """A tensor's coded size: its chunks, each as a delta or by itself, whichever is shorter."""
    total = 0
    for start in range(0, len(new), CHUNK_MAX_BYTES):
        before, after = old[start : start + CHUNK_MAX_BYTES], new[start : start + CHUNK_MAX_BYTES]
        total += min(len(encode_delta(after, before, "bf16")[1]), len(encode_full(after, "bf16")[1]))
    return total


def measure(place: Path, seed: int) -> list[dict[str, Any]]:
    """Publish and install every case in turn, on one device.

    Raises:
        AssertionError: an update failed, or its result is not the published file.
    """
    rng = np.random.default_rng(seed)
    tensors = model(rng)
    source = place / "model.safetensors"
    rows = []
    with InstrumentedServer(place / "vendor" / "public") as server:
        vendor = Vendor(place, url=server.url)
        store(source, tensors, dtype="BF16")
        vendor.publish("1.1.1", source)
        device = vendor.device()
        with device.running():
            device.update()
            for number, case in enumerate(CASES, 2):
                version = f"1.1.{number}"
                old = rounded(tensors[case.tensor], "BF16").tobytes()
                tensors[case.tensor] = case.change(rng, tensors[case.tensor])
                new = rounded(tensors[case.tensor], "BF16").tobytes()
                store(source, tensors, dtype="BF16")
                report = vendor.publish(version, source)
                server.forget()
                offer = device.check()
                device.decide(offer["digest"])
                status = device.settle()
                assert status["active_version"] == version, status
                assert (installed(device, version) / source.name).read_bytes() == source.read_bytes(), version
                worth, fetched = coded_bytes(old, new), server.sent_bytes("packs/*")
                bar = worth + report.manifest_bytes * INDEX_PERCENT // 100
                rows.append(
                    {
                        "case": case.name,
                        "mode": offer["offer"]["mode"],
                        "tensor_bytes": len(new),
                        "coded_bytes": worth,
                        "index_bytes": report.manifest_bytes,
                        "fetched_bytes": fetched,
                        "bar_bytes": bar,
                        "met": fetched <= bar,
                        "signed_bytes": server.sent_bytes() - fetched,
                        "model_bytes": source.stat().st_size,
                    }
                )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the weights")
    with tempfile.TemporaryDirectory(prefix="modelota-bench-") as place:
        rows = measure(Path(place), parser.parse_args().seed)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
