"""Rows of answers: in one transaction with the state that they count in, and read whatever agent wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.test_answers import MODEL, NEW, OLD, an_offer

from modelota import faults
from modelota.agent import states as s
from modelota.agent.answers import decision_view
from modelota.agent.journal import Journal
from modelota.agent.machine import step
from modelota.clock import iso
from modelota.errors import ModelotaError
from modelota.spec.api import ErrorBody
from modelota.spec.offer import Decision
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

OFFER, PLAN = an_offer()


class Book:
    """A journal and the state that is in it."""

    def __init__(self, place: Path) -> None:
        self.clock = ManualClock()
        self.journal = Journal(place / "agent.db", self.clock)
        self.state = s.State(current=OLD, slots=(OLD,))
        self.journal.keep_offer(OFFER, PLAN, estimate_s=None, estimate_is_guess=True)

    def post(self, event: s.MachineEvent) -> None:
        after, _ = step(self.state, event, iso(self.clock.now()))
        self.journal.commit(MODEL, event, self.state, after)
        self.state = after

    def answer(self, answer: Any, **more: Any) -> int:
        self.post(s.Offered(offer_digest=OFFER.digest, target=NEW, asked=True))
        number = self.journal.decisions.next_id()
        self.post(
            s.Answered(
                id=number,
                offer_digest=OFFER.digest,
                answer=answer,
                authority="uid:1000",
                channel="page",
                direction="update",
                target=NEW,
                manifest_digest=OFFER.manifest_digest,
                **more,
            )
        )
        return number

    def ended(self, number: int) -> str | None:
        row = self.journal.decisions.row(number)
        assert row is not None
        return row.ended_as


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    faults.arm("")
    made.journal.close()


def test_what_was_wished_is_kept(book: Book) -> None:
    """Conditions, times, who and where; and a reminder moves its time."""
    number = book.answer(
        "accept", conditions=("charging",), not_before="2026-12-01T22:00:00Z", expires_at="2026-12-08T22:00:00Z"
    )
    (row,) = book.journal.decisions.page(MODEL, 10)
    assert (row.id, row.model, row.to_version, row.answer) == (number, MODEL, "1.1.2", "accept")
    assert (row.authority, row.channel, row.conditions) == ("uid:1000", "page", ("charging",))
    assert (row.not_before, row.expires_at) == ("2026-12-01T22:00:00Z", "2026-12-08T22:00:00Z")
    view = decision_view(row, book.state)
    assert (view.state, view.expires_at, view.revocable) == ("standing", "2026-12-08T22:00:00Z", True)
    book.post(s.Revoked(id=number, authority="uid:0", channel="page"))
    later = book.answer("later", remind_s=(60, 120))
    first = book.journal.decisions.row(later)
    book.clock.advance(seconds=60)
    book.post(s.Reminded(id=later, remind_s=(60, 120)))
    second = book.journal.decisions.row(later)
    assert first is not None
    assert second is not None
    assert (first.remind_at, second.remind_at) == ("2026-11-24T06:01:00Z", "2026-11-24T06:03:00Z")
    shown = book.journal.offer(OFFER.digest)
    assert shown is not None
    assert (shown.answer, shown.remind_at) == ("later", "2026-11-24T06:03:00Z")


ENDS: list[tuple[str, s.MachineEvent, str]] = [
    ("accept", s.AnswerExpired(id=1), "expired"),
    ("accept", s.Revoked(id=1, authority="uid:0", channel="page"), "revoked"),
    ("accept", s.CancelAsked(authority="uid:0"), "revoked"),
    ("accept", s.Failed(phase="rechecking", error=ErrorBody(code="unexpected"), branch="our-bug"), "done"),
    ("accept", s.Withdrawn(version="1.1.2", reason="wrong"), "done"),
    ("later", s.Offered(offer_digest="c" * 64, target=SlotId("1.1.3", "q8")), "superseded"),
    ("later", s.OfferGone(reason=""), "superseded"),
    ("later", s.RemovalAsked(plan_digest="d" * 64, authority="", channel="host", reason="user", id=9), "superseded"),
    ("skip", s.AnswerExpired(id=1), "expired"),
    ("decline", s.Revoked(id=1, authority="uid:0", channel="page"), "revoked"),
]


@pytest.mark.parametrize(("answer", "event", "ended"), ENDS)
def test_how_an_answer_ended(book: Book, answer: str, event: s.MachineEvent, ended: str) -> None:
    """Each end has its word, and only what was carried out or superseded is still shown with the offer."""
    assert book.answer(answer) == 1
    book.post(event)
    assert book.ended(1) == ended
    view = book.journal.offer(OFFER.digest)
    assert view is not None
    assert view.answer == (None if ended in {"expired", "revoked"} else answer)


def test_an_acceptance_that_was_carried_out(book: Book) -> None:
    """It is done once the version is in use, and can't be taken back any more."""
    number = book.answer("accept", expires_at="2026-12-08T22:00:00Z")
    for phase in ("rechecking", "waiting", "fetching"):
        book.post(s.Done(phase=phase))  # type: ignore[arg-type]  # phases
    row = book.journal.decisions.row(number)
    assert row is not None
    assert decision_view(row, book.state).expires_at is None  # nothing of it is left to expire
    for phase in ("verifying", "deploying", "testing", "waiting"):
        book.post(s.Done(phase=phase))  # type: ignore[arg-type]  # phases
    assert not decision_view(row, book.state).revocable
    book.post(s.Activated(at="2026-11-24T06:00:00Z", watch_until="2026-11-25T06:00:00Z"))
    assert book.ended(number) == "done"


