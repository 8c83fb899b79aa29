"""Steps of a version, and what changed between two releases, in words (clause 6.1-b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n import Language
from modelota.i18n.texts import clean, mark, texts_for

_STEPS: Final[Mapping[str, str]] = {
    "major": mark("a major step"),
    "minor": mark("a minor step"),
    "patch": mark("a patch"),
}
_CHANGES: Final[Mapping[str, str]] = {
    "architecture-changed": mark("the architecture changed ({where}: {before} → {after})"),
    "size-changed": mark("the size of the network changed ({where}: {before} → {after})"),
    "parameters-changed": mark("the number of parameters changed by more than a fifth ({before} → {after})"),
    "layers-changed": mark("the number of layers changed ({where}: {before} → {after})"),
    "shape-changed": mark("tensors have another shape ({where}: {before} → {after})"),
    "tensors-added": mark("tensors were added ({where}: {after})"),
    "tensors-removed": mark("tensors were removed ({where}: {before})"),
    "precision-changed": mark("variant {where} has another precision ({before} → {after})"),
    "vocabulary-changed": mark("the vocabulary changed ({where})"),
    "context-changed": mark("the context length changed ({before} → {after})"),
    "adapter-added": mark("an adapter was added ({where})"),
    "adapter-removed": mark("an adapter was removed ({where})"),
    "file-added": mark("a file was added ({where})"),
    "file-removed": mark("a file was removed ({where})"),
    "variant-added": mark("variant {where} was added"),
    "variant-removed": mark("variant {where} was removed"),
    "runtime-changed": mark("variant {where} runs on another program ({before} → {after})"),
    "interface-added": mark("the interface “{where}” was added"),
    "interface-removed": mark("the interface “{where}” was removed"),
    "permission-added": mark("the permission “{where}” was added"),
    "user-data-changed": mark("the layout of the user's data changed ({before} → {after})"),
    "new-features": mark("the release description says that it brings new features"),
}


def step_name(step: str, language: Language) -> str:
    """Name a step."""
    return texts_for(language).say(_STEPS[step]) if step in _STEPS else clean(step)


def change_sentence(change: Mapping[str, object], language: Language) -> str:
    """Say what changed: a `what` with `where`, `before` and `after`; an unknown one is given as it is."""
    what = str(change.get("what"))
    sentence = _CHANGES.get(what)
    return clean(what) if sentence is None else texts_for(language).say(sentence, **_words(change))


def _words(change: Mapping[str, object]) -> dict[str, object]:
    return {key: change.get(key) for key in ("where", "before", "after")}
