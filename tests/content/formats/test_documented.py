"""`docs/formats/chunking.md` says what the parsers do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelota.content.formats import gguf_header, layout, safetensors
from modelota.content.formats.elements import ELEMENTS
from modelota.content.formats.gguf import TYPES
from modelota.i18n.sentences.ask_person import ASK_PERSON

SOURCE = Path(layout.__file__).parent


@pytest.fixture
def page(repository_root: Path) -> str:
    return (repository_root / "docs" / "formats" / "chunking.md").read_text(encoding="utf-8")


def words(function: str) -> set[str]:
    """Literal first arguments of the calls of a function in the parsers."""
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCE.glob("*.py"))
    return set(re.findall(rf'{function}\(\s*"([a-z-]+)"', text))


def test_every_note_has_its_meaning(page: str) -> None:
    """The table lists exactly the words that parsers give."""
    table = page[page.index("| note |") :]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == words("malformed")


def test_every_hostile_detail_has_a_sentence() -> None:
    """People are told which limit was passed."""
    counted = set(re.findall(r'_check_count\("([a-z]+)"', Path(gguf_header.__file__).read_text(encoding="utf-8")))
    assert set(ASK_PERSON["model-file-hostile"].details) == words("hostile") | counted


def test_every_block_is_listed(page: str) -> None:
    """The table of blocks has every quantised type of GGUF with its sizes."""
    found = re.findall(r"`([a-z0-9_]+)` \| (\d+) \| (\d+)", page)
    listed = {name: (int(size_bytes), int(values)) for name, size_bytes, values in found}
    assert listed == {name: ELEMENTS[name] for name in TYPES.values() if ELEMENTS[name].block_values > 1}


@pytest.mark.parametrize(
    "limit",
    [
        safetensors.HEADER_MAX_BYTES, layout.TENSORS_MAX, layout.NAME_MAX_BYTES, layout.RANK_MAX, gguf_header.KEYS_MAX,
        gguf_header.KEY_MAX_BYTES, gguf_header.NESTING_MAX, gguf_header.ELEMENTS_MAX, gguf_header.DIMENSIONS_MAX,
        gguf_header.TABLE_BYTES,
    ],
)  # fmt: skip
def test_limits_are_stated(page: str, limit: int) -> None:
    """Every limit stands on the page as the code has it."""
    assert re.search(rf"\b{f'{limit:,}'.replace(',', ' ')}\b", page)
