"""Rows follow from claims and figures; nothing else makes one pass."""

from __future__ import annotations

import pytest

from modelota.conformance.row import Examination, Text
from modelota.errors import OurBug


def test_all_claims_hold() -> None:
    """A row passes when every claim holds; the first figure is the row's."""
    seen = Examination()
    seen.claim("a", True)
    seen.at_most("b", 3, 10, "B")
    seen.at_most("c", 5, 6, "s")
    row = seen.row("5.1-a", "en")
    assert (row.status, row.figure, row.limit, row.unit, row.reason) == ("passed", 3, 10, "B", None)
    assert row.evidence["a"] is True
    assert row.evidence["b"] == {"figure": 3, "limit": 10, "unit": "B"}
    assert row.evidence["c"] == {"figure": 5, "limit": 6, "unit": "s"}


def test_one_claim_does_not_hold() -> None:
    """A row fails with the names of what did not hold, in the reader's language, and keeps what was seen."""
    seen = Examination()
    seen.claim("good", True)
    seen.claim("bad", False, {"seen": 1})
    seen.at_most("too-much", 11, 10, "B")
    row = seen.row("5.1-a", "en")
    assert row.status == "failed"
    assert row.reason == "does not hold: bad, too-much"
    assert row.evidence["bad"] == {"seen": 1}
    assert (seen.row("5.1-a", "zh-CN").reason or "").startswith("不成立")


def test_part_is_missing() -> None:
    """A row of which a part can't be measured never passes, and still fails when what was measured does not hold."""
    seen = Examination()
    seen.still_missing(Text("缺", "missing"))
    seen.claim("good", True)
    assert (seen.row("x", "zh-CN").status, seen.row("x", "zh-CN").reason) == ("not measured yet", "缺")
    seen.claim("bad", False)
    assert seen.row("x", "en").status == "failed"


def test_nothing_was_measured() -> None:
    """Evidence alone makes no row."""
    with pytest.raises(OurBug):
        Examination({"looked": "everywhere"}).row("x", "en")


def test_a_name_is_used_once() -> None:
    """A second claim of the same name would hide the first's evidence."""
    seen = Examination()
    seen.claim("a", True)
    with pytest.raises(OurBug):
        seen.claim("a", True)
