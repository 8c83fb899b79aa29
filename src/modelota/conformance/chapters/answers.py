"""Every answer to an offer, and what a device that is left alone does; on a second device that installs nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from modelota.conformance.chapters.attempts import Attempt, of_answer, of_command
from modelota.conformance.chapters.main_story import second_update
from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS, Publisher
from modelota.conformance.readings import entries_below
from modelota.conformance.row import Unreached
from modelota.conformance.stage import Stage
from modelota.repository import toml
from modelota.testing.network import Slow

Json = dict[str, Any]

_UNATTENDED_CHECKS = 3
_NOTICE_S = 0.5  # longer than the slow server takes between two blocks
# Ways in which somebody might hope to update a device unasked.
_OPTIONS = ("--yes", "-y", "--force", "--auto", "--silent", "--no-confirm", "--unattended", "--security")
_ROUTES = ("/v1/update", "/v1/install", "/v1/apply", "/v1/activate", "/v1/force", "/v1/auto-update", "/v2/decisions")
_SETTINGS: tuple[dict[str, Any], ...] = (
    {"update": {"automatic": True}},
    {"checks": {"every_s": 1, "install": True}},
    {"consent": {"required": False}},
    {"access": {"auto_accept": "security"}},
)
_VARIABLES = {f"MODELOTA_{name}": "1" for name in ("AUTO", "ACCEPT", "ASSUME_YES", "UNATTENDED")}


@dataclass
class Answers:
    """What followed from each answer.

    Attributes:
        offered: the offer that was answered.
        seen: what followed, by answer or control: words that a check judges.
        log: the journal afterwards.
    """

    offered: Json
    seen: dict[str, Json] = field(default_factory=dict)
    log: list[Json] = field(default_factory=list)


def answers(stage: Stage) -> Answers:
    """Decline, later, accept, pause, resume, cancel, skip: each once, nothing installed at the end."""
    stage.chapter(second_update)
    publisher = stage.publisher
    device = stage.device("b", publisher, stage.family.model)
    device.start()
    view = device.offer()
    told = Answers(view)
    digest, size_bytes = view["digest"], view["offer"]["planned_bytes"]
    device.show(digest)
    for answer in ("decline", "later"):
        told.seen[answer] = _follow(device, publisher, digest, answer)
        # declined: it is offered to who asks for that version; later: it never went away
        digest = device.offer(version=view["offer"]["to_version"])["digest"]
        device.show(digest)
    publisher.server.script(PACKS, Slow(max(size_bytes // 8, 40_000)))
    served, before = publisher.pack_bytes, device.status()["last_outcome"]
    told.seen["accept"] = _follow(device, publisher, digest, "accept")
    device.until(lambda: publisher.pack_bytes > served, "content after the decision")
    told.seen["accept"]["fetches"] = publisher.pack_bytes > served
    told.seen["pause"] = _pause(device, publisher)
    at_pause = publisher.pack_bytes
    resumed = device.control("resume")
    device.until(lambda: publisher.pack_bytes > at_pause, "content after resuming")
    told.seen["resume"] = {"status": resumed.status, "goes_on": publisher.pack_bytes > at_pause}
    told.seen["cancel"] = _cancel(device, publisher, before)
    publisher.server.behave()
    view = device.offer()
    device.show(view["digest"])
    told.seen["skip"] = _follow(device, publisher, view["digest"], "skip")
    again = device.check()["offer"]
    skipped = view["offer"]["to_version"]
    told.seen["skip"] |= {"version": skipped, "offered": again and again["offer"]["to_version"]}
    told.log = device.log()
    device.stop()
    return told


def _follow(device: Device, publisher: Publisher, digest: str, answer: str) -> Json:
    served = publisher.pack_bytes
    given = device.answer(digest, answer)
    now = device.status()
    offer = now["offer"] and now["offer"]["digest"]
    return {
        "status": given.status,
        "code": given.code,
        "phase": now["phase"],
        "offer_stands": offer == digest,
        "content_bytes": publisher.pack_bytes - served,
    }


def _pause(device: Device, publisher: Publisher) -> Json:
    paused = device.control("pause")
    now = device.status()
    return {
        "status": paused.status,
        "paused": now["paused"],
        "waits_for": now["waits_for"],
        "content_bytes": _still_served(publisher),
    }


def _still_served(publisher: Publisher) -> int:
    """Content bytes that are served although the device has hung up.

    What the kernel takes into its buffers before the server notices counts as served; after that nothing may come.
    """
    served = -1
    while publisher.pack_bytes != served:
        served = publisher.pack_bytes
        time.sleep(_NOTICE_S)
    time.sleep(_NOTICE_S)
    return publisher.pack_bytes - served


def _cancel(device: Device, publisher: Publisher, before: Json | None) -> Json:
    cancelled = device.control("cancel")
    outcome = device.outcome(before)
    staging = device.place / "staging"
    device.until(lambda: not entries_below(staging), "staging to be emptied", timeout_s=10)
    return {
        "status": cancelled.status,
        "result": outcome["result"],
        "active_version": outcome["active_version"],
        "left_in_staging": len(entries_below(staging)),
        "content_bytes": _still_served(publisher),
    }


@dataclass
class Unasked:
    """Attempts to update a device unasked, and what a device with periodic checks did by itself.

    Attributes:
        attempts: each of which has to be refused.
        checks: how often it looked by itself while an offer stood.
        offers_told: events that told of the offer.
        content_bytes: served to it meanwhile.
        phase: of the model afterwards.
    """

    attempts: list[Attempt]
    checks: int
    offers_told: int
    content_bytes: int
    phase: str


def unasked(stage: Stage) -> Unasked:
    """A device that checks every second and is offered an urgent security release; nobody answers."""
    stage.chapter(second_update)
    publisher = stage.publisher
    device = stage.device("u", publisher, stage.family.model, checks_every_s=1)
    device.start(_VARIABLES)
    served = publisher.pack_bytes
    with device.record() as recorder:
        device.until(
            lambda: sum(entry["event"] == "checked" for entry in device.log()) >= _UNATTENDED_CHECKS, "periodic checks"
        )
        offers = [event for event in list(recorder.events) if event["kind"] == "offer"]
    attempts = [*_by_option(device, publisher), *_by_route(device, publisher)]
    checks = sum(entry["event"] == "checked" for entry in device.log())
    phase = device.status()["phase"]
    device.stop()
    attempts += _by_setting(stage)
    return Unasked(attempts, checks, len(offers), publisher.pack_bytes - served, phase)


def _by_option(device: Device, publisher: Publisher) -> list[Attempt]:
    found = []
    for option in _OPTIONS:
        served = publisher.pack_bytes
        done = device.command("update", option, "--json")
        found.append(of_command(f"option{option}", done, publisher.pack_bytes - served, device.status()["phase"]))
    return found


def _by_route(device: Device, publisher: Publisher) -> list[Attempt]:
    digest = device.status()["offer"]["digest"]
    bodies: list[tuple[str, str, Json]] = [(route, route, {"offer_digest": digest}) for route in _ROUTES]
    bodies += [
        ("decision-with-a-force-field", "/v1/decisions", {"offer_digest": digest, "answer": "accept", "force": True}),
        ("decision-with-an-unknown-answer", "/v1/decisions", {"offer_digest": digest, "answer": "auto"}),
        ("decision-on-the-start-of-a-digest", "/v1/decisions", {"offer_digest": digest[:16], "answer": "accept"}),
        ("check-that-installs", "/v1/check", {"install": True}),
        ("resume-of-nothing", "/v1/resume", {}),
        ("rollback-to-what-was-never-here", "/v1/rollback", {"version": "1.1.1"}),
    ]
    found = []
    for name, route, body in bodies:
        served = publisher.pack_bytes
        answer = device.socket.request("POST", route, body)
        found.append(of_answer(name, answer, publisher.pack_bytes - served, device.status()["phase"]))
    return found


def _by_setting(stage: Stage) -> list[Attempt]:
    """Settings that would update by themselves do not exist: a device that has one does not start."""
    device = stage.device("s", stage.publisher, stage.family.model)
    config = device.root / "config.toml"
    plain = config.read_text(encoding="utf-8")
    found = []
    for setting in _SETTINGS:
        ((table, inner),) = setting.items()
        config.write_text(toml.render({table: inner}), encoding="utf-8")
        served = stage.publisher.pack_bytes
        done = device.command("status", "--json")
        key = next(iter(key for key in inner if key != "every_s"))
        found.append(of_command(f"setting-{table}.{key}", done, stage.publisher.pack_bytes - served))
    config.write_text(plain, encoding="utf-8")
    if not found:
        raise Unreached("no setting was tried")
    return found
