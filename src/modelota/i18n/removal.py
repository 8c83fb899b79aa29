"""Plan and proof of uninstalling a model, as its owner reads them (clause 7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from modelota.i18n import Language, units
from modelota.i18n.texts import clean, mark, texts_for

KINDS: Final[Mapping[str, str]] = {
    "link": mark("the link to the version in use"),
    "slot": mark("an installed version, with its logs and caches"),
    "staging": mark("what was being fetched"),
    "kept versions": mark("older versions that were kept"),
    "sealed copies of user data": mark("sealed copies of your data"),
    "user data": mark("your data"),
    "directory": mark("a directory"),
}
_STAYS: Final[Mapping[str, str]] = {
    "records": mark("this agent's own records: what was decided and done, and the proof of this removal"),
    "anchors": mark("fingerprints of the model's files, by which left-over copies can be found later"),
    "user-data": mark("your data"),
}
_REASONS: Final[Mapping[str, str]] = {
    "user": mark("You want to remove it."),
    "end-of-service": mark("Its publisher has ended the service for it."),
    "unsuitable-hardware": mark("This device does not meet what it requires any more."),
}


class ItemLike(Protocol):
    """An item of a plan or a proof."""

    @property
    def path(self) -> str:
        """Where."""
        ...

    @property
    def kind(self) -> str:
        """What."""
        ...

    @property
    def size_bytes(self) -> int:
        """How much."""
        ...


def kind_name(kind: str, language: Language) -> str:
    """Name what an item of a plan is; an unknown kind is given as it is."""
    return texts_for(language).say(KINDS[kind]) if kind in KINDS else clean(kind)


def reason_sentence(reason: str, language: Language) -> str:
    """Say why a model is uninstalled; an unknown reason is given as it is."""
    return texts_for(language).say(_REASONS[reason]) if reason in _REASONS else clean(reason)


def stays_name(name: str, language: Language) -> str:
    """Name something that an uninstallation leaves; an unknown one is given as it is."""
    return texts_for(language).say(_STAYS[name]) if name in _STAYS else clean(name)


def plan_lines(
    *,
    title: str,
    reason: str,
    items: tuple[ItemLike, ...],
    stays: tuple[str, ...],
    size_bytes: int,
    language: Language,
) -> list[str]:
    """The plan: why, what goes with its place and size, what stays."""
    texts = texts_for(language)
    lines = [
        texts.say("Uninstall {title}", title=title),
        texts.say(_REASONS[reason]),
        "",
        texts.say("To be removed, together {size}:", size=units.size(size_bytes, language)),
    ]
    lines += [
        f"  {clean(item.path)}  ·  {texts.say(KINDS[item.kind])}  ·  {units.size(item.size_bytes, language)}"
        for item in items
    ]
    lines += ["", texts.say("Kept:"), *(f"  {texts.say(_STAYS[name])}" for name in stays)]
    return lines


def proof_lines(*, items: tuple[ItemLike, ...], removed_bytes: int, plan_digest: str, language: Language) -> list[str]:
    """The proof: how much was removed, each path, and what it proves."""
    texts = texts_for(language)
    lines = [
        texts.say(
            "Removed {count}, together {size}:",
            count=len(items),
            size=units.size(removed_bytes, language),
        )
    ]
    lines += [f"  {clean(item.path)}" for item in items]
    lines.append(texts.say("Plan {digest}", digest=plan_digest))
    return lines
