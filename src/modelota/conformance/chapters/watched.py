"""Versions that do worse once they are in use, each in its own way, and a user who wants the version before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from modelota.conformance.device import Device
from modelota.conformance.releases import Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import AgentSocket
from modelota.conformance.stage import WATCHED, Stage

Json = dict[str, Any]

FIRST: Final = "1.1.1"
_LONG_ANSWER: Final = "word " * 60  # one word is a token; a speed over fewer than 200 says nothing
_REQUESTS: Final = 6
_REQUESTS_MAX: Final = 60
_RESULT_S: Final = 12.0  # the device repeats an inconclusive test meanwhile
_ANSWERS_OF_TESTS: Final = 8  # more than a self-test asks for, so that it passes
_TOKENS: Final = 64
_WATCH: Final[Mapping[str, Mapping[str, object]]] = {"watch": {"sample_s": 1, "min_requests": 5}}


class Trial(NamedTuple):
    """One way to do worse.

    Attributes:
        trigger: its name.
        version: of the release that does.
        code: the error that the user has to be told.
        script: how its engine behaves.
        performance: what it promises, or None.
        before_use: its self-test shows it, so that it never comes into use.
    """

    trigger: str
    version: str
    code: str
    script: Mapping[str, Any]
    performance: Mapping[str, Any] | None = None
    before_use: bool = False


TRIALS: Final = (
    Trial("slower", "1.1.2", "watch-slower", {"token_delay_s": 0.005}),
    Trial("errors", "1.1.3", "watch-errors", {"error_after": _ANSWERS_OF_TESTS}),
    Trial("memory", "1.1.4", "watch-memory", {"ballast_bytes": 128 << 20}),
    Trial("crashes", "1.1.5", "engine-crashed", {"crash_after": _ANSWERS_OF_TESTS}),
    Trial(
        "promise-missed",
        "1.1.6",
        "self-test-failed",
        {"token_delay_s": 0.01},
        {"prompt": "Hello", "tokens": 8, "max_first_token_s": 60.0, "min_tokens_per_s": 1e6},
        before_use=True,
    ),
)
WISHED: Final = "1.1.7"


@dataclass
class Provoked:
    """What followed when one trigger was provoked.

    Attributes:
        trial: which.
        came_into_use: the worse version was in use before.
        outcome: how it ended.
        seconds: from the first request to the worse version, or from the decision, until the outcome.
        texts: what `modelota device status` printed afterwards, by language.
        active: version in use afterwards.
        serves: the version that answers a request for the engine.
        offered: the version that a later check offers, or None.
        inconclusive: the device was too busy to judge a speed, said so and waited; then it was cancelled.
    """

    trial: Trial
    came_into_use: bool
    outcome: Json
    seconds: float
    texts: dict[str, str]
    active: str | None
    serves: str | None
    offered: str | None
    inconclusive: bool = False


@dataclass
class Wish:
    """What followed when the user wanted the version before, though nothing was wrong.

    Attributes:
        status: of the command.
        seconds: it took.
        asked_by: authorities that the journal names for it.
        active: version in use afterwards.
        serves: the version that answers a request for the engine.
        offered: the version that a later check offers, or None.
    """

    status: int
    seconds: float
    asked_by: list[str]
    active: str | None
    serves: str | None
    offered: str | None


@dataclass
class Watched:
    """All triggers.

    Attributes:
        provoked: in order.
        wish: of the user.
    """

    provoked: list[Provoked]
    wish: Wish


def first_watched(stage: Stage) -> str:
    """Publish the version that does well; returns it."""
    stage.workshop.publish(_release(stage, FIRST, {}))
    return FIRST


def watched(stage: Stage) -> Watched:
    """Provoke each trigger on a device that uses the first version; each time it has to come back to it."""
    workshop = stage.workshop
    stage.chapter(first_watched)
    device = stage.device("n", workshop, WATCHED, config=_WATCH)
    device.start()
    if device.update()["result"] != "done":
        raise Unreached(f"{WATCHED} {FIRST} was not installed: {device.status()['last_outcome']}")
    _talk(device)
    provoked = []
    for trial in TRIALS:
        workshop.publish(_release(stage, trial.version, trial.script, trial.performance))
        provoked.append(_provoke(device, trial))
    workshop.publish(_release(stage, WISHED, {}))
    wish = _wish(device)
    device.stop()
    return Watched(provoked, wish)


def _release(
    stage: Stage, version: str, script: Mapping[str, Any], performance: Mapping[str, Any] | None = None
) -> Table:
    answers_at_length = {"default": _LONG_ANSWER, **script}
    return standin(stage.scratch, WATCHED, version, script=answers_at_length, performance=performance)


def _provoke(device: Device, trial: Trial) -> Provoked:
    before, started = device.status()["last_outcome"], time.monotonic()
    device.accept_offer(version=trial.version)
    inconclusive = trial.before_use and _stays_inconclusive(device, before)
    if inconclusive:
        device.control("cancel")
    outcome = device.outcome(before)
    came_into_use = outcome["result"] == "done" and outcome["active_version"] == trial.version
    if came_into_use:
        started = time.monotonic()
        _talk(device, of_version=trial.version)
        outcome = device.outcome(outcome)
    seconds = time.monotonic() - started
    texts = {language: device.command("status", "--lang", language).out for language in ("zh", "en")}
    return Provoked(
        trial=trial,
        came_into_use=came_into_use,
        outcome=outcome,
        seconds=seconds,
        texts=texts,
        active=device.status()["active_version"],
        serves=serving_version(device),
        offered=offered_version(device),
        inconclusive=inconclusive,
    )


def _stays_inconclusive(device: Device, before: Json | None) -> bool:
    """Whether the self-test comes to no result for a while, because the machine is busy with other things."""
    with suppress(Unreached):
        device.until(lambda: device.status()["last_outcome"] != before, "a result", timeout_s=_RESULT_S)
    error = device.status()["error"] or {}
    return error.get("code") == "self-test-inconclusive"


def _wish(device: Device) -> Wish:
    if device.update()["result"] != "done":
        raise Unreached(f"{WATCHED} {WISHED} was not installed: {device.status()['last_outcome']}")
    last, started = device.log()[-1]["seq"], time.monotonic()
    done = device.command("rollback", "--model", device.model, "--json")
    seconds = time.monotonic() - started
    asked = [entry for entry in device.log() if entry["seq"] > last and entry["event"] == "rollback-asked"]
    return Wish(
        status=done.status,
        seconds=seconds,
        asked_by=[str(entry["facts"].get("authority")) for entry in asked],
        active=device.status()["active_version"],
        serves=serving_version(device),
        offered=offered_version(device),
    )


def _talk(device: Device, *, of_version: str | None = None) -> None:
    """Ask as an application would, through the gateway; what fails is the engine's business.

    Args:
        device: whose model is asked.
        of_version: go on asking for a while as long as this one is in use; None: a few requests.
    """
    device.socket.request("POST", "/v1/chat", {"model": device.model})
    gateway = AgentSocket(device.root / "run" / "gateway.sock")
    body = {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": _TOKENS, "model": device.model}
    for number in range(_REQUESTS if of_version is None else _REQUESTS_MAX):
        if number >= _REQUESTS and device.status()["active_version"] != of_version:
            return
        with suppress(Unreached):  # an engine that dies while it answers
            gateway.request("POST", "/v1/chat/completions", body)


def serving_version(device: Device) -> str | None:
    """The version that answers a request for the engine, or None."""
    answer = device.socket.request("POST", "/v1/chat", {"model": device.model})
    return str(answer.body["version"]) if answer.status == 200 else None


def offered_version(device: Device) -> str | None:
    """The version that a check offers unasked, or None."""
    offer = device.check()["offer"]
    return str(offer["offer"]["to_version"]) if offer else None
