"""Journal entries become sentences."""

from __future__ import annotations

import typing

import pytest

from modelota.agent import journal_entries, states
from modelota.agent.journal_entries import journal_name
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.journal import EVENTS, answer_name, log_sentence
from modelota.spec import api


def test_every_event_of_the_machine_has_a_sentence() -> None:
    """What the state machine journals is known here."""
    error = api.ErrorBody(code="no-space")
    names = set(journal_entries._NAMES.values())
    names |= {journal_name(states.Done(phase=phase)) for phase in journal_entries._DONE_NAMES}
    names |= {
        journal_name(states.Failed(phase=phase, error=error, branch="ask-person"))
        for phase in typing.get_args(api.Phase)
    }
    assert names <= set(EVENTS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", sorted(EVENTS))
def test_every_event_without_facts(event: str, language: Language) -> None:
    """An entry that lost its facts is still a sentence."""
    sentence = log_sentence(event, {}, language)
    assert sentence[-1] in ".。"
    assert "{" not in sentence


def test_facts_are_said() -> None:
    """Answers, gates, times and errors are rendered; a digest is shortened."""
    assert log_sentence("decided", {"answer": "skip", "digest": "ab" * 32}, "zh-CN") == (
        "对更新告知 abababababab 的答复是“跳过此版本”。"
    )
    assert log_sentence("activated", {"to_version": "1.1.1"}, "en") == "Version 1.1.1 was put to use."
    assert log_sentence("gates-closed", {"waits_for": ["parked", "inhibitor:rauc", "lunch"]}, "en") == (
        "The update waits for the vehicle to be parked, “rauc” to let it go on, lunch."
    )
    failed = log_sentence(
        "tests-failed", {"to_version": "1.1.3", "code": "self-test-failed", "params": {"test": "a"}}, "en"
    )
    assert failed.startswith(
        "Version 1.1.3 did not pass its self-tests. The new version did not pass the self-test “a”"
    )
    assert failed.endswith("[self-test-failed]")


def test_unknown_events_are_printed_as_they_are() -> None:
    """A newer agent's entry is given by name with its facts."""
    assert log_sentence("teleported", {"to": "mars", "by": None}, "en") == "teleported to=mars"
    assert answer_name("shrug", "en") == "shrug"
