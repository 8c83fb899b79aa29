"""`modelota device clean`: shows, asks, removes, proves; also from the record of an agent that is gone."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Run

from modelota.agent.cleaning import system as systems
from modelota.agent.cleaning.bystanders import OpenFiles
from modelota.agent.cleaning.knowledge import CleaningRecord, RecordedFile
from modelota.agent.cleaning.mounts import Mounts
from modelota.content.anchors import anchors_of

MODEL = random.Random(8).randbytes(200_000)
STATUS_ASK = 64


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only file system there is."""
    disk, nobody = tmp_path / "disk", tmp_path / "proc"
    disk.mkdir()
    nobody.mkdir()  # what other processes had open a moment ago may have left its inode to a file of this test
    alone = systems.System(mounts=lambda: Mounts((str(disk),), frozenset(), ()), open_files=OpenFiles(nobody))
    monkeypatch.setattr(systems, "System", lambda: alone)
    return disk


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """What was exported when the agent was removed."""
    anchors = msgspec.structs.asdict(anchors_of(MODEL))
    file = RecordedFile(model="acme/assistant", version="1.1.1", variant="default", path="model.gguf", **anchors)
    path = tmp_path / "record.json"
    made = CleaningRecord(
        root="/nowhere/modelota",
        runtime_directory="/nowhere/modelota/run",
        owner_uid=os.geteuid(),
        recorded_ns=time.time_ns(),
        ledger=(),
        files=(file,),
    )
    path.write_bytes(msgspec.json.encode(made))
    return path


def test_it_shows_and_removes_only_what_was_agreed_to(run: Run, disk: Path, record: Path, tmp_path: Path) -> None:
    """Without a terminal the plan is shown; naming its digest removes what is certain, and writes the proof."""
    copy, part = disk / "holiday.mov", disk / "part"
    copy.write_bytes(MODEL)
    part.write_bytes(MODEL[50_000:150_000])
    shown = run("device", "clean", "--deep", "--from", str(record))
    assert shown.status == STATUS_ASK
    assert str(copy) in shown.out
    assert "every byte is that of model.gguf 1.1.1" in shown.out
    assert str(part) in shown.out
    assert copy.exists()
    digest = shown.out.split("--accept ")[1].split()[0]
    ran = run("device", "clean", "--deep", "--from", str(record), "--accept", digest, "--proof", str(tmp_path / "p"))
    assert ran.status == 0
    assert not copy.exists()
    assert part.exists()
    proof = json.loads((tmp_path / "p").read_bytes())
    assert proof["plan_digest"] == digest
    assert [each["path"] for each in proof["removals"]] == [str(copy)]


def test_a_probable_finding_goes_when_it_is_named(run: Run, disk: Path, record: Path) -> None:
    """With JSON a program gets the ids, and names one."""
    part = disk / "part"
    part.write_bytes(MODEL[50_000:150_000])
    plan, error = run("--json", "device", "clean", "--deep", "--from", str(record)).lines
    assert error["error"]["code"] == "decision-required"
    words = ("--accept", plan["digest"], "--yes-probable", plan["ids"][0])
    assert run("device", "clean", "--deep", "--from", str(record), *words).status == 0
    assert not part.exists()


def test_another_plan_than_the_one_shown_is_refused(run: Run, disk: Path, record: Path) -> None:
    """A digest stands for what was shown; a changed file makes another plan, and nothing goes."""
    copy = disk / "copy"
    copy.write_bytes(MODEL)
    digest = run("--json", "device", "clean", "--deep", "--from", str(record)).lines[0]["digest"]
    (disk / "second").write_bytes(MODEL)
    ran = run("--json", "device", "clean", "--deep", "--from", str(record), "--accept", digest)
    assert ran.json["error"]["code"] == "plan-changed"
    assert copy.exists()


def test_nothing_left_is_told(run: Run, disk: Path, record: Path) -> None:
    """Where nothing is found, nobody is asked."""
    (disk / "other").write_bytes(b"1")
    ran = run("device", "clean", "--deep", "--from", str(record))
    assert (ran.status, "Nothing is left" in ran.out) == (0, True)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"format": 99}', b"[]"])
def test_a_record_that_is_none_is_refused(run: Run, disk: Path, tmp_path: Path, content: bytes) -> None:
    """Other files, and records of a later format, are refused with a code."""
    path = tmp_path / "bad"
    path.write_bytes(content)
    ran = run("--json", "device", "clean", "--from", str(path))
    assert ran.json["error"]["code"] in {"record-invalid", "document-needs-newer"}


def test_a_record_with_damaged_anchors_is_refused(run: Run, disk: Path, record: Path) -> None:
    """Anchors whose lengths disagree are refused before anything is looked at."""
    data = json.loads(record.read_bytes())
    data["files"][0]["blocks"] = data["files"][0]["blocks"][:-8]
    record.write_text(json.dumps(data))
    ran = run("--json", "device", "clean", "--deep", "--from", str(record))
    assert ran.json["error"]["code"] == "record-invalid"


def test_a_missing_record_and_a_missing_root_are_told(run: Run, disk: Path, tmp_path: Path) -> None:
    """Neither a record nor a device: each has its code."""
    assert run("--json", "device", "clean", "--from", str(tmp_path / "no")).json["error"]["code"] == "argument-invalid"
    assert run("--json", "device", "clean", "--root", str(tmp_path / "no")).json["error"]["code"] == "not-enrolled"


def test_nothing_outside_a_named_directory_is_looked_at(run: Run, record: Path, tmp_path: Path) -> None:
    """`--within` finds the copy below that directory and not the one beside it; it has to exist."""
    inside, outside = tmp_path / "old-disk" / "deep" / "copy", tmp_path / "beside"
    inside.parent.mkdir(parents=True)
    for path in (inside, outside):
        path.write_bytes(MODEL)
    words = ("device", "clean", "--within", str(tmp_path / "old-disk"), "--from", str(record))
    plan, _ = run("--json", *words).lines
    assert [finding["path"] for finding in plan["plan"]["findings"]] == [str(inside)]
    shown = run(*words)
    assert f"--within {tmp_path / 'old-disk'}" in shown.out
    assert run(*words, "--accept", plan["digest"]).status == 0
    assert (inside.exists(), outside.exists()) == (False, True)
    missing = run("--json", "device", "clean", "--within", str(tmp_path / "none"), "--from", str(record))
    assert missing.lines[-1]["error"]["code"] == "argument-invalid"
