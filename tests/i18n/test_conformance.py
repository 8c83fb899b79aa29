"""The first line of a conformance report counts what was not measured too."""

from __future__ import annotations

from modelota.i18n.conformance import status_name, summary


def test_summary() -> None:
    """Failed and unmeasured rows are always counted; others where there are any."""
    assert summary(["passed", "passed", "not measured yet"], "en") == (
        "3 requirements · passed: 2 · failed: 0 · not measured yet: 1"
    )
    assert summary(["failed"], "zh-CN") == "1 条要求 · 失败：1 · 尚未测量：0"
    assert summary(["passed", "odd"], "en").endswith("odd: 1")


def test_unknown_status() -> None:
    """A status of a newer version is given as it is."""
    assert status_name("odd", "zh-CN") == "odd"
