"""Which notices a model's state calls for, and which of those that were given are over. Pure.

A notice follows from how things are, not from the message that says so: whoever looks twice, after a restart too, finds
the same keys. That nothing was looked for lately, or that looking failed, calls for none (design decision 2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from modelota.agent.answers import is_urgent
from modelota.agent.notice_table import Draft, Newest
from modelota.agent.states import State, Update
from modelota.errors import CODES
from modelota.spec.api import ErrorBody, OfferView, Outcome, Phase
from modelota.spec.api_owner import Notice

_NOTES_MAX_CHARS: Final = 300  # of a publisher's text; the page has all of it
_OLD_S: Final = 86_400.0  # an outcome that is told for the first time only later than this is history

# In the order in which an update goes through them: what stopped it before, while it is tried again, still does.
_ORDER: Final[tuple[Phase, ...]] = (
    *("rechecking", "fetching", "verifying", "deploying", "testing", "waiting", "activating", "rolling-back"),
    "removing",
)


class Known(NamedTuple):
    """What notices about a model need besides its state.

    Attributes:
        title: what people call the model, by language.
        offer: the offer that stands.
        answer: the newest answer to it.
        warning: that its publisher took the version in use back.
        damage: what a reading of the installed versions just found, if it did.
        is_damaged: parts of an installed version are not what was signed.
        outcome_age_s: seconds since the last outcome; None: the clock says nonsense.
    """

    title: dict[str, str]
    offer: OfferView | None = None
    answer: Newest | None = None
    warning: ErrorBody | None = None
    damage: ErrorBody | None = None
    is_damaged: bool = False
    outcome_age_s: float | None = None


def drafts(model: str, state: State, known: Known) -> Iterator[Draft]:
    """What the user is to be told of about a model, as it is now."""
    if known.offer is not None and state.offer == known.offer.digest:
        key = _offer_key(known.offer.digest, known.answer)
        if key is not None:
            yield offer_draft(known.offer, key)
    if state.last is not None and _tells(state, state.last, known.outcome_age_s):
        yield _outcome(model, state.last, known.title, state.offer if _offers_again(state.last) else None)
    yield from _attention(model, state, known)


def _offer_key(digest: str, answer: Newest | None) -> str | None:
    """The key of an offer's notice, or None while its user knows of it.

    Who answered *later* is reminded, and who took an answer back looks at the offer. One that stands again after an
    answer has come to its end is told again, unless that is told as the outcome of what it accepted.
    """
    if answer is None:
        return f"offer {digest}"
    told = answer.ended_as in {None, "revoked"} or (answer.answer, answer.ended_as) == ("accept", "expired")
    return None if told else f"offer {digest} {answer.seq}"


def _tells(state: State, outcome: Outcome, age_s: float | None) -> bool:
    """Whether an outcome is news to its user."""
    if outcome.result == "cancelled" and outcome.error is None:
        return False  # they did it
    if state.degraded is not None and outcome.error == state.degraded:
        return False  # told as what it led to
    if _offers_again(outcome) and state.offer is None:
        return False  # the offer was answered anew
    return age_s is None or age_s <= _OLD_S


def _offers_again(outcome: Outcome) -> bool:
    """Whether an update ended because nothing of it had begun in time, and its offer stands again."""
    return outcome.error is not None and outcome.error.code == "answer-expired"


def offer_draft(view: OfferView, key: str, *, kind: str = "offer", **facts: Any) -> Draft:  # noqa: ANN401  plain data
    """The notice of an offer, or a reminder of one."""
    offer = view.offer
    about = {
        "title": view.title,
        "direction": offer.direction,
        "kind": offer.kind,
        "from_version": offer.from_version,
        "notes": {str(language): text[:_NOTES_MAX_CHARS] for language, text in offer.notes.items()},
        "mode": offer.mode,
        "planned_bytes": offer.planned_bytes,
        "full_bytes": offer.full_bytes,
        "estimate_s": view.estimate_s,
        "new_permissions": list(offer.new_permissions),
        **facts,
    }
    if offer.urgency_reason:
        about["urgency_reason"] = {
            str(language): text[:_NOTES_MAX_CHARS] for language, text in offer.urgency_reason.items()
        }
    return Draft(
        key=key,
        kind="reminder" if kind == "reminder" else "offer",
        model=offer.model,
        urgent=is_urgent(offer.kind, offer.urgency_reason),
        path=f"/offers/{view.digest}",
        digest=view.digest,
        version=offer.to_version,
        facts=about,
    )


def _outcome(model: str, outcome: Outcome, title: dict[str, str], offer: str | None) -> Draft:
    return Draft(
        key=f"outcome {model} {outcome.finished_at}",
        kind="outcome",
        model=model,
        path=f"/offers/{offer}" if offer is not None else f"/result?model={quote(model, safe='')}",
        digest=offer,
        version=outcome.to_version,
        error=outcome.error,
        facts={
            "title": title,
            "operation": outcome.operation,
            "result": outcome.result,
            "from_version": outcome.from_version,
            "active_version": outcome.active_version,
        },
    )


def _attention(model: str, state: State, known: Known) -> Iterator[Draft]:
    """What needs a person, or explains why something does not work."""
    version = state.current.version if state.current else None
    page = f"/model?model={quote(model, safe='')}"

    def draft(
        about: str,
        name: str,
        error: ErrorBody,
        *,
        now: str = "updated",
        **changes: Any,  # noqa: ANN401  fields of a draft
    ) -> Draft:
        fields: dict[str, Any] = {"path": page, "version": version, **changes}
        facts = {"title": known.title, "about": about}
        key = f"attention {model} {about} {name}"
        return Draft(key=key, kind="attention", model=model, error=_placed(error, now, version), facts=facts, **fields)

    if state.degraded is not None:
        yield draft("degraded", state.degraded.code, state.degraded, urgent=True, recurs=True)
    if state.suspect is not None:
        yield draft("suspect", str(version), state.suspect, recurs=True)
    if known.warning is not None:
        is_flawed = known.warning.code == "release-revoked"
        yield draft("withdrawn", f"{version} {known.warning.code}", known.warning, urgent=is_flawed)
    if known.damage is not None:
        yield draft("damaged", str(known.damage.params.get("slot")), known.damage, recurs=True)
    update = state.update
    if update is not None and update.paused and update.error is not None and _needs_person(update.error):
        yield draft(
            "paused",
            f"{_update_key(update)} {update.phase} {update.error.code}",
            update.error,
            now="unknown" if update.direction == "uninstall" else "paused",
            path=f"/update?model={quote(model, safe='')}",
            version=update.target.version,
        )


def _placed(error: ErrorBody, now: str, version: str | None) -> ErrorBody:
    """The error with the sentence that says how the device is now."""
    if error.now:
        return error
    return msgspec.structs.replace(error, now=now, now_params={"version": version})


def _needs_person(error: ErrorBody) -> bool:
    return CODES.get(error.code) == "ask-person"


def _update_key(update: Update) -> str:
    return update.offer_digest or f"{update.direction} {update.target.name}"


def stands(notice: Notice, state: State, known: Known, keys: Collection[str]) -> bool:
    """Whether a notice that was given still holds.

    Args:
        notice: of this model.
        state: of the model.
        known: as for `drafts`.
        keys: of the drafts that the state calls for.
    """
    key = notice.key.partition("#")[0]
    if key in keys:
        return True
    if notice.kind == "reminder":
        answered = known.answer.seq if known.answer is not None else 0
        return state.offer == notice.digest and answered == notice.facts.get("answer")
    if notice.kind == "outcome":  # also one too old to be told anew
        is_last = state.last is not None and key == f"outcome {notice.model} {state.last.finished_at}"
        return is_last and (notice.digest is None or notice.digest == state.offer)
    if notice.facts.get("about") == "damaged":
        return known.is_damaged
    if notice.facts.get("about") == "paused" and state.update is not None:
        # while what stopped it is tried again, it is not over; nobody is told at each attempt
        update = state.update
        later = _ORDER[_ORDER.index(update.phase) :] if update.phase in _ORDER else ()
        prefix = f"attention {notice.model} paused {_update_key(update)} "
        return any(key.startswith(f"{prefix}{phase} ") for phase in later)
    return False
