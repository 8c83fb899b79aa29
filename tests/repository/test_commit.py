"""Tests of modelota.repository.commit: several publishers, killed publishers, lost replies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from modelota import faults
from modelota.delivery.objects import ObjectStore
from modelota.errors import ModelotaError, TryLater
from modelota.repository.audit import audit
from modelota.repository.refresh import refresh
from modelota.repository.report import PublishProgress
from modelota.repository.workspace import Workspace

TIMESTAMP = "metadata/timestamp.json"


def test_of_two_publishers_one_wins(press: Any, shop: Workspace) -> None:
    """Both packed on top of the same state and commit at once: one is told of the conflict and leaves no pack."""
    press.publish(shop, "1.1.1")
    sources = [press.describe("1.1.2"), press.describe("1.1.3")]
    barrier = threading.Barrier(2)
    outcomes: dict[int, str] = {}

    def meet(progress: PublishProgress) -> None:
        if (progress.step, progress.done) == ("committing", 0):
            barrier.wait(timeout=60)

    def run(number: int) -> None:
        try:
            outcomes[number] = press.publish(shop, sources[number], on_progress=meet).version
        except ModelotaError as error:
            outcomes[number] = error.code

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    loser = next(number for number, outcome in outcomes.items() if outcome == "publish-conflict")
    winner = outcomes[1 - loser]
    assert press.device(shop).versions() == ["1.1.1", winner]
    report = audit(shop, clock=press.clock)
    assert (report.ok, report.unreferenced) == (True, [])
    if loser == 1:  # the newer version was beaten, so it can still follow
        press.publish(shop, sources[1])
        assert press.device(shop).versions() == ["1.1.1", "1.1.2", "1.1.3"]


PROGRAM = """
import sys
from pathlib import Path
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.workspace import Workspace
from modelota.testing.clock import ManualClock
passphrases = Passphrases(environ={"MODELOTA_PASSPHRASE": "correct horse"})
publish(Workspace.open(Path(sys.argv[1])), Path(sys.argv[2]), clock=ManualClock(), passphrases=passphrases)
"""


def _publish_with_faults(workspace: Path, source: Path, armed: str) -> int:
    environ = {key: value for key, value in os.environ.items() if key != faults.VARIABLE} | {faults.VARIABLE: armed}
    command = [sys.executable, "-c", PROGRAM, str(workspace), str(source)]
    return subprocess.run(command, env=environ, check=False, timeout=120).returncode


def test_a_publisher_may_be_killed_at_any_moment(press: Any, shop: Workspace) -> None:
    """After a kill at each upload and at the commit, devices see a whole repository, and publishing again succeeds."""
    press.publish(shop, "1.1.1")
    source = press.describe("1.1.2")
    press.vouch(shop, source)
    for passage in range(1, 100):
        copy = press.directory / f"killed-{passage}"
        shutil.copytree(shop.path, copy)
        status = _publish_with_faults(copy, source, f"publish.*@{passage}=kill")
        workspace = Workspace.open(copy)
        device = press.device(workspace, copy.name)
        assert device.versions() in (["1.1.1"], ["1.1.1", "1.1.2"])
        if status == 0:
            break
        assert status == -signal.SIGKILL
        press.publish(workspace, source)
        assert device.versions() == ["1.1.1", "1.1.2"]
        assert audit(workspace, clock=press.clock).ok
    else:
        pytest.fail("it never finished")
    assert passage == 7  # pack, manifest, catalog, role, snapshot, timestamp, and then nothing is left to kill


def test_a_refresh_finishes_what_a_killed_publisher_committed(
    press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot whose timestamp was never written is taken up, not overwritten."""
    original = ObjectStore.put

    def put(store: ObjectStore, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
        if path == TIMESTAMP:
            raise TryLater("server-error", url=path, status=503)
        original(store, path, data, create_only=create_only)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", put)
        with pytest.raises(TryLater):
            press.publish(shop, "1.1.1")
    device = press.device(shop)
    assert device.versions() == []
    assert audit(shop, clock=press.clock).lags
    refresh(shop, clock=press.clock, passphrases=press.passphrases)
    assert device.versions() == ["1.1.1"]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_lost_reply_to_the_commit(
    press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    """If the snapshot arrived, publishing goes on; if not, the error is told, and no pack is deleted."""
    original = ObjectStore.put

    def put(store: ObjectStore, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
        if path == "metadata/2.snapshot.json":
            if arrived:
                original(store, path, data, create_only=create_only)
            raise TryLater("network-interrupted", url=path, detail="reset")
        original(store, path, data, create_only=create_only)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", put)
        if arrived:
            press.publish(shop, "1.1.1")
        else:
            with pytest.raises(TryLater) as caught:
                press.publish(shop, "1.1.1")
            assert caught.value.code == "network-interrupted"
    assert press.device(shop).versions() == (["1.1.1"] if arrived else [])
    assert len(audit(shop, clock=press.clock).unreferenced) == (0 if arrived else 1)


def test_a_late_timestamp_does_not_stay(press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow publisher that overwrites a newer timestamp sees the newer snapshot and writes its timestamp again."""
    sources = [press.describe("1.1.1"), press.describe("1.1.2")]
    device = press.device(shop)
    original = ObjectStore.put
    late = []

    def put(store: ObjectStore, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
        if path == TIMESTAMP and not late:
            late.append(path)
            press.publish(shop, sources[1])
            assert device.versions() == ["1.1.1", "1.1.2"]
        original(store, path, data, create_only=create_only)

    monkeypatch.setattr(ObjectStore, "put", put)
    press.publish(shop, sources[0])
    assert device.versions() == ["1.1.1", "1.1.2"]


def test_an_upload_that_fails_leaves_nothing(press: Any, shop: Workspace) -> None:
    """A full disk during an upload is told as such, and packs of the attempt are gone."""
    for passage in (1, 2, 3, 4):
        faults.arm(f"publish.upload@{passage}=ENOSPC")
        try:
            with pytest.raises(ModelotaError) as caught:
                press.publish(shop, "1.1.1")
            assert caught.value.code == "no-space"
        finally:
            faults.arm("")
        assert press.device(shop).versions() == []
    report = audit(shop, clock=press.clock)
    assert (report.ok, report.unreferenced) == (True, [])
    press.publish(shop, "1.1.1")
    assert press.device(shop).versions() == ["1.1.1"]
