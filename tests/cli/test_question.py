"""The question has four answers, and pressing enter is none of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelota.cli.question import ask_answer
from modelota.cli.session import Session
from modelota.errors import AskPerson


def _reader(*lines: str) -> Callable[[str], str]:
    left = list(lines)

    def read(prompt: str) -> str:
        assert prompt
        if not left:
            raise EOFError
        return left.pop(0)

    return read


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("a", "accept"),
        (" A ", "accept"),
        ("accept", "accept"),
        ("接受", "accept"),
        ("l", "later"),
        ("稍后", "later"),
        ("s", "skip"),
        ("跳过", "skip"),
        ("d", "decline"),
        ("拒绝", "decline"),
    ],
)
def test_answers(typed: str, answer: str) -> None:
    """Letters, words, and Chinese words."""
    assert ask_answer(Session("en", as_json=False), _reader(typed)) == answer


@pytest.mark.parametrize("typed", ["", " ", "y", "yes", "n", "ok", "1"])
def test_anything_else_is_asked_again(typed: str) -> None:
    """Enter, and the yes of other programs, decide nothing."""
    assert ask_answer(Session("en", as_json=False), _reader(typed, typed, "d")) == "decline"


@pytest.mark.parametrize("lines", [[], ["", ""], [""] * 20])
def test_no_answer_is_not_an_answer(lines: list[str]) -> None:
    """When the input ends, or nothing sensible comes, the command is cancelled."""
    with pytest.raises(AskPerson) as caught:
        ask_answer(Session("en", as_json=False), _reader(*lines))
    assert caught.value.code == "cancelled-by-user"
