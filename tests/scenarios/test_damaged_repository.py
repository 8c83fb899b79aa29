"""Flip, truncate, swap, remove or replace any file of a repository: refused with a code, or the result is identical.

A device may not notice what it does not read; what it does read is exact or refused, and the version in use stays.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelota.agent.jobs import Jobs
from modelota.agent.worker_link import Job
from modelota.clock import SystemClock
from modelota.errors import CODES, ModelotaError
from modelota.repository.audit import audit
from modelota.spec.offer import Decision
from tests.scenarios.conftest import Publisher, good_model


class Bench:
    """A published repository in two states, and a device that installs from a damaged copy of the newer one."""

    def __init__(self, place: Path) -> None:
        self.publisher = Publisher(place)
        self.publisher.publish("1.1.1", kind="feature")
        self.old = place / "old"
        shutil.copytree(self.publisher.public, self.old)
        self.publisher.publish("1.1.2")
        self.good = place / "good"
        shutil.copytree(self.publisher.public, self.good)
        self.public = self.publisher.public
        self.files = sorted(str(path.relative_to(self.good)) for path in self.good.rglob("*") if path.is_file())
        self.expected = {"1.1.1": good_model("1.1.1"), "1.1.2": good_model("1.1.2")}
        self._devices = 0

    def reset(self) -> None:
        shutil.rmtree(self.public)
        shutil.copytree(self.good, self.public)

    def fresh_device(self) -> Path:
        self._devices += 1
        return self.publisher.device(f"device-{self._devices}").root

    def install(self, root: Path) -> str:
        """Install whatever is offered; returns its version. Raises what the device says."""

        async def run() -> str:
            worker = Jobs(root)
            ignore = lambda done, total: None  # noqa: E731, ARG005
            found = await worker.run(
                Job(number=1, kind="check", arguments={"model": "acme/assistant", "allow_stale": False}), ignore
            )
            digest = found.offer_digest
            if digest is None:
                return "nothing"
            decision = Decision(
                offer_digest=digest, answer="accept", authority="test", channel="host", at="2026-01-01T00:00:00Z"
            )
            worker._journal.note_decision(decision)
            for kind in ("fetching", "verifying", "deploying"):
                result = await worker.run(Job(number=2, kind=kind, arguments={"offer_digest": digest}), ignore)
                assert not result.get("missing")
            return str(worker._journal.offer(digest).offer.to_version)

        return asyncio.run(run())

    def outcome(self, root: Path) -> str:
        """`identical`, or the code with which the device refused; anything else fails the test."""
        try:
            version = self.install(root)
        except ModelotaError as error:
            assert error.code in CODES
            assert error.branch != "our-bug", error
            return error.code
        if version == "nothing":
            return "nothing"
        installed = root / "models/acme/assistant/slots" / f"{version}+q8" / "files/model.bin"
        assert installed.read_bytes() == self.expected[version]
        return "identical"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def damage(bench: Bench, name: str, how: str, where: float) -> bool:
    """Damage one file of the public repository; whether that changed anything."""
    path = bench.public / name
    data = path.read_bytes()
    offset = min(len(data) - 1, int(where * len(data)))
    if how == "flip":
        changed = data[:offset] + bytes([data[offset] ^ (1 << int(where * 1000) % 8)]) + data[offset + 1 :]
    elif how == "truncate":
        changed = data[:offset]
    elif how == "extend":
        changed = data + data[:64]
    elif how == "zero":
        changed = data[:offset] + b"\0" * (len(data) - offset)
    elif how == "swap":
        other = bench.files[int(where * len(bench.files)) % len(bench.files)]
        changed = (bench.good / other).read_bytes()
    elif how == "older":
        older = bench.old / name
        changed = older.read_bytes() if older.exists() else b""
    else:
        path.unlink()
        return True
    path.write_bytes(changed)
    return changed != data


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(bench: Bench, data: st.DataObject) -> None:
    """Whatever happens to whichever file: a clear code, or exactly the bytes that were published."""
    bench.reset()
    name = data.draw(st.sampled_from(bench.files))
    how = data.draw(st.sampled_from(["flip", "flip", "truncate", "extend", "zero", "swap", "older", "remove"]))
    where = data.draw(st.floats(0, 0.999))
    damage(bench, name, how, where)
    try:
        assert bench.outcome(bench.fresh_device()) in {*CODES, "identical", "nothing"}
    finally:
        bench.reset()


@pytest.mark.parametrize("how", ["flip", "truncate", "remove", "older"])
def test_every_file_in_turn(bench: Bench, how: str) -> None:
    """Each file of the repository is damaged once; a pack in use is never accepted damaged."""
    for name in bench.files:
        bench.reset()
        changed = damage(bench, name, how, 0.5)
        outcome = bench.outcome(bench.fresh_device())
        if not changed:
            assert outcome == "identical"
        if outcome in {"identical", "nothing"}:
            continue
        assert outcome in CODES
    bench.reset()


def test_damage_does_not_stick(bench: Bench) -> None:
    """A device that met a damaged pack installs from the mended repository as if nothing had been."""
    bench.reset()
    root = bench.fresh_device()
    packs = [name for name in bench.files if name.startswith("packs/")]
    for name in packs:
        damage(bench, name, "flip", 0.9)
    assert bench.outcome(root) in {"pack-tampered", "chunk-mismatch"}
    bench.reset()
    assert bench.outcome(root) == "identical"


def test_audit_finds_every_flip_in_content_addressed_files(bench: Bench) -> None:
    """Any flipped byte of a pack or a hash-named target is found by `repo audit`; the good ones pass."""
    anchor = bench.publisher.workspace.trusted_root()

    def findings() -> int:
        report = audit(str(bench.public), root=anchor, deep=True, clock=SystemClock())
        return len(report.findings)

    bench.reset()
    assert findings() == 0
    for name in bench.files:
        if not name.startswith(("packs/", "targets/")):
            continue
        for where in (0.0, 0.37, 0.999):
            damage(bench, name, "flip", where)
            assert findings() > 0, f"{name} at {where}"
            bench.reset()
