"""Plan and proof of removing the agent, as its owner reads them (clause 7.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from modelota.i18n import Language, units
from modelota.i18n.removal import KINDS as MODEL_KINDS
from modelota.i18n.removal import ItemLike
from modelota.i18n.texts import Texts, clean, mark, texts_for

_KINDS: Final[Mapping[str, str]] = {
    **MODEL_KINDS,
    "models": mark("what is left of the models' directories"),
    "runtime directory": mark("sockets"),
    "logs": mark("the agent's logs"),
    "trust cache": mark("what was fetched to check signatures"),
    "keys": mark("keys"),
    "settings": mark("the settings, config.toml"),
    "database": mark("the agent's records"),
    "lock": mark("the lock file"),
    "root": mark("the device's directory"),
    "systemd unit": mark("the service's unit"),
    "systemd link": mark("what starts the service with the system"),
    "systemd directory": mark("a directory made for the service"),
    "keyring entry": mark("keys, in the system's keyring"),
    "file": mark("a file"),
}
_REASONS: Final[Mapping[str, str]] = {
    "not-ours": mark("not the agent's"),
    "changed": mark("changed by somebody else"),
    "cannot-tell": mark("whether it is still there could not be told"),
    "not-empty": mark("something else is in it"),
    "in-use": mark("in use"),
    "permission-denied": mark("not allowed"),
    "package-owned": mark("it belongs to an installed package"),
}


class StayingLike(Protocol):
    """Something that stays."""

    @property
    def path(self) -> str:
        """Where."""
        ...

    @property
    def reason(self) -> str | None:
        """Why."""
        ...


class LeftLike(ItemLike, StayingLike, Protocol):
    """What became of an item."""

    @property
    def result(self) -> str:
        """`removed`, `gone` or `refused`."""
        ...


def leaving_lines(
    *, root: str, items: Iterable[ItemLike], stays: Sequence[StayingLike], size_bytes: int, language: Language
) -> list[str]:
    """The plan: what goes with its place and size, what stays."""
    texts = texts_for(language)
    lines = [
        texts.say("Remove the agent of {root}", root=root),
        "",
        texts.say("To be removed, together {size}:", size=units.size(size_bytes, language)),
    ]
    for item in items:
        size = f"  ·  {units.size(item.size_bytes, language)}" if item.size_bytes else ""
        lines.append(f"  {clean(item.path)}  ·  {_kind(texts, item.kind)}{size}")
    return [*lines, *(("", *_kept(texts, stays)) if stays else ())]


def left_lines(*, items: Sequence[LeftLike], removed_bytes: int, plan_digest: str, language: Language) -> list[str]:
    """The proof: how much was removed, what was not and why, and what it proves."""
    texts = texts_for(language)
    gone = [item for item in items if item.result != "refused"]
    size = units.size(removed_bytes, language)
    lines = [texts.say("Removed {count}, together {size}:", count=len(gone), size=size)]
    lines += [f"  {clean(item.path)}" for item in gone]
    lines += _kept(texts, [item for item in items if item.result == "refused"])
    return [*lines, texts.say("Plan {digest}", digest=plan_digest)]


def _kept(texts: Texts, items: Sequence[StayingLike]) -> list[str]:
    listed = [f"  {clean(item.path)}  ·  {_reason(texts, item.reason or '')}" for item in items]
    return [texts.say("Kept:"), *listed] if listed else []


def _kind(texts: Texts, kind: str) -> str:
    return texts.say(_KINDS[kind]) if kind in _KINDS else clean(kind)


def _reason(texts: Texts, reason: str) -> str:
    return texts.say(_REASONS[reason]) if reason in _REASONS else clean(reason)
