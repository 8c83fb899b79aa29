"""A model is uninstalled twice, for both reasons, and then the agent itself; each is refused first, and compared."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from modelota.conformance.chapters.attempts import Attempt, of_command
from modelota.conformance.chapters.watched import serving_version
from modelota.conformance.commands import Done
from modelota.conformance.device import Device
from modelota.conformance.readings import Census, census, descendants
from modelota.conformance.releases import standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import LEAVING, Stage

Json = dict[str, Any]

FIRST, SECOND = "1.1.1", "1.1.2"
CONTENT_BYTES: Final = 512 << 10
STRANGER: Final = "strange.tmp"
_TIDY_S: Final = 10.0
QUESTION: Final = "Type “uninstall”"


@dataclass
class Removal:
    """What was seen of one removal that was carried out.

    Attributes:
        shown: the plan as the command printed it, by language.
        plan: the same as JSON.
        done: the command that carried it out.
        language: of that command.
        proof: that it wrote.
        before: everything below the device root, before.
        after: and after.
        units_before: everything below the directory of units.
        units_after: and after.
        engines: processes of engines that were left.
    """

    shown: dict[str, str]
    plan: Json
    done: Done
    language: str
    proof: Json
    before: Census
    after: Census
    units_before: Census = field(default_factory=dict)
    units_after: Census = field(default_factory=dict)
    engines: int = 0


@dataclass
class Removals:
    """Everything.

    Attributes:
        root: of the device.
        place: of the model.
        undone: attempts that must remove nothing, by name.
        lost: names below the model's place that went because of them.
        prompted: the command at a terminal, answered with something else than its question asks for.
        ended: when the service ended, as the device tells it after a check.
        by_user: the removal that the user wanted.
        stranger_left: a file of unknown origin in the model's place is still there, after the automatic cleaning.
        by_end: the removal because of the end of service.
        agent: the removal of the agent itself.
        record: the file that is left of it.
        sources: content of the model's files.
    """

    root: Path
    place: Path
    undone: dict[str, Attempt]
    lost: list[str]
    prompted: Done
    ended: str | None
    by_user: Removal
    stranger_left: bool
    by_end: Removal
    agent: Removal
    record: Path
    sources: list[Path]


def removals(stage: Stage) -> Removals:
    """Install, refuse, uninstall; install again, end the service, uninstall; remove the agent."""
    workshop = stage.workshop
    tables = [standin(stage.scratch, LEAVING, version, ballast_bytes=CONTENT_BYTES) for version in (FIRST, SECOND)]
    for table in tables:
        workshop.publish(table)
    device = stage.device("r", workshop, LEAVING)
    units = stage.place / "units"
    service = device.command("service", "install", "--user", "--unit-dir", str(units), "--no-start", "--json")
    if service.status != 0:
        raise Unreached(f"the service was not installed: {service.out[-300:]}")
    device.start()
    _take(device, FIRST)
    notes = device.place / "userdata" / "notes.txt"
    notes.parent.mkdir(exist_ok=True)
    notes.write_text("mine", encoding="utf-8")
    stale = _plan_of(_uninstall(device))["digest"]
    _take(device, SECOND)
    device.left_over()
    there = set(census(device.place))
    undone = _undone(device, stale)
    words = ("device", "uninstall", "--root", str(device.root), "--model", LEAVING, "--user-data", "remove")
    prompted = stage.cli.at_terminal((*words, "--lang", "en"), QUESTION, "no")
    undone["something-else-typed"] = Attempt("", prompted.status != 0, "cancelled-by-user" if prompted.status else None)
    lost = sorted(str(path) for path in there - set(census(device.place)))
    serving_version(device)
    stranger = device.place / STRANGER
    stranger.write_bytes(b"left by nobody knows whom")
    by_user = _removed(stage, device, "zh")
    _wait_for_cleaning(device, stranger)
    stranger_left = stranger.exists()
    _take(device, FIRST)
    workshop.end_service(LEAVING, (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    device.socket.request("POST", "/v1/check", {"model": LEAVING})
    ended = device.status()["end_of_service"]
    by_end = _removed(stage, device, "en", "--reason", "end-of-service")
    device.stop()
    record = stage.place / "record.json"
    agent = _agent_removed(device, units, record)
    sources = [Path(file["source"]) for table in tables for file in table["variants"][0]["files"]]
    return Removals(
        root=device.root,
        place=device.place,
        undone=undone,
        lost=lost,
        prompted=prompted,
        ended=ended,
        by_user=by_user,
        stranger_left=stranger_left,
        by_end=by_end,
        agent=agent,
        record=record,
        sources=sources,
    )


def _take(device: Device, version: str) -> None:
    before = device.status()["last_outcome"]
    device.accept_offer(version=version)
    outcome = device.outcome(before)
    if outcome["result"] != "done":
        raise Unreached(f"{LEAVING} {version} was not installed: {outcome}")


def _uninstall(device: Device, *words: str) -> Done:
    return device.command("uninstall", "--model", device.model, *words, "--json")


def _plan_of(done: Done) -> Json:
    """The plan that a command showed, with its digest.

    Raises:
        Unreached: it showed none.
    """
    found = next((each for each in done.objects if "plan" in each and "digest" in each), None)
    if found is None:
        raise Unreached(f"no plan: {done.out[-300:]} {done.err[-300:]}")
    return found


def _undone(device: Device, stale: str) -> dict[str, Attempt]:
    """Attempts without the confirmation of this very plan, or for a reason that does not hold."""
    tried = {
        "without-confirmation": _uninstall(device),
        "with-a-digest-that-never-was": _uninstall(device, "--accept", "0" * 64),
        "with-the-digest-of-an-older-plan": _uninstall(device, "--accept", stale),
        "end-of-service-that-has-not-come": _uninstall(device, "--reason", "end-of-service"),
        "hardware-that-suits": _uninstall(device, "--reason", "unsuitable-hardware"),
    }
    return {name: of_command(name, done) for name, done in tried.items()}


def _removed(stage: Stage, device: Device, language: str, *words: str) -> Removal:
    shown = {
        each: device.command("uninstall", "--model", device.model, *words, "--lang", each).out for each in ("zh", "en")
    }
    plan = _plan_of(_uninstall(device, *words))
    before, file = census(device.root), stage.scratch / f"proof-{language}.json"
    accept = ("--accept", plan["digest"], "--proof", str(file), "--lang", language)
    done = device.command("uninstall", "--model", device.model, *accept)
    if not file.exists():
        raise Unreached(f"no proof: {done.status} {done.out[-300:]} {done.err[-300:]}")
    return Removal(
        shown=shown,
        plan=plan["plan"],
        done=done,
        language=language,
        proof=json.loads(file.read_bytes()),
        before=before,
        after=census(device.root),
        engines=sum(process.role == "engine" for process in descendants(device.agent_pid)),
    )


def _wait_for_cleaning(device: Device, stranger: Path) -> None:
    """What is removed automatically after an uninstall goes in the background."""
    try:
        device.until(lambda: not stranger.exists(), "the automatic cleaning", timeout_s=_TIDY_S)
    except Unreached:
        return  # it is judged by what is still there


def _agent_removed(device: Device, units: Path, record: Path) -> Removal:
    words = ("remove-agent", "--proof", str(record))
    shown = {each: device.command(*words, "--lang", each).out for each in ("zh", "en")}
    plan = _plan_of(device.command(*words, "--json"))
    before, units_before = census(device.root), census(units)
    if record.exists():
        raise Unreached("a record was written before anything was confirmed")
    done = device.command(*words, "--accept", plan["digest"], "--lang", "zh")
    if not record.exists():
        raise Unreached(f"no record: {done.status} {done.out[-300:]} {done.err[-300:]}")
    return Removal(
        shown=shown,
        plan=plan["plan"],
        done=done,
        language="zh",
        proof=json.loads(record.read_bytes())["proof"],
        before=before,
        after=census(device.root),
        units_before=units_before,
        units_after=census(units),
    )
