"""What the texts beside a model's weights say about it: the head of a model card, the first line of a licence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from modelota.spec.limits import KIB

_HEAD_MAX_BYTES: Final = 64 * KIB
_VALUE_MAX_CHARS: Final = 200
_LINE: Final = re.compile(r"(license|license_name|base_model|datasets):[ \t]*(.*)")
_ITEM: Final = re.compile(r"[ \t]*-[ \t]+(.+)")


class Card(NamedTuple):
    """What is known about where a model comes from; empty: not told. Text from outside, each a line or a list."""

    licence: str = ""
    base_model: str = ""
    data: str = ""
    chat_template: bool = False

    def made_from(self, origin: str) -> Card:
        """The same, where the model was fetched from `origin`."""
        base = f"{origin} ({self.base_model})" if self.base_model else origin
        return self._replace(base_model=base)


def read_card(files: Mapping[str, Path]) -> Card:
    """The card of the model whose files these are; an empty one if it has none that can be read."""
    place = files.get("README.md")
    if place is None:
        return Card()
    with place.open("rb") as file:
        return parse_card(file.read(_HEAD_MAX_BYTES))


def parse_card(data: bytes) -> Card:
    """Read the few fields that matter from the head of a model card, which is YAML between two lines of `---`.

    Only the forms `key: value` and a list of `- value` are known; anything else is not told.
    """
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "---" or "---" not in lines[1:]:
        return Card()
    found: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in lines[1 : lines.index("---", 1)]:
        item = _ITEM.fullmatch(line)
        if item is not None and values is not None:
            values.append(plain(item[1]))
            continue
        field = _LINE.fullmatch(line)
        values = found.setdefault(field[1], []) if field is not None else None
        if field is not None and field[2].strip():
            found[field[1]] = [plain(part) for part in field[2].strip().strip("[]").split(",")]
    licence = found.get("license_name") if found.get("license") == ["other"] else None
    told = {name: ", ".join(value[:20]) for name, value in found.items()}
    return Card(
        ", ".join(licence or found.get("license", [])[:20]), told.get("base_model", ""), told.get("datasets", "")
    )


def plain(text: str) -> str:
    """`text` from outside as one short line that a terminal can show."""
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return line.strip("'\" ")[:_VALUE_MAX_CHARS]
