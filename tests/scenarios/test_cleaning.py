"""A real agent installs a model; what is copied away from it is found after the model is gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from modelota.agent.anchoring import TAG
from modelota.agent.cleaning import knowledge, scanning
from modelota.agent.cleaning.mounts import Mounts
from modelota.agent.cleaning.plan import path_of
from modelota.agent.cleaning.removing import apply
from modelota.agent.cleaning.system import System
from modelota.agent.enrol import open_journal
from modelota.clock import SystemClock
from modelota.storage.layout import Layout
from tests.scenarios.conftest import Publisher, heavy_model


def test_copies_of_an_installed_model_are_found_after_the_agent_is_gone(publisher: Publisher, tmp_path: Path) -> None:
    """Deploying keeps anchors and tags the files; the exported record then finds copies, and the root can go first."""
    publisher.publish("1.1.1", kind="feature", beside={"weights.bin": heavy_model(3)})
    device = publisher.device()
    with device.running():
        device.update()
    layout = Layout(device.root)
    files = layout.model("acme/assistant").slot("1.1.1+q8") / "files"
    home = tmp_path / "home"
    home.mkdir()
    copy, part = home / "holiday", home / "part"
    shutil.copyfile(files / "weights.bin", copy)
    part.write_bytes((files / "weights.bin").read_bytes()[:2_000_001])
    journal = open_journal(layout, SystemClock())
    rows = {row.path: row for row in journal.records.anchor_rows()}
    record = knowledge.record_of(layout, journal)
    journal.close()
    assert set(rows) == {"model.bin", "weights.bin"}
    try:
        assert os.getxattr(files / "weights.bin", TAG) == rows["weights.bin"].digest.encode()
    except OSError:
        pytest.skip("this file system keeps no attributes")
    alone = System(mounts=lambda: Mounts((str(home),), frozenset(), ()))
    apply(scanning.scan(knowledge.of_record(record, leaving=True), alone, deep=False), (), alone)
    assert not device.root.exists()
    plan = scanning.scan(knowledge.of_record(record), alone, deep=True)
    assert {path_of(each.path): each.certainty for each in plan.findings} == {
        str(copy): "certain",
        str(part): "certain",
    }
    apply(plan, (), alone)
    assert list(home.iterdir()) == []