def test_an_answer_that_could_not_be_kept_does_not_count(book: Book) -> None:
    """On a full disk neither the state nor the row is there; the number is not given twice."""
    book.post(s.Offered(offer_digest=OFFER.digest, target=NEW))
    before = book.state
    faults.arm("journal.commit@2=ENOSPC")  # the first is that of the offer
    with pytest.raises(ModelotaError):
        book.answer("accept")
    assert book.journal.state(MODEL) == before
    assert book.journal.decisions.page(None, 10) == ()
    book.state = before
    assert book.answer("accept") == 2


def test_rows_of_an_older_agent_are_read(book: Book) -> None:
    """It kept neither model nor end: what it answered is listed as carried out, with the version of its offer."""
    book.journal.note_decision(
        Decision(
            offer_digest=OFFER.digest,
            answer="decline",
            authority="uid:0",
            channel="terminal",
            at="2026-01-01T00:00:00Z",
        )
    )
    for model in (None, MODEL):
        (row,) = book.journal.decisions.page(model, 10)
        assert (row.model, row.to_version, row.ended_as) == (MODEL, "1.1.2", None)
    assert decision_view(row, book.state).state == "done"
    assert book.journal.decisions.page("acme/other", 10) == ()


def test_a_state_of_an_older_agent_is_read(book: Book) -> None:
    """An older agent writes a state without answers, of an update that it took: it goes on, and ends."""
    book.answer("accept")
    fields = msgspec.to_builtins(book.state)
    for name in ("answer", "silent", "reminders"):
        del fields[name]
    book.state = msgspec.convert(fields, s.State)
    for phase in ("rechecking", "waiting", "fetching", "verifying", "deploying", "testing", "waiting"):
        book.post(s.Done(phase=phase))  # type: ignore[arg-type]  # phases
    assert book.state.phase == "activating"
    book.post(s.Activated(at="2026-11-24T06:00:00Z", watch_until="2026-11-25T06:00:00Z"))
    (row,) = book.journal.decisions.page(MODEL, 10)
    assert decision_view(row, book.state).state == "done"


def test_an_acceptance_lifts_the_ceiling_once(book: Book) -> None:
    """Bytes that were fetched under it count against it alone; *later* lifts nothing."""
    book.journal.spend(OFFER.digest, 1)
    book.answer("later")
    assert book.journal.spent_bytes(OFFER.digest) == 1
    book.answer("accept")
    assert book.journal.spent_bytes(OFFER.digest) == 0
