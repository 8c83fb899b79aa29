"""How far an operation is, as the page shows it: its steps, figures, what it waits for, what can be done."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from modelota.agent.page.page import Page
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.flow import ProgressParts, progress_parts
from modelota.i18n.phases import gate_name, phase_name
from modelota.i18n.texts import Texts, mark
from modelota.spec import api

_FULL: Final = ("rechecking", "fetching", "verifying", "deploying", "testing", "activating")
_SWITCH_ONLY: Final = ("activating",)
_BEFORE_ACTIVATION: Final = frozenset({"rechecking", "fetching", "verifying", "deploying", "testing", "waiting"})
_PERSON: Final = ("person",)
_HEADINGS: Final = {
    "install": mark("Installing version {version}"),
    "update": mark("Updating to version {version}"),
    "rollback": mark("Going back to version {version}"),
    "repair": mark("Repairing version {version}"),
    "uninstall": mark("Uninstalling"),
}
_STEPS: Final = {
    "rechecking": mark("Check once more"),
    "fetching": mark("Download"),
    "verifying": mark("Verify"),
    "deploying": mark("Put in place"),
    "testing": mark("Test the new version"),
    "activating": mark("Switch over"),
    "watching": mark("Watch the new version"),
}
_RETURNING: Final = mark("Going back to the version before")


class Step(NamedTuple):
    """One step: its name, whether it is behind us, under way or to come, and whether it waits for something."""

    name: str
    state: Literal["done", "now", "todo"]
    held: bool = False


class Running(NamedTuple):
    """An operation under way.

    Attributes:
        model: its status.
        heading: what is being done.
        phase: what goes on now.
        steps: all steps, in order; empty of an operation with a single one.
        value: percent of the step, or None.
        parts: amount, rate and time left in words.
        waits: what it waits for, in words; empty when it works.
        held: it waits for something or somebody.
        by_person: a person paused it.
        error: why it waits, or why the device is going back.
        can_pause: a pause is possible now.
        can_resume: it can be told to go on.
        can_cancel: it can be stopped.
    """

    model: api.ModelStatus
    heading: str
    phase: str
    steps: list[Step]
    value: int | None
    parts: ProgressParts
    waits: str
    held: bool
    by_person: bool
    error: RenderedError | None
    can_pause: bool
    can_resume: bool
    can_cancel: bool


def running(page: Page, model: api.ModelStatus) -> Running | None:
    """Describe what is under way; None when nothing is."""
    if model.operation is None:
        return None
    texts, language = page.texts, page.language
    current = _current_step(model)
    by_person = model.paused and model.waits_for == _PERSON
    held = model.paused or bool(model.waits_for)
    waits = "" if by_person else texts.listing([gate_name(gate, language) for gate in model.waits_for])
    progress = model.progress if model.progress is not None and model.progress.step == model.phase else None
    heading = _RETURNING if model.phase == "rolling-back" else _HEADINGS.get(model.operation, _HEADINGS["update"])
    error = model.error
    early = model.phase in _BEFORE_ACTIVATION
    return Running(
        model=model,
        heading=texts.say(heading, version=model.target_version),
        phase=phase_name(model.phase, language),
        steps=_steps(page, model, current, held=held),
        value=None
        if progress is None or not progress.total
        else min(100, max(0, progress.done * 100 // progress.total)),
        parts=ProgressParts("", "", "") if progress is None else progress_parts(progress, language),
        waits=waits,
        held=held,
        by_person=by_person,
        error=None
        if error is None
        else render_error(error.code, error.params, language, error.now or "waiting", error.now_params),
        can_pause=early and not by_person,
        can_resume=early and model.paused,
        can_cancel=early,
    )


def _current_step(model: api.ModelStatus) -> str:
    """The step that counts as current: one that waits at a gate is about to begin."""
    if model.phase != "waiting":
        return model.phase
    return "fetching" if model.waits_before == "fetch" else "activating"


def _steps(page: Page, model: api.ModelStatus, current: str, *, held: bool) -> list[Step]:
    keys = _step_keys(model, current)
    if current not in keys:
        return []
    at = keys.index(current)
    names = [page.texts.say(_STEPS[key]) for key in keys]
    return [
        *(Step(name, "done") for name in names[:at]),
        Step(names[at], "now", held),
        *(Step(name, "todo") for name in names[at + 1 :]),
    ]


def _step_keys(model: api.ModelStatus, current: str) -> tuple[str, ...]:
    if model.operation == "uninstall" or model.phase == "rolling-back":
        return ()
    if model.operation == "rollback" and current == "activating":
        return _SWITCH_ONLY  # to a version that is kept there is nothing to fetch, and often nothing to test
    return (*_FULL, "watching") if model.operation == "update" else _FULL


def live_words(texts: Texts) -> str:
    """The sentences with which the script says figures, as JSON; `{…}` are its places to fill."""
    places = {name: f"{{{name}}}" for name in ("done", "total", "percent", "time", "duration")}

    def both(one: str, many: str) -> list[str]:
        return [texts.count(one, many, number, n="{n}") for number in (1, 2)]

    words = {
        "amount": texts.say("{done} of {total} ({percent} %)", **places),
        "tests": texts.say("test {done} of {total}", **places),
        "left": texts.say("{time} left", **places),
        "about": texts.say("about {duration}", **places),
        "few": texts.say("a few seconds"),
        "second": both("{n} second", "{n} seconds"),
        "minute": both("{n} minute", "{n} minutes"),
        "hour": both("{n} hour", "{n} hours"),
        "day": both("{n} day", "{n} days"),
    }
    return msgspec.json.encode(words).decode()
