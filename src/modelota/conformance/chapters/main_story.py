"""The main device's life: install, update, a bad release, rollback, damage at rest. Its surroundings are read-only."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelota.conformance.chapters.attempts import Attempt, of_answer, of_command
from modelota.conformance.commands import Done
from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS
from modelota.conformance.readings import (
    Sampler,
    allocated_bytes,
    descendants,
    entries_below,
    file_hash,
    flip_byte,
    listening_names,
    open_names,
    tree_hash,
)
from modelota.conformance.releases import Table
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import Answer
from modelota.conformance.stage import Stage
from modelota.testing.network import Slow

Json = dict[str, Any]

_SLOW_S = 4  # how long the first download takes at least


@dataclass
class Installation:
    """What was seen while one release came to the main device.

    Attributes:
        table: the release's description.
        offer: the offer as the socket gave it.
        texts: what `modelota device check` printed, by language.
        attempts: what was tried before the decision.
        bytes_before_decision: content served until then.
        outcome: how it ended.
        events: of the stream.
        log: the journal afterwards.
        self_tests: the records afterwards.
        reports: of finished operations, newest first.
        sampler: readings of processes and disk.
        disk_before_bytes: allocated for the model before.
        same_files: every installed file has the bytes of its source.
        old_slot_hashes: of the version in use before, before and after.
        left_over: names that do not belong into the device root afterwards.
        engines: processes of engines that ran during the self-test, with the slots whose files they hold open and the
            sockets they listen on.
    """

    table: Table
    offer: Json
    texts: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    bytes_before_decision: int = 0
    outcome: Json = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    log: list[Json] = field(default_factory=list)
    self_tests: list[Json] = field(default_factory=list)
    reports: list[Json] = field(default_factory=list)
    sampler: Sampler | None = None
    disk_before_bytes: int = 0
    same_files: bool = False
    old_slot_hashes: tuple[str, str] | None = None
    left_over: list[str] = field(default_factory=list)
    engines: list[Json] = field(default_factory=list)


def first_install(stage: Stage) -> Installation:
    """Install the first release over a slow line: offer, attempts without a decision, done."""
    device, publisher = stage.main_device, stage.publisher
    publisher.publish(stage.family.first)
    device.start()
    seen = _offered(stage, stage.family.first, None)
    size_bytes = seen.offer["offer"]["planned_bytes"]
    publisher.server.script(PACKS, Slow(max(size_bytes // _SLOW_S, 50_000)))
    _carried_out(stage, seen, lambda: None)
    publisher.server.behave()
    return seen


def second_update(stage: Stage) -> Installation:
    """Update to the better release, published as an urgent security fix."""
    before = stage.chapter(first_install)
    stage.publisher.publish(stage.family.better)
    seen = _offered(stage, stage.family.better, before.offer["digest"])
    device = stage.main_device

    def on_the_way() -> None:
        device.until(lambda: device.status()["phase"] in {"testing", "activating", "watching"}, "the self-test")
        device.until(lambda: _look_at_engines(device, seen), "two engines at once")

    old = device.slot(stage.family.first["version"]) / "files"
    hashed = tree_hash(old)
    _carried_out(stage, seen, on_the_way)
    seen.old_slot_hashes = (hashed, tree_hash(old))
    return seen


def _offered(stage: Stage, table: Table, other_digest: str | None) -> Installation:
    """Check, try what must be refused, and have the offer shown in both languages by the command line."""
    device, publisher = stage.main_device, stage.publisher
    served = publisher.pack_bytes
    seen = Installation(table, device.offer())
    digest = seen.offer["digest"]

    def tried(name: str, answer: Answer | Done) -> None:
        moved, phase = publisher.pack_bytes - served, device.status()["phase"]
        if isinstance(answer, Done):
            seen.attempts.append(of_command(name, answer, moved, phase))
        else:
            seen.attempts.append(of_answer(name, answer, moved, phase))

    tried("accept-before-it-was-shown", device.answer(digest, "accept"))
    tried("accept-by-command-before-it-was-shown", device.command("update", "--accept", digest, "--json"))
    tried("accept-a-digest-that-never-was", device.answer(secrets.token_hex(32), "accept"))
    tried("update-without-an-answer", device.command("update", "--json"))
    if other_digest is not None:
        tried("decision-for-another-offer", device.answer(other_digest, "accept"))
    for language in ("zh", "en"):
        seen.texts[language] = device.command("check", "--lang", language).out
    seen.bytes_before_decision = publisher.pack_bytes - served
    return seen


def _carried_out(stage: Stage, seen: Installation, on_the_way: Any) -> Installation:  # noqa: ANN401  a callable
    device = stage.main_device
    before = device.status()["last_outcome"]
    seen.disk_before_bytes = allocated_bytes(device.place)
    with device.record() as recorder, Sampler(lambda: device.agent_pid, device.place) as sampler:
        taken = device.answer(seen.offer["digest"], "accept")
        if taken.status != 200:
            raise Unreached(f"accept: {taken.status} {taken.body}")
        on_the_way()
        seen.outcome = device.outcome(before)
        device.until(lambda: any(e["kind"] == "outcome" for e in list(recorder.events)), "the outcome's event")
    if seen.outcome["result"] != "done":
        raise Unreached(f"{seen.table['version']} was not installed: {seen.outcome}")
    seen.events, seen.sampler, seen.log = recorder.events, sampler, device.log()
    seen.self_tests = device.socket.get("/v1/self-tests", model=device.model)
    seen.reports = device.socket.get("/v1/reports", model=device.model)["reports"]
    seen.same_files = _same_files(device, seen)
    seen.left_over = device.left_over()
    return seen


def _same_files(device: Device, seen: Installation) -> bool:
    variant = next(v for v in seen.table["variants"] if v["name"] == seen.offer["offer"]["to_variant"])
    files = device.slot(seen.table["version"]) / "files"
    return all(file_hash(files / file["path"]) == file_hash(Path(file["source"])) for file in variant["files"])


def _look_at_engines(device: Device, seen: Installation) -> bool:
    """Note the engines that run now; True once there are two slots' at a time, or the self-test is over."""
    found = []
    for process in descendants(device.agent_pid):
        if process.role != "engine":
            continue
        held = open_names(process.pid)
        slots = {name.partition("/slots/")[2].partition("/")[0] for name in held if "/slots/" in name}
        listens = listening_names(process.pid)
        if slots and listens:
            found.append({"pid": process.pid, "slots": sorted(slots), "sockets": sorted(listens)})
    if len(found) > len(seen.engines):
        seen.engines = found
    return device.status()["phase"] != "testing" or len(seen.engines) >= 2


