"""A 3 GiB model goes from the publisher onto a device in bounded memory (`make soak`; issue bar: 256 MiB Pss_Anon)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from tests.scenarios.conftest import DESCRIPTION, Publisher

from modelota.spec.limits import GIB, MIB

SIZE_BYTES = 3 * GIB
ANON_MAX_BYTES = 256 * MIB


class AnonPeak:
    """Samples Pss_Anon of every process whose command line contains a marker, until it is left."""

    def __init__(self, *markers: str) -> None:
        self.peak_bytes = dict.fromkeys(markers, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    marker = next((marker for marker in self.peak_bytes if marker in command), None)
                    if marker is None or int(place.name) == os.getpid():
                        continue
                    rollup = (place / "smaps_rollup").read_text()
                except (OSError, UnicodeDecodeError):
                    continue
                anon = next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss_Anon"))
                self.peak_bytes[marker] = max(self.peak_bytes[marker], anon)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_three_gibibytes_of_random_bytes(tmp_path: Path) -> None:
    """Publish and install 3 GiB of random bytes; the installed file is identical, memory stays bounded."""
    publisher = Publisher(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    expected = hashlib.sha256()
    with (source / "model.bin").open("wb") as file:
        for _ in range(SIZE_BYTES // (16 * MIB)):
            block = os.urandom(16 * MIB)
            expected.update(block)
            file.write(block)
    text = DESCRIPTION.format(version="1.1.1", kind="feature", permissions="[]", memory_bytes=0, expect="no weights")
    (source / "release.toml").write_text(text, encoding="utf-8")
    figures: dict[str, float] = {}
    with AnonPeak("modelota.cli.main repo publish") as publishing:
        started = time.monotonic()
        command = [sys.executable, "-m", "modelota.cli.main", "repo", "publish", str(source / "release.toml")]
        subprocess.run([*command, "--repo", str(publisher.workspace.path)], check=True, stdout=subprocess.DEVNULL)
        figures["publish_s"] = time.monotonic() - started
    figures["publish_anon_mib"] = max(publishing.peak_bytes.values()) / MIB
    device = publisher.device()
    with device.running(), AnonPeak("modelota.agent.worker", "run_supervisor") as installing:
        started = time.monotonic()
        offer = device.check()
        device.decide(offer["digest"])
        status = device.settle(timeout_s=1800)
        figures["install_s"] = time.monotonic() - started
    figures |= {f"{name} anon_mib": peak / MIB for name, peak in installing.peak_bytes.items()}
    print(figures)  # noqa: T201  a soak run is read by a person
    assert status["active_version"] == "1.1.1", status
    installed = device.layout.model("acme/assistant").slot("1.1.1+q8") / "files" / "model.bin"
    assert digest(installed) == expected.hexdigest()
    assert max(*publishing.peak_bytes.values(), *installing.peak_bytes.values()) <= ANON_MAX_BYTES


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_six_gibibytes_by_what_is_new_and_by_what_differs(tmp_path: Path) -> None:
    """6 GiB: full, then an incremental update (a part replaced), then a differential one (a bit here and there).

    Every size and offset passes 2³² on the way. Each result is compared by a digest of its own.
    """
    publisher = Publisher(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    model = source / "model.bin"
    with model.open("wb") as file:
        for _ in range(6 * GIB // (16 * MIB)):
            file.write(os.urandom(16 * MIB))
    device = publisher.device()
    figures: dict[str, object] = {}
    with device.running():
        for version, change in (("1.1.1", None), ("1.1.2", replace_a_part), ("1.1.3", flip_bits)):
            if change is not None:
                change(model)
            text = DESCRIPTION.format(
                version=version, kind="fix", permissions="[]", memory_bytes=0, expect="no weights"
            )
            (source / "release.toml").write_text(text, encoding="utf-8")
            started = time.monotonic()
            command = [sys.executable, "-m", "modelota.cli.main", "repo", "publish", str(source / "release.toml")]
            subprocess.run([*command, "--repo", str(publisher.workspace.path)], check=True, stdout=subprocess.DEVNULL)
            published = time.monotonic()
            offer = device.check()
            device.decide(offer["digest"])
            status = device.settle(timeout_s=3000)
            told = offer["offer"]
            figures[version] = {
                "mode": told["mode"],
                "share": told["planned_bytes"] / told["full_bytes"],
                "publish_s": published - started,
                "update_s": time.monotonic() - published,
            }
            assert status["active_version"] == version, status
            assert digest(device.layout.model("acme/assistant").slot(f"{version}+q8") / "files/model.bin") == digest(
                model
            )
    print(figures)  # noqa: T201  a soak run is read by a person
    assert [figures[version]["mode"] for version in ("1.1.1", "1.1.2", "1.1.3")] == [  # type: ignore[index]
        "full",
        "incremental",
        "differential",
    ]


def replace_a_part(model: Path) -> None:
    """New bytes for 100 MiB beyond 4 GiB, and a little more at the end."""
    with model.open("r+b") as file:
        file.seek(5 * GIB)
        for _ in range(100):
            file.write(os.urandom(MIB))
        file.seek(0, os.SEEK_END)
        file.write(os.urandom(4096))


def flip_bits(model: Path) -> None:
    """One bit in every 64 KiB, so that no chunk stays as it was."""
    size_bytes = model.stat().st_size
    with model.open("r+b") as file:
        for position in range(0, size_bytes, 64 * 1024):
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1]))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(16 * MIB):
            found.update(block)
    return found.hexdigest()
