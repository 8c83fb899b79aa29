"""What the owner reads about versions, answers and people: words for the values that the agent names by codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n import Language
from modelota.i18n.journal import answer_name
from modelota.i18n.texts import clean, mark, texts_for

VERSION_EFFECTS: Final[Mapping[str, str]] = {
    "active": mark("This version answers now."),
    "previous": mark("It lies on this device, complete. Going back takes seconds and downloads nothing."),
    "kept": mark("It lies on this device, complete. Going back takes seconds and downloads nothing."),
    "sealed": mark("It is kept sealed. Going back sets it up again without a download; you see how long it takes."),
    "older": mark("It is not on this device. Going back downloads it; you see size and time before you decide."),
    "newer": mark("It is newer than the one in use, and not installed."),
    "withdrawn": mark("Its publisher took it back. It is not offered any more."),
}

ANSWERED: Final[Mapping[str, str]] = {
    "install": mark("“{answer}” to version {version}"),
    "update": mark("“{answer}” to version {version}"),
    "rollback": mark("“{answer}” to going back to {version}"),
    "repair": mark("“{answer}” to the repair of {version}"),
    "uninstall": mark("“{answer}” to uninstalling {version}"),
}

CHANNELS: Final[Mapping[str, str]] = {
    "terminal": mark("in a terminal"),
    "script": mark("by a script"),
    "socket": mark("by a program"),
    "host": mark("on the device's screen"),
    "page": mark("on the page"),
}

ANSWER_STATES: Final[Mapping[str, str]] = {
    "standing": mark("counts"),
    "done": mark("carried out"),
    "expired": mark("expired"),
    "revoked": mark("taken back"),
    "superseded": mark("replaced"),
}

CONDITIONS: Final[Mapping[str, str]] = {
    "charging": mark("while the device is charging"),
    "unmetered": mark("over a connection that costs nothing extra"),
    "parked": mark("while the vehicle is parked"),
}

INTERFACES: Final[Mapping[str, str]] = {
    "chat": mark("Conversation"),
    "completion": mark("Completing text"),
    "completions": mark("Completing text"),
    "embedding": mark("Comparing texts by meaning"),
    "embeddings": mark("Comparing texts by meaning"),
    "vision": mark("Understanding pictures"),
    "speech": mark("Speech"),
    "tools": mark("Using tools of applications"),
}

_ROOT: Final = "uid:0"


def version_effect(state: str, language: Language, *, older: bool = True) -> str:
    """Say what a version's state means for its owner; an unknown state is given as it is.

    Args:
        state: of `VersionView`.
        language: of the reader.
        older: than the version in use; only matters for one that is `available`.
    """
    key = ("older" if older else "newer") if state == "available" else state
    return _named(VERSION_EFFECTS, key, language)


def answered(answer: str, operation: str | None, version: str | None, language: Language) -> str:
    """Say what was answered to what; `operation` None is an offer of an earlier agent."""
    texts = texts_for(language)
    return texts.say(
        ANSWERED.get(operation or "update", ANSWERED["update"]), answer=answer_name(answer, language), version=version
    )


def channel_name(channel: str, language: Language) -> str:
    """Name where something was answered; an unknown channel is given as it is."""
    return _named(CHANNELS, channel, language)


def answer_state(state: str, language: Language) -> str:
    """Name how an answer stands; an unknown state is given as it is."""
    return _named(ANSWER_STATES, state, language)


def condition_name(condition: str, language: Language) -> str:
    """Name what an accepted update waits for; an unknown condition is given as it is."""
    return _named(CONDITIONS, condition, language)


def interface_name(name: str, language: Language) -> str:
    """Name what applications may ask of a model; an unknown interface is given as it is."""
    return _named(INTERFACES, name, language)


def authority_name(authority: str, language: Language, *, own: str = "", user: str | None = None) -> str:
    """Name who answered.

    Args:
        authority: `uid:<n>`, `embedding-host`, or an empty text for the device itself.
        language: of the reader.
        own: the reader's own authority.
        user: the name of that user on this system, where it is known.
    """
    texts = texts_for(language)
    if authority == "":
        return texts.say("the device itself")
    if authority == own:
        return texts.say("you")
    if authority == _ROOT:
        return texts.say("the administrator")
    if authority == "embedding-host":
        return texts.say("the program that the agent is a part of")
    kind, _, number = authority.partition(":")
    if kind != "uid":
        return clean(authority)
    return texts.say("user number {uid}", uid=number) if user is None else clean(user)


def _named(table: Mapping[str, str], key: str, language: Language) -> str:
    return texts_for(language).say(table[key]) if key in table else clean(key)
