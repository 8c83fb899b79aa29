"""A failure at each step of an update, and damage in each of the three places where content could be damaged."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS
from modelota.conformance.readings import descendants, file_hash, flip_byte
from modelota.conformance.releases import standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import CANNOT_RUN, STEPS, Stage
from modelota.testing.network import Garble

Json = dict[str, Any]

_CRASHES = 3
_GARBLED_OFFSET = 20_000  # within a difference between two steps
_TRIES_WITHOUT_SPACE: Final = 200


@dataclass
class Failure:
    """What was seen of one provoked failure.

    Attributes:
        step: where it was provoked.
        before: version in use before.
        outcome: how the update ended, or None when it waits for a person.
        status: of the model afterwards.
        texts: what `modelota device status` printed, by language.
        intact: files of the version in use have the bytes they had.
        serves: the version in use answers a request for its engine.
    """

    step: str
    before: str | None
    outcome: Json | None
    status: Json
    texts: dict[str, str]
    intact: bool
    serves: bool


@dataclass
class Damaged:
    """What was seen of one injected damage.

    Attributes:
        place: where a byte was changed.
        mode: of the package that it was a byte of.
        outcome: how the update ended.
        identical: every file installed afterwards has the bytes of its source.
        active: version in use afterwards.
    """

    place: str
    mode: str
    outcome: Json
    identical: bool
    active: str | None


@dataclass
class Failures:
    """All of them.

    Attributes:
        steps: failures by step.
        damage: damage by place.
        not_run: outcome of a release whose test can't run on this device, and the record of the test.
        not_run_record: that record.
    """

    steps: list[Failure] = field(default_factory=list)
    damage: list[Damaged] = field(default_factory=list)
    not_run: Json = field(default_factory=dict)
    not_run_record: list[Json] = field(default_factory=list)


def failures(stage: Stage) -> Failures:
    """Walk through the steps with small releases on the stand-in engine."""
    workshop = stage.workshop
    device = stage.device("f", workshop, STEPS)
    device.start()
    told = Failures()
    workshop.publish(stage.step("1.1.1"))
    if device.update()["result"] != "done":
        raise Unreached(f"the stand-in release was not installed: {device.status()['last_outcome']}")
    _in_fetched(stage, device, told)
    _in_finished(stage, device, told)
    _in_staged(stage, device, told)
    _while_deploying(stage, device, told)
    _while_activating(stage, device, told)
    _while_watching(stage, device, told)
    _while_rechecking(stage, device, told)
    workshop.publish(standin(stage.scratch, CANNOT_RUN, perplexity=True))
    told.not_run = device.update(CANNOT_RUN)
    told.not_run_record = device.socket.get("/v1/self-tests", model=CANNOT_RUN)
    device.stop()
    return told


def _in_fetched(stage: Stage, device: Device, told: Failures) -> None:
    """A byte flipped on the way, always at the same place; then once only."""
    stage.workshop.publish(stage.step("1.1.2"))
    before = device.status()
    stage.workshop.server.script(PACKS, Garble(_GARBLED_OFFSET))
    mode = device.accept_offer()["offer"]["mode"]
    outcome = device.outcome(before["last_outcome"])
    told.steps.append(_failure("fetching", device, before, outcome, stage.step("1.1.1")))
    told.damage.append(Damaged("fetched", mode, outcome, _identical(stage, device), device.status()["active_version"]))
    stage.workshop.server.behave()


def _in_finished(stage: Stage, device: Device, told: Failures) -> None:
    """A byte flipped in the finished file, just before it is checked as a whole."""
    _restart(device, "deploy.file@1=kill")
    before = device.status()["last_outcome"]
    mode = device.accept_offer()["offer"]["mode"]
    device.until(lambda: bool(device.status()["paused"]), "the worker to be killed at the finished file")
    partial = _largest(device.place / "staging", "ballast.bin")
    device.stop()
    flip_byte(partial, partial.stat().st_size // 2)
    device.start()
    device.control("resume")
    _damaged(stage, device, told, ("finished", mode), before)


def _in_staged(stage: Stage, device: Device, told: Failures) -> None:
    """A byte flipped in what was staged, during a pause."""
    stage.workshop.publish(stage.step("1.1.3"))
    _restart(device, "deploy.chunk@1=kill")
    before = device.status()["last_outcome"]
    mode = device.accept_offer()["offer"]["mode"]
    device.until(lambda: bool(device.status()["paused"]), "the worker to be killed at the first chunk")
    staged = _largest(device.place / "staging", "*.pack")
    device.stop()
    flip_byte(staged, staged.stat().st_size // 2)
    device.start()
    device.control("resume")
    _damaged(stage, device, told, ("written", mode), before)


def _damaged(stage: Stage, device: Device, told: Failures, where: tuple[str, str], before: Json | None) -> None:
    outcome = device.outcome(before)
    told.damage.append(Damaged(*where, outcome, _identical(stage, device), device.status()["active_version"]))


def _while_deploying(stage: Stage, device: Device, told: Failures) -> None:
    """No space while writing: it waits and says so, and can be cancelled."""
    stage.workshop.publish(stage.step("1.1.4"))
    # also when it tries again by itself, so that it waits as long as it is looked at
    _restart(device, ";".join(f"deploy.chunk@{nth}=ENOSPC" for nth in range(1, _TRIES_WITHOUT_SPACE)))
    before = device.status()
    device.accept_offer()
    device.until(lambda: bool(device.status()["paused"]), "the update to wait for space")
    told.steps.append(_failure("deploying", device, before, None, _source(stage, before)))
    device.control("cancel")
    device.outcome(before["last_outcome"])


def _while_activating(stage: Stage, device: Device, told: Failures) -> None:
    """The disk fails at the commit point."""
    _restart(device, "durable.switch@1=EIO")
    before = device.status()
    device.accept_offer()
    outcome = device.outcome(before["last_outcome"])
    told.steps.append(_failure("activating", device, before, outcome, _source(stage, before)))


def _while_watching(stage: Stage, device: Device, told: Failures) -> None:
    """The engine of the new version is killed until the device goes back by itself."""
    stage.workshop.publish(stage.step("1.1.5"))
    _restart(device, "")
    before = device.status()
    done = device.update()
    if done["result"] != "done":
        raise Unreached(f"1.1.5 was not installed: {done}")
    dead: set[int] = set()
    for _ in range(_CRASHES):
        device.socket.request("POST", "/v1/chat", {"model": device.model})
        _until_serving(device, frozenset(dead))
        dead |= _kill_engines(device)
    outcome = device.outcome(done)
    told.steps.append(_failure("watching", device, before, outcome, _source(stage, before)))


def _until_serving(device: Device, dead: frozenset[int]) -> None:
    """Wait for an engine that is not among the dead and serves: one that is killed while it starts has not run."""

    def serving() -> bool:
        return bool(_engines(device) - dead) and device.status()["engine"] == "running"

    device.until(serving, "the engine to serve again")


def _engines(device: Device) -> set[int]:
    """Processes that serve; the new version's alone, once the old one's has been retired."""
    return {process.pid for process in descendants(device.agent_pid) if process.role == "engine"}


def _kill_engines(device: Device) -> set[int]:
    found = _engines(device)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    device.until(lambda: not (found & _engines(device)), "killed engines to be gone", timeout_s=20)
    return found


def _while_rechecking(stage: Stage, device: Device, told: Failures) -> None:
    """The release is withdrawn between the offer and the decision."""
    stage.workshop.publish(stage.step("1.1.6"))
    before = device.status()
    view = device.offer()
    device.show(view["digest"])
    stage.workshop.withdraw(STEPS, "1.1.6")
    taken = device.answer(view["digest"], "accept")
    if taken.status != 200:
        raise Unreached(f"accept: {taken.status} {taken.body}")
    outcome = device.outcome(before["last_outcome"])
    told.steps.append(_failure("rechecking", device, before, outcome, _source(stage, before)))


def _restart(device: Device, faults: str) -> None:
    device.stop()
    device.start({"MODELOTA_FAULTS": faults} if faults else None)


def _source(stage: Stage, status: Json) -> Json:
    return stage.step(status["active_version"])


def _failure(step: str, device: Device, before: Json, outcome: Json | None, source: Json) -> Failure:
    texts = {language: device.command("status", "--lang", language).out for language in ("zh", "en")}
    serves = device.socket.request("POST", "/v1/chat", {"model": device.model})
    version = before["active_version"]
    return Failure(
        step=step,
        before=version,
        outcome=outcome,
        status=device.status(),
        texts=texts,
        intact=_same(device, version, source),
        serves=serves.status == 200 and serves.body["version"] == version,
    )


def _identical(stage: Stage, device: Device) -> bool:
    version = device.status()["active_version"]
    return _same(device, version, stage.step(version))


def _same(device: Device, version: str, source: Json) -> bool:
    files = device.slot(version) / "files"
    wanted = source["variants"][0]["files"]
    return all(file_hash(files / file["path"]) == file_hash(Path(file["source"])) for file in wanted)


def _largest(directory: Path, pattern: str) -> Path:
    found = sorted((path for path in directory.rglob(pattern) if path.is_file()), key=lambda path: path.stat().st_size)
    if not found:
        raise Unreached(f"nothing like {pattern} in {directory.name}")
    return found[-1]
