"""The archive of a publisher with real keys: opened with the archive key alone, and everybody who tries to delete."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modelota.conformance.chapters.attempts import Attempt, of_command
from modelota.conformance.chapters.promises import promises
from modelota.conformance.readings import tree_hash
from modelota.conformance.row import Unreached
from modelota.conformance.stage import Stage
from modelota.testing.archive_time import archive_kept_until, prune_at

Json = dict[str, Any]


@dataclass
class Archived:
    """What was found.

    Attributes:
        released: versions that are published.
        entries: what `repo archive check --archive-key` printed, one object per release, without the keys of device
            classes.
        content_bytes: of the files of each release, by version, as they lie on the publisher's disk.
        documents: names of what lies beside the packs, by version.
        places: the public repository and the archive.
        early: attempts to delete before the time has come, by name.
        unchanged: the archive had the same bytes before and after them.
        until: when the last of them may go, after the end of service was announced.
        late: codes of deleting a second before and after that time, on a copy, with another clock; None: it went.
        left: files left of the copy.
    """

    released: list[str]
    entries: list[Json] = field(default_factory=list)
    content_bytes: dict[str, int] = field(default_factory=dict)
    documents: dict[str, list[str]] = field(default_factory=dict)
    places: tuple[str, str] = ("", "")
    early: dict[str, Attempt] = field(default_factory=dict)
    unchanged: bool = False
    until: str | None = None
    late: dict[str, str | None] = field(default_factory=dict)
    left: int = 0


def archived(stage: Stage) -> Archived:
    """Look at what publishing archived, try to delete it, end the service, try again with other clocks."""
    stage.chapter(promises)
    publisher = stage.strict
    model, workspace = stage.family.model, publisher.workspace
    place = workspace / "archive"
    told = Archived([record["version"] for record in publisher.history(model)])
    told.places = (str(publisher.public), str(place))
    tables = {table["version"]: table for table in (stage.family.first, stage.family.better)}
    for version in told.released:
        files = [Path(file["source"]) for file in tables[version]["variants"][0]["files"]]
        told.content_bytes[version] = sum(file.stat().st_size for file in files)
        found = place.joinpath(*model.split("/"), version).rglob("*")
        told.documents[version] = sorted({path.name for path in found if path.is_file()})
    (key,) = (workspace / "offline").iterdir()
    classes = workspace / "enrolment"
    away = classes.rename(workspace / "enrolment-away")
    try:
        told.entries = publisher.archive("check", "--archive-key", str(key)).objects
    finally:
        away.rename(classes)
    before = tree_hash(place)
    told.early["while-it-is-served"] = of_command("", publisher.archive("prune"))
    ends = datetime.now(UTC) + timedelta(days=1)
    publisher.announce_end(ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    told.early["after-the-end-was-announced"] = of_command("", publisher.archive("prune"))
    told.early["with-a-digest-that-never-was"] = of_command("", publisher.archive("prune", "--accept", "0" * 64))
    told.unchanged = tree_hash(place) == before
    _with_other_clocks(told, stage, model, place)
    return told


def _with_other_clocks(told: Archived, stage: Stage, model: str, place: Path) -> None:
    """On a copy, because what is deleted there is gone: the second before it may go, and the second after."""
    until = archive_kept_until(stage.strict.workspace, model)
    if until is None:
        raise Unreached("the end of service was announced, and the catalog has none")
    told.until = until.isoformat()
    copy = stage.scratch / "archive-copy"
    shutil.copytree(place, copy)
    for name, moment in (("before", until - timedelta(seconds=1)), ("after", until + timedelta(seconds=1))):
        told.late[name] = prune_at(stage.strict.workspace, model, copy, moment)
    told.left = sum(path.is_file() for path in copy.rglob("*"))
