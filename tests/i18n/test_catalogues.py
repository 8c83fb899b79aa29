"""Catalogues and generated pages are in step with the code."""

from __future__ import annotations

import itertools
import string
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from modelota.i18n.texts import DOMAIN, LOCALES

ROOT = Path(__file__).resolve().parents[2]
PO = LOCALES / "zh_CN" / "LC_MESSAGES" / f"{DOMAIN}.po"


def _names(text: str) -> list[str]:
    return sorted({name for _, name, _, _ in string.Formatter().parse(text) if name is not None})


@pytest.mark.parametrize("script", [["messages.py", "check"], ["errors_page.py", "--check"]])
def test_scripts_would_change_nothing(script: list[str]) -> None:
    """Every message of the code is in the .po file and translated, the .mo matches it, docs/errors is current."""
    command = [sys.executable, str(ROOT / "scripts" / script[0]), *script[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr


def test_translations_have_the_same_places() -> None:
    """A translation fills the places its message has, and no other."""
    with PO.open("rb") as file:
        catalog = read_po(file, locale="zh_CN", domain=DOMAIN)
    for message in catalog:
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in strings:
            assert _names(text) == _names(ids[-1]), f"{ids[0]!r} -> {text!r}"


def test_chinese_is_typeset_as_chinese() -> None:
    """Chinese sentences use full-width punctuation, and a space between Chinese and Latin text."""
    with PO.open("rb") as file:
        catalog = read_po(file, locale="zh_CN", domain=DOMAIN)
    for message in catalog:
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in strings:
            if message.id and any("\u4e00" <= char <= "\u9fff" for char in text):
                assert not any(mark in text for mark in (",", ";", "?", "!", "(", ")")), text
                assert not text.endswith("."), text
                for left, right in itertools.pairwise(text):
                    chinese, latin = "\u4e00" <= left <= "\u9fff", right.isascii() and right.isalnum()
                    assert not (chinese and latin), text
                    latin, chinese = left.isascii() and left.isalnum(), "\u4e00" <= right <= "\u9fff"
                    assert not (chinese and latin), text
