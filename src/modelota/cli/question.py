"""Asking the owner: five answers, and pressing enter is none of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from modelota.cli.keyboard import drop_typed, read_line
from modelota.cli.session import Session
from modelota.errors import AskPerson
from modelota.spec.offer import Answer

# What may be answered at a terminal: `tonight` is an acceptance with conditions.
Choice = Answer | Literal["tonight"]

_ANSWERS: Final[Mapping[str, Choice]] = {
    "a": "accept",
    "accept": "accept",
    "now": "accept",
    "现在": "accept",
    "接受": "accept",
    "同意": "accept",
    "t": "tonight",
    "tonight": "tonight",
    "今晚": "tonight",
    "l": "later",
    "later": "later",
    "稍后": "later",
    "以后": "later",
    "s": "skip",
    "skip": "skip",
    "跳过": "skip",
    "d": "decline",
    "decline": "decline",
    "拒绝": "decline",
}
_TRIES: Final = 10


WORDS_YES: Final = frozenset({"yes", "是", "确认"})


def can_ask(session: Session) -> bool:
    """Whether a person sits at a terminal: both ends of the conversation have to be one."""
    return not session.as_json and sys.stdin.isatty() and sys.stdout.isatty()


async def ask_answer(session: Session, read: Callable[[str], Awaitable[str | None]] = read_line) -> Choice:
    """Ask until one of the five answers is given.

    Args:
        session: of this run.
        read: shows a prompt and reads a line; None at the end of the input.

    Raises:
        AskPerson: `cancelled-by-user`: the input ended, or none of the answers was given ten times.
    """
    prompt = session.texts.say("[a] accept now  [t] tonight when charging  [l] later  [s] skip  [d] decline: ")
    drop_typed()
    for _ in range(_TRIES):
        text = await read(prompt)
        if text is None:
            break
        answer = _ANSWERS.get(text.lower())
        if answer is not None:
            return answer
        session.say("Please type a, t, l, s or d. Enter alone decides nothing.")
    raise AskPerson("cancelled-by-user", action="answer")


async def ask_word(
    question: str,
    words: frozenset[str],
    *,
    action: str,
    read: Callable[[str], Awaitable[str | None]] = read_line,
) -> None:
    """Ask for a word that nobody types by mistake; an empty line is asked again, anything else stops.

    Raises:
        AskPerson: `cancelled-by-user` (action).
    """
    drop_typed()
    for _ in range(_TRIES):
        text = await read(question)
        if text is not None and text.lower() in words:
            return
        if text is None or text:
            break
    raise AskPerson("cancelled-by-user", action=action)
