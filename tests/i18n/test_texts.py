"""Sentences are found, filled, and safe to print whatever is put into them."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from modelota.i18n.texts import clean, localised, pad, texts_for, width


def test_missing_and_none_read_unknown() -> None:
    """A parameter nobody gave, and one that is None, read “unknown” in the reader's language."""
    template = "The repository's “{role}” metadata is not well-formed."
    assert "unknown" in texts_for("en").say(template)
    assert "未知" in texts_for("zh-CN").say(template, role=None)


def test_values_are_not_templates() -> None:
    """Braces inside a value are printed, not filled."""
    said = texts_for("en").say("Repository: {url}", url="{url} {0.__class__}")
    assert said == "Repository: {url} {0.__class__}"


@given(st.text())
def test_clean_leaves_no_controls(text: str) -> None:
    """No control character, line separator or direction override passes; joiners of scripts and emoji do."""
    for char in clean(text):
        assert char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_clean_is_bounded_and_keeps_lines_only_where_asked() -> None:
    """A value is shortened; notes keep their lines."""
    assert len(clean("x" * 10_000)) == 400
    assert clean("a\nb") == "a�b"
    assert clean("a\r\nb\x1b[2J", lines=True) == "a\nb�[2J"


def test_width_counts_columns() -> None:
    """A Chinese character takes two columns, a combining mark none."""
    assert width("小助手 1") == 8
    assert width("e\u0301") == 1
    assert pad("小", 4) == "小  "


def test_localised_falls_back() -> None:
    """The reader's language, else English, else whatever there is."""
    assert localised({"en": "a", "zh-CN": "甲"}, "zh-CN") == "甲"
    assert localised({"en": "a"}, "zh-CN") == "a"
    assert localised({"zh-CN": "甲"}, "en") == "甲"
    assert localised({}, "en") == ""