@dataclass
class BadRelease:
    """What was seen when a release came that passes every digest and does not prove itself.

    Attributes:
        outcome: how it ended.
        status_texts: what `modelota device status` printed afterwards, by language.
        tree_before: hash of the version in use before.
        tree_after: and after.
        current: where `current` points afterwards.
        log: the journal afterwards.
        leftovers: names below the model's directory that belong to the bad release.
        left_over: names that do not belong into the device root.
        offered_again: a later check offered it unasked.
        serves: the answer to a question afterwards.
    """

    outcome: Json
    status_texts: dict[str, str]
    tree_before: str
    tree_after: str
    current: str
    log: list[Json]
    leftovers: list[str]
    left_over: list[str]
    offered_again: bool
    serves: Answer


def bad_release(stage: Stage) -> BadRelease:
    """Publish the bad release, accept it, and see the device come back by itself."""
    stage.chapter(second_update)
    device = stage.main_device
    version = stage.family.bad["version"]
    stage.publisher.publish(stage.family.bad)
    slot = device.slot(stage.family.better["version"]) / "files"
    before = tree_hash(slot)
    outcome = device.update()
    texts = {language: device.command("status", "--lang", language).out for language in ("zh", "en")}
    device.until(lambda: not _of_version(device, version), "leftovers to be removed", timeout_s=10)
    again = device.check()
    return BadRelease(
        outcome=outcome,
        status_texts=texts,
        tree_before=before,
        tree_after=tree_hash(slot),
        current=(device.place / "current").readlink().name,
        log=device.log(),
        leftovers=_of_version(device, version),
        left_over=device.left_over(),
        offered_again=bool(again["offer"] and again["offer"]["offer"]["to_version"] == version),
        serves=device.socket.request("POST", "/v1/chat", {"model": device.model}),
    )


