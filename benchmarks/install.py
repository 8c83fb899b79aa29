"""A full installation from loopback against `curl` to a file, `sha256sum` and `sync`, in the same run.

    python benchmarks/install.py [--mib 1024] [--rounds 3]

Prints one JSON object. Ours is everything between the owner's answer and the first self-test: recheck, fetch, staging,
opening the seal, verifying, assembling, checking whole files, flushing. `ratio` is the peer's median time divided by
ours: 1 means as fast as the peer, 0.5 half as fast. Rounds are interleaved. The bytes are random: nothing compresses.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from product.vendor import Vendor

from modelota.repository.serve import RepositoryServer
from modelota.spec.limits import MIB


def publish_random(place: Path, size_mib: int, url: str | None) -> Vendor:
    """A vendor with one release of random bytes."""
    vendor = Vendor(place, url=url)
    with (place / "model.bin").open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))
    vendor.publish("1.1.1", place / "model.bin")
    return vendor


def install_s(vendor: Vendor) -> tuple[float, dict[str, float]]:
    """Install on a new device; seconds until the self-test begins, and the seconds of each step."""
    device = vendor.device()
    with device.running():
        offer = device.check()
        started = time.monotonic()
        steps: dict[str, float] = {}
        device.decide(offer["digest"])
        before, phase = started, "rechecking"
        while phase not in {"testing", "activating", "idle"}:
            found = device.status()["phase"]
            if found != phase:
                now = time.monotonic()
                steps[phase], before, phase = now - before, now, found
            time.sleep(0.002)
        seconds = before - started
        device.settle()
    shutil.rmtree(device.root)
    return seconds, steps


def peer_s(place: Path, url: str) -> float:
    """`curl`, `sha256sum`, `sync` of the same bytes from the same server."""
    target = place / "peer.bin"
    command = f"curl -sSf -o {target} {url}model.bin && sha256sum {target} >/dev/null && sync {target}"
    started = time.monotonic()
    subprocess.run(["sh", "-c", command], check=True)
    seconds = time.monotonic() - started
    target.unlink()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        vendor = publish_random(place, options.mib, url)
        (vendor.public / "model.bin").hardlink_to(place / "model.bin")
        with RepositoryServer(vendor.public, port=port) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            ours, peers, steps = [], [], {}
            for _ in range(options.rounds):
                peers.append(peer_s(place, url))
                seconds, steps = install_s(vendor)
                ours.append(seconds)
            server.shutdown()
            thread.join()
    result = {
        "mib": options.mib,
        "modelota_s": statistics.median(ours),
        "curl_sha256sum_sync_s": statistics.median(peers),
        "ratio": statistics.median(peers) / statistics.median(ours),
        "modelota_mb_s": options.mib * MIB / 1e6 / statistics.median(ours),
        "last_steps_s": steps,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
