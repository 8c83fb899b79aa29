"""What happens while an update runs, and how it ended, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from modelota.i18n import Language, units
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.phases import phase_name
from modelota.i18n.shapes import OutcomeLike, ProgressLike, SelfTestLike, VersionLike
from modelota.i18n.texts import clean, mark, texts_for


class RenderedOutcome(NamedTuple):
    """How an operation ended: one sentence, and the error behind it if there is one."""

    sentence: str
    error: RenderedError | None


_DONE: Final[Mapping[str, str]] = {
    "install": mark("{to} is installed and in use."),
    "update": mark("Updated: {to} is in use."),
    "rollback": mark("Went back: {to} is in use."),
    "repair": mark("{to} is repaired."),
    "uninstall": mark("{to} was uninstalled."),
}
_FAILED: Final[Mapping[str, str]] = {
    "install": mark("The installation of {to} did not succeed."),
    "update": mark("The update to {to} did not succeed."),
    "rollback": mark("Going back to {to} did not succeed."),
    "repair": mark("The repair of {to} did not succeed."),
    "uninstall": mark("Uninstalling {to} did not succeed."),
}
_CANCELLED: Final[Mapping[str, str]] = {
    "install": mark("The installation of {to} was cancelled."),
    "update": mark("The update to {to} was cancelled."),
    "rollback": mark("Going back to {to} was cancelled."),
    "repair": mark("The repair of {to} was cancelled."),
    "uninstall": mark("Uninstalling {to} was cancelled."),
}
_STATES: Final[Mapping[str, str]] = {
    "active": mark("in use"),
    "previous": mark("previous"),
    "kept": mark("kept"),
    "sealed": mark("kept, sealed"),
    "available": mark("available"),
    "withdrawn": mark("withdrawn"),
}
_TESTS: Final[Mapping[str, str]] = {
    "passed": mark("passed"),
    "failed": mark("failed"),
    "not-run": mark("could not be run"),
    "inconclusive": mark("no clear result"),
}


class ProgressParts(NamedTuple):
    """How far a step is, in words; what is not known is an empty text."""

    amount: str
    rate: str
    left: str


def progress_line(progress: ProgressLike, language: Language) -> str:
    """One line: step, how much, rate, time left."""
    parts = (phase_name(progress.step, language), *progress_parts(progress, language))
    return " · ".join(part for part in parts if part)


def progress_parts(progress: ProgressLike, language: Language) -> ProgressParts:
    """How much, how fast, how long yet."""
    texts = texts_for(language)
    amount = rate = ""
    if progress.step == "testing":
        if progress.total is not None:
            amount = texts.say("test {done} of {total}", done=progress.done, total=progress.total)
    elif progress.step == "removing":  # counts things of very different sizes
        if progress.total:
            amount = f"{min(100, progress.done * 100 // progress.total)} %"
    else:
        done = units.size(progress.done, language)
        if progress.total:
            percent = min(100, progress.done * 100 // progress.total)
            total = units.size(progress.total, language)
            amount = texts.say("{done} of {total} ({percent} %)", done=done, total=total, percent=percent)
        elif progress.done:
            amount = done
        if progress.rate_per_s is not None:
            rate = units.rate(progress.rate_per_s, language)
    left = "" if progress.left_s is None else texts.say("{time} left", time=units.about(progress.left_s, language))
    return ProgressParts(amount, rate, left)


def render_outcome(outcome: OutcomeLike, language: Language) -> RenderedOutcome:
    """How the operation ended; for a failure also what happened, how the device is now, and what to do."""
    texts = texts_for(language)
    table = {"done": _DONE, "failed": _FAILED, "cancelled": _CANCELLED}.get(outcome.result, _FAILED)
    sentence = texts.say(table.get(outcome.operation, table["update"]), to=outcome.to_version)
    error = outcome.error
    if error is None:
        return RenderedOutcome(sentence, None)
    now, now_params = error.now, error.now_params
    if not now:
        now, now_params = state_after(outcome)
    return RenderedOutcome(sentence, render_error(error.code, error.params, language, now, now_params))


def state_after(outcome: OutcomeLike) -> tuple[str, dict[str, object]]:
    """Which state sentence describes the device after `outcome`: a key of `NOW` and its parameters."""
    if outcome.active_version is None:
        return "not-installed", {}
    if outcome.active_version == outcome.to_version:
        return "updated", {"version": outcome.active_version}
    return "serving", {"version": outcome.active_version}


def version_state(state: str, language: Language, *, failed: bool = False) -> str:
    """Name how a version lies on the device; an unknown state is given as it is. `failed`: it was tried, and failed."""
    texts = texts_for(language)
    name = texts.say(_STATES[state]) if state in _STATES else clean(state)
    return texts.say("{state}, failed here", state=name) if failed else name


def verdict_name(verdict: str, language: Language) -> str:
    """Name how a self-test went; an unknown verdict is given as it is."""
    return texts_for(language).say(_TESTS[verdict]) if verdict in _TESTS else clean(verdict)


def version_headings(language: Language) -> tuple[str, ...]:
    """Headings of the table of versions."""
    texts = texts_for(language)
    return (
        texts.say("Version"),
        texts.say("Variant"),
        texts.say("State"),
        texts.say("Size"),
        texts.say("Installed"),
        texts.say("Released"),
        texts.say("What changed"),
    )


def version_cells(view: VersionLike, language: Language) -> tuple[str, ...]:
    """One row of the table of versions, in the order of `version_headings`."""
    state = version_state(view.state, language, failed=view.failed)
    notes = (view.notes.get(language) or view.notes.get("en") or "").strip()
    return (
        clean(view.version),
        clean(view.variant or "–"),
        state,
        "–" if view.size_bytes is None else units.size(view.size_bytes, language),
        units.stamp(view.installed_at),
        units.stamp(view.released_at),
        clean(notes.splitlines()[0]) if notes else "–",
    )


def self_test_lines(results: Sequence[SelfTestLike], language: Language) -> list[str]:
    """One line per self-test: its id, how it went, the figure and its limit."""
    texts = texts_for(language)
    lines = []
    for result in results:
        state = verdict_name(result.result, language)
        line = texts.say("{test}: {state}", test=result.test, state=state)
        if result.figure is not None:
            unit = f" {clean(result.unit)}" if result.unit else ""
            figure = f"{result.figure:g}{unit}"
            line += texts.stop + (
                texts.say("({figure})", figure=figure)
                if result.limit is None
                else texts.say("({figure}, limit {limit})", figure=figure, limit=f"{result.limit:g}{unit}")
            )
        lines.append(line)
    return lines
