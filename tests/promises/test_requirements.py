"""All 51 demands of the standard are on the requirements page, each with its evidence."""

from __future__ import annotations

import re
from pathlib import Path

ROW = re.compile(r"^\| (\d[\d.]*(?:-[a-e])?) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def rows(repository_root: Path) -> list[tuple[str, str, str, str]]:
    return ROW.findall((repository_root / "docs" / "requirements.md").read_text(encoding="utf-8"))


def test_there_are_51_in_the_order_of_the_standard(repository_root: Path) -> None:
    """Every id occurs once, and they are in clause order."""
    ids = [row[0] for row in rows(repository_root)]
    assert len(ids) == len(set(ids)) == 51
    assert ids == sorted(ids, key=lambda text: ([int(n) for n in re.findall(r"\d+", text)], text))


def test_each_has_both_languages_and_evidence(repository_root: Path) -> None:
    """A demand is stated in English and Chinese, and says what would be measured."""
    for identity, english, chinese, evidence in rows(repository_root):
        assert len(english.strip()) > 10, identity
        assert re.search(r"[\u4e00-\u9fff]{2}", chinese), identity
        assert len(evidence.strip()) > 10, identity
