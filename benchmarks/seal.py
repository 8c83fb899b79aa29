"""How fast frames are sealed and opened, per suite, in MB/s and relative to BLAKE3 over the same bytes.

Prints JSON. One thread. A round passes over several distinct frames, so that they do not all sit in the fastest cache;
every figure is the median of interleaved rounds, so that a slow minute of the machine falls on all of them. AES-GCM
depends most on the processor (vector AES or not): the ratios are those of one machine and one OpenSSL.

    python benchmarks/seal.py [--rounds 9] [--frames 8]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.backends.openssl import backend

from modelota.content.digest import digest_bytes
from modelota.content.suites import SUITES
from modelota.spec.limits import CHUNK_MAX_BYTES

NONCE = bytes(12)
AAD = bytes(57)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of sealing and opening, per suite, as JSON.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=8, help=f"of {CHUNK_MAX_BYTES} bytes each")
    options = parser.parse_args()
    frames = [os.urandom(CHUNK_MAX_BYTES) for _ in range(options.frames)]
    jobs: dict[str, Callable[[], None]] = {"blake3": partial(each, digest_bytes, frames)}
    for name, suite in SUITES.items():
        key = suite.new_key()
        # one nonce for all: this key protects nothing, and the cost does not depend on it
        sealed = [suite.seal(key, NONCE, frame, AAD) for frame in frames]
        jobs[f"{name} seal"] = partial(
            each, lambda frame, suite=suite, key=key: suite.seal(key, NONCE, frame, AAD), frames
        )
        jobs[f"{name} open"] = partial(
            each, lambda frame, suite=suite, key=key: suite.open(key, NONCE, frame, AAD), sealed
        )
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    size_bytes = len(frames) * CHUNK_MAX_BYTES
    results = [
        {
            "what": name,
            "mb_per_s": round(size_bytes / 1e6 / median, 1),
            "of_blake3": round(medians["blake3"] / median, 4),
        }
        for name, median in medians.items()
    ]
    context = {
        "machine": platform.machine(),
        "openssl": backend.openssl_version_text(),
        "frame_bytes": CHUNK_MAX_BYTES,
        "frames": len(frames),
        "rounds": options.rounds,
    }
    print(json.dumps({**context, "results": results}, indent=2))


def each(job: Callable[[bytes], object], frames: list[bytes]) -> None:
    """Do the job with every frame."""
    for frame in frames:
        job(frame)


if __name__ == "__main__":
    main()