@dataclass
class WayBack:
    """What was seen of a rollback to the kept version.

    Attributes:
        before: version in use before.
        seconds: from the command to its end, the engine running.
        done: the command.
        status: of the model afterwards.
        slots: the two slots' directories while both were installed, before the rollback.
        serves: the answer to a request for the engine afterwards.
        bytes: content served meanwhile.
    """

    before: str
    seconds: float
    done: Done
    status: Json
    slots: tuple[Path, Path]
    serves: Answer
    bytes: int


def rollback(stage: Stage) -> WayBack:
    """Go back to the version before with the command line, timed."""
    stage.chapter(bad_release)
    device, family = stage.main_device, stage.family
    slots = (device.slot(family.first["version"]), device.slot(family.better["version"]))
    before, served = device.status()["active_version"], stage.publisher.pack_bytes
    started = time.monotonic()
    done = device.command("rollback", "--json")
    seconds = time.monotonic() - started
    serves = device.socket.request("POST", "/v1/chat", {"model": device.model})
    return WayBack(before, seconds, done, device.status(), slots, serves, stage.publisher.pack_bytes - served)


@dataclass
class Damage:
    """What was seen after one byte of the version in use was changed at rest.

    Attributes:
        file: that was changed.
        answer: to the request for an engine.
        status: of the model afterwards.
        texts: what `modelota device chat` said, by language.
        found: `modelota device verify`.
        asked: `modelota device verify --repair`, which has to ask first.
        offer: that it made, or None.
        bytes_before_decision: content served until it was answered.
        repair_bytes: content served in all.
        repaired: `modelota device update --accept` of that offer.
        identical: the file has the bytes it had before.
        clean: `modelota device verify` afterwards.
        serves: the answer to a request for the engine afterwards.
    """

    file: str
    answer: Answer
    status: Json
    texts: dict[str, str]
    found: Done
    asked: Done
    offer: Json | None
    bytes_before_decision: int
    repair_bytes: int
    repaired: Done
    identical: bool
    clean: Done
    serves: Answer


def damaged_slot(stage: Stage) -> Damage:
    """Stop the agent, change one byte in the slot in use, start again, ask for the engine, and have it repaired."""
    stage.chapter(rollback)
    device = stage.main_device
    files = device.place / "current" / "files"
    file = max((path for path in files.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    before = file_hash(file)
    device.stop()
    flip_byte(file.resolve(), file.stat().st_size // 2)
    device.start()
    answer = device.socket.request("POST", "/v1/chat", {"model": device.model})
    texts = {}
    for language in ("zh", "en"):
        done = device.command("chat", "Hello", "--lang", language)
        texts[language] = done.out + done.err
    status, served, packs = device.status(), stage.publisher.pack_bytes, stage.publisher
    found = device.command("verify", "--json")
    asked = device.command("verify", "--repair", "--json")
    digest = str((asked.error.get("params") or {}).get("digest"))
    view = device.socket.request("GET", f"/v1/offers/{digest}")
    undecided = packs.pack_bytes - served
    repaired = device.command("update", "--accept", digest, "--json")
    return Damage(
        file=file.name,
        answer=answer,
        status=status,
        texts=texts,
        found=found,
        asked=asked,
        offer=view.body["offer"] if view.status == 200 else None,
        bytes_before_decision=undecided,
        repair_bytes=packs.pack_bytes - served,
        repaired=repaired,
        identical=file_hash(device.place / "current" / "files" / file.name) == before,
        clean=device.command("verify", "--json"),
        serves=device.socket.request("POST", "/v1/chat", {"model": device.model}),
    )


def _of_version(device: Device, version: str) -> list[str]:
    """Names on the device that belong to one version."""
    return [path.name for path in entries_below(device.place) if path.name.startswith(f"{version}+")]
