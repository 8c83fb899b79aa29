"""Errors as people read them: what happened, how the device is now, what to do, and the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from modelota.i18n import Language, units
from modelota.i18n.phases import gate_name, phase_name
from modelota.i18n.sentences import SENTENCES
from modelota.i18n.sentences.now import NOW
from modelota.i18n.steps import change_sentence
from modelota.i18n.texts import Texts, clean, mark, pad, texts_for, width

_TIMES: Final = frozenset({"expired_at", "expires_at", "device_time", "floor", "watch_until", "until"})
REQUIREMENTS: Final[Mapping[str, str]] = {
    "cores": mark("processor cores"),
    "architecture": mark("processor architecture"),
    "cpu-features": mark("processor features"),
    "compute-gops": mark("computing speed, in giga-operations a second"),
    "compute-memory-gb-s": mark("memory speed, in GB a second"),
    "accelerator": mark("graphics or neural processor"),
    "memory": mark("memory"),
    "storage": mark("free storage"),
    "os": mark("operating system and its version"),
    "agent": mark("version of this agent"),
    "runtime": mark("version of the program that runs the model"),
    "device-model": mark("kind of device"),
}
# What to do where it is not the same as for the others (requirement 7.1.1-b for the operating system).
_REMEDIES: Final[Mapping[str, str]] = {
    "os": mark("Upgrade the operating system, or give up this version and keep the one you have."),
    "agent": mark("Upgrade this agent (modelota), or give up this version and keep the one you have."),
    "runtime": mark("Upgrade the program that runs the model, or give up this version and keep the one you have."),
    "storage": mark("Free some storage, or give up this version and keep the one you have."),
}
_NO_PARAMS: Final[Mapping[str, object]] = {}


class RenderedError(NamedTuple):
    """An error in a person's language.

    Attributes:
        code: stable code; the same in every language.
        what: what happened.
        now: how the device (or the repository) is now.
        remedy: what to do; “Nothing to do.” where that is true.
    """

    code: str
    what: str
    now: str
    remedy: str


def render_error(
    code: str,
    params: Mapping[str, object],
    language: Language,
    now: str = "unchanged",
    now_params: Mapping[str, object] = _NO_PARAMS,
) -> RenderedError:
    """Render an error.

    Never fails: an unknown code is rendered as such, a missing parameter reads “unknown”.

    Args:
        code: key of `modelota.errors.CODES`.
        params: the error's parameters.
        language: of the reader.
        now: key of `NOW`; an empty or unknown one says that the state could not be told.
        now_params: parameters of that sentence.
    """
    texts = texts_for(language)
    if code not in SENTENCES:
        code, params = "unknown-code", {"found": code}
    sentence = SENTENCES[code]
    what = _begun(texts.say(sentence.what, **present(params, language)), texts)
    detail = params.get("detail")
    if detail is not None and detail != "":
        known = sentence.details.get(str(detail))
        extra = texts.say(known) if known else texts.say("(Detail: {detail})", detail=detail)
        what = f"{what}{texts.stop}{extra}"
    state = texts.say(NOW.get(now, NOW["unknown"]), **present(now_params, language))
    remedy = sentence.remedy
    if code == "requirement-not-met":
        remedy = _REMEDIES.get(str(params.get("requirement")), remedy)
    return RenderedError(code, what, state, texts.say(remedy, **present(params, language)))


def _begun(sentence: str, texts: Texts) -> str:
    """A sentence that begins with a value which nobody knows begins as others do."""
    if not sentence.startswith(texts.unknown):
        return sentence
    return sentence[:1].upper() + sentence[1:]


def error_lines(error: RenderedError, language: Language) -> list[str]:
    """The lines a terminal shows for an error: what happened, how it is now, what to do, code."""
    texts = texts_for(language)
    rows = [
        (texts.say("What happened"), error.what),
        (texts.say("State now"), error.now),
        (texts.say("What to do"), error.remedy),
        (texts.say("Code"), error.code),
    ]
    columns = max(width(label) for label, _ in rows) + 2
    return [f"{pad(label, columns)}{text}" for label, text in rows]


def present(params: Mapping[str, object], language: Language) -> dict[str, object]:
    """Turn parameters into what a person reads: sizes, times, spans and phases by the name of the parameter."""
    texts = texts_for(language)
    return {key: _present(key, value, texts) for key, value in params.items() if key.isidentifier()}


def _present(key: str, value: object, texts: Texts) -> object:
    language = texts.language
    shown: object = value
    if isinstance(value, bool):
        shown = texts.say("yes") if value else texts.say("no")
    elif isinstance(value, str):
        if key in _TIMES:
            shown = units.moment(value, language)
        elif key == "phase":
            shown = phase_name(value, language)
        elif key == "requirement" and value in REQUIREMENTS:
            shown = texts.say(REQUIREMENTS[value])
    elif isinstance(value, (int, float)):
        shown = _present_number(key, value, texts)
    elif isinstance(value, (list, tuple)) and key == "changes":
        shown = "; ".join(change_sentence(change, language) for change in value[:10] if isinstance(change, Mapping))
    elif isinstance(value, (list, tuple)):
        items = [gate_name(str(item), language) if key == "waits_for" else clean(item) for item in value[:10]]
        shown = texts.listing(items)
    return shown


def _present_number(key: str, value: float, texts: Texts) -> str:
    if key.endswith("_bytes"):
        return units.size(value, texts.language)
    if key == "seconds":
        return units.duration(value, texts.language)
    if key == "mode":
        return f"{int(value):04o}"
    if key == "findings":
        return texts.count("{n} file", "{n} files", int(value))
    return str(value)
