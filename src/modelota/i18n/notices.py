"""Notices as people read them: a title, a few lines, and what the button says that leads to the owner's page."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from modelota.i18n import Language
from modelota.i18n.errors import render_error
from modelota.i18n.flow import render_outcome
from modelota.i18n.offer import KINDS, MODES, costs, first_note, title_line
from modelota.i18n.shapes import ErrorLike, NoticeLike, OfferViewLike, OutcomeLike
from modelota.i18n.texts import Texts, clean, localised, mark, texts_for

_BODY_MAX_CHARS: Final = 600  # what a notification can show; the page has all of it
_NUMBER_MAX: Final = 1e18  # bytes or seconds; anything above is no figure of ours

_ATTENTION: Final[Mapping[str, str]] = {
    "degraded": mark("{model} does not work properly"),
    "suspect": mark("{model} {version} no longer passes its tests"),
    "withdrawn": mark("{model} {version} was withdrawn by its publisher"),
    "damaged": mark("Some files of {model} are damaged"),
    "paused": mark("{model} needs you"),
}
_ACTIONS: Final[Mapping[str, str]] = {
    "offer": mark("See the update"),
    "reminder": mark("See the update"),
    "outcome": mark("See the result"),
    "attention": mark("See details"),
}


class RenderedNotice(NamedTuple):
    """A notice in its reader's language.

    Attributes:
        title: one line.
        body: one line or none: plain text, no markup.
        action: what the button says.
    """

    title: str
    body: str
    action: str

    @property
    def line(self) -> str:
        """Everything on one line."""
        return f"{self.title} · {self.body}" if self.body else self.title


def render_notice(notice: NoticeLike, language: Language) -> RenderedNotice:
    """Render a notice. Never fails: what is missing reads “unknown”, an unknown kind is given by name."""
    texts = texts_for(language)
    action = texts.say(_ACTIONS.get(notice.kind, _ACTIONS["attention"]))
    if notice.kind in {"offer", "reminder"}:
        title, body = _offer(notice, texts)
    elif notice.kind == "outcome":
        title, body = _outcome(notice, texts)
    else:
        title, body = _about(notice, texts)
    return RenderedNotice(_line(title), _shortened(_line(body)), action)


def _offer(notice: NoticeLike, texts: Texts) -> tuple[str, str]:
    """`Assistant 1.1.2 is available`, and on one line why, how much, how long, and what it may do that is new."""
    view = _offer_view(notice)
    title = title_line(view, texts.language, title=_title(notice, texts.language))
    if notice.kind == "reminder":
        title = texts.say("A reminder: {what}", what=title)
    reason = localised(_by_language(notice.facts.get("urgency_reason")), texts.language).strip()
    kind = texts.say(KINDS["security"]) if view.offer.kind == "security" else ""
    download, time, permissions = costs(view, texts.language)
    parts = [kind, clean(reason) or first_note(view, texts.language), download, time]
    parts += [permissions] if view.offer.new_permissions else []
    body = " · ".join(part for part in parts if part)
    return title, body[:1].upper() + body[1:]


def _offer_view(notice: NoticeLike) -> OfferViewLike:
    """The few things about an offer that fit on a line, in the shape that `i18n.offer` renders."""
    facts = notice.facts
    mode, estimate_s = facts.get("mode"), facts.get("estimate_s")
    offer = SimpleNamespace(
        model=notice.model,
        direction=str(facts.get("direction")),
        from_version=facts.get("from_version"),
        to_version=notice.version,
        kind=str(facts.get("kind")),
        notes=_by_language(facts.get("notes")),
        mode=mode if isinstance(mode, str) and mode in MODES else "full",
        planned_bytes=_number(facts.get("planned_bytes")),
        full_bytes=_number(facts.get("full_bytes")),
        new_permissions=tuple(str(name) for name in _items(facts.get("new_permissions"))),
    )
    view = SimpleNamespace(offer=offer, estimate_s=_number(estimate_s), estimate_is_guess=True)
    return cast("OfferViewLike", view)


def _outcome(notice: NoticeLike, texts: Texts) -> tuple[str, str]:
    facts = notice.facts
    outcome = SimpleNamespace(
        operation=str(facts.get("operation")),
        result=str(facts.get("result")),
        from_version=facts.get("from_version"),
        to_version=notice.version,
        active_version=facts.get("active_version"),
        error=notice.error,
    )
    rendered = render_outcome(cast("OutcomeLike", outcome), texts.language)
    title = _about_model(notice, rendered.sentence.rstrip("。."), texts)
    if rendered.error is not None:
        return title, texts.stop.join((rendered.error.what, rendered.error.now, rendered.error.remedy))
    if outcome.operation == "update" and outcome.result == "done" and outcome.from_version is not None:
        return title, texts.say("Version {version} is kept; you can go back to it.", version=outcome.from_version)
    return title, ""


def _about(notice: NoticeLike, texts: Texts) -> tuple[str, str]:
    about = str(notice.facts.get("about") or texts.unknown)
    model = _title(notice, texts.language)
    if notice.error is not None and notice.error.code == "release-revoked":
        title = texts.say("{model} {version} has a known flaw", model=model, version=notice.version)
    elif about in _ATTENTION:
        title = texts.say(_ATTENTION[about], model=model, version=notice.version)
    else:
        title = _about_model(notice, clean(about), texts)
    return title, _error(notice.error, texts, is_retest=about == "suspect") if notice.error is not None else ""


def _error(error: ErrorLike, texts: Texts, *, is_retest: bool) -> str:
    """What happened, how the device is now, what to do. `is_retest`: of the version in use, which was tested again."""
    rendered = render_error(error.code, error.params, texts.language, error.now, error.now_params)
    if is_retest and error.code == "self-test-failed":
        what = texts.say(
            "The system below it changed, and the self-test “{test}” did not pass again.", test=error.params.get("test")
        )
        rendered = rendered._replace(what=what, remedy=texts.say("If answers are bad now, go back to another version."))
    return texts.stop.join((rendered.what, rendered.now, rendered.remedy))


def _about_model(notice: NoticeLike, what: str, texts: Texts) -> str:
    return texts.say("{model} · {what}", model=_title(notice, texts.language), what=what)


def _title(notice: NoticeLike, language: Language) -> str:
    """What people call the model."""
    return clean(localised(_by_language(notice.facts.get("title")), language).strip() or notice.model)


def _by_language(value: object) -> dict[Any, str]:
    return {key: str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _NUMBER_MAX else None


def _line(text: str) -> str:
    """On one line, whatever was in it."""
    return " ".join(clean(text, lines=True).split())


def _shortened(text: str) -> str:
    return text if len(text) <= _BODY_MAX_CHARS else f"{text[: _BODY_MAX_CHARS - 1]}…"
