"""The language is the one asked for, else the environment's."""

from __future__ import annotations

import pytest

from modelota.i18n import pick_language


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        (None, {}, "en"),
        ("zh", {}, "zh-CN"),
        ("zh_CN.UTF-8", {}, "zh-CN"),
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "en_GB"}, "zh-CN"),
        (None, {"MODELOTA_LANG": "zh", "LC_ALL": "en_GB.UTF-8"}, "zh-CN"),
    ],
)
def test_pick_language(explicit: str | None, environ: dict[str, str], expected: str) -> None:
    """Asked for, then MODELOTA_LANG, LC_ALL, LC_MESSAGES, LANG; an empty variable counts as unset."""
    assert pick_language(explicit, environ) == expected
