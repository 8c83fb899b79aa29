"""The question has five answers, and pressing enter is none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from modelota.cli.question import ask_answer
from modelota.cli.session import Session
from modelota.errors import AskPerson


def _reader(*lines: str) -> Callable[[str], Awaitable[str | None]]:
    left = list(lines)

    async def read(prompt: str) -> str | None:
        assert prompt
        return left.pop(0) if left else None

    return read


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("a", "accept"),
        ("A", "accept"),
        ("accept", "accept"),
        ("接受", "accept"),
        ("now", "accept"),
        ("现在", "accept"),
        ("t", "tonight"),
        ("tonight", "tonight"),
        ("今晚", "tonight"),
        ("l", "later"),
        ("稍后", "later"),
        ("s", "skip"),
        ("跳过", "skip"),
        ("d", "decline"),
        ("拒绝", "decline"),
    ],
)
async def test_answers(typed: str, answer: str) -> None:
    """Letters, words, and Chinese words."""
    assert await ask_answer(Session("en", as_json=False), _reader(typed)) == answer


@pytest.mark.parametrize("typed", ["", " ", "y", "yes", "n", "ok", "1"])
async def test_anything_else_is_asked_again(typed: str) -> None:
    """Enter, and the yes of other programs, decide nothing."""
    assert await ask_answer(Session("en", as_json=False), _reader(typed, typed, "d")) == "decline"


@pytest.mark.parametrize("lines", [[], ["", ""], [""] * 20])
async def test_no_answer_is_not_an_answer(lines: list[str]) -> None:
    """When the input ends, or nothing sensible comes, the command is cancelled."""
    with pytest.raises(AskPerson) as caught:
        await ask_answer(Session("en", as_json=False), _reader(*lines))
    assert caught.value.code == "cancelled-by-user"
