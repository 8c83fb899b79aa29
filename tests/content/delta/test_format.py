"""What was once a delta stays one: golden files, and the format page's example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelota.content.delta import OPERATIONS, decode_delta
from modelota.content.delta.contract import Loops
from modelota.content.delta.layouts import LAYOUTS

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("delta-*.json"))
PAGE = Path(__file__).parents[3] / "docs" / "formats" / "delta.md"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_deltas(engine: Loops, path: Path) -> None:
    """Each decodes to what it always did; they never change."""
    case = json.loads(path.read_text(encoding="utf-8"))
    coded, base, plain = (bytes.fromhex(case[name]) for name in ("coded", "base", "plain"))
    assert decode_delta(case["operation"], coded, base, len(plain), engine=engine) == plain


def test_golden_deltas_cover_operations_and_layouts() -> None:
    """One for each operation of ours, one for each layout."""
    names = {path.stem for path in GOLDEN}
    assert {json.loads(path.read_text(encoding="utf-8"))["operation"] for path in GOLDEN} == set(OPERATIONS) - {
        "raw",
        "zstd",
    }
    assert names >= {f"delta-blocks-{kind}" for kind in LAYOUTS}


def test_example_of_the_format_page(engine: Loops) -> None:
    """The page's bytes decode to the page's chunk."""
    example = PAGE.read_text(encoding="utf-8").split("## Example")[1].split("```")[1]
    coded = bytes.fromhex("".join(line[:26] for line in example.splitlines()))
    base, plain = bytes.fromhex("803f813f80bf0000"), bytes.fromhex("813f813f7fbf0080")
    assert decode_delta("numeric", coded, base, 8, engine=engine) == plain


def test_page_lists_every_operation_and_layout() -> None:
    """Numbers and names in the page's tables are the ones in use."""
    page = PAGE.read_text(encoding="utf-8")
    for name, number in OPERATIONS.items():
        assert f"| {number} | `{name}` |" in page
    for kind, layout in LAYOUTS.items():
        assert f"| {layout.number} | {kind} | {layout.block_bytes} | {layout.group} |" in page
