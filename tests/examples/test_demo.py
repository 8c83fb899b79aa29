"""`make demo` tells its story, in both languages, and does not tell it when it is not true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

TIMEOUT_S = 280
KEY_LINES = {
    "en": [
        "2 inches are 4.90 centimetres.",
        "Assistant 1.1.2 is available",
        "[checked: 1.1.2 is in use]",
        "2 inches are 5.08 centimetres.",
        "The repository is sound.",
        "[checked: 1.1.2 stays in use; the error is self-test-failed]",
        "[checked: 1.1.1 is in use]",
        "$ modelota device log",
        "The end, after",
    ],
    "zh": [
        "2英寸等于4.90厘米。",
        "修正英寸与厘米的换算",
        "［已核对：正在使用 1.1.2］",
        "2英寸等于5.08厘米。",
        "［已核对：仍在使用 1.1.2，错误代码是 self-test-failed］",
        "［已核对：正在使用 1.1.1］",
        "$ modelota device log",
        "完。共",
    ],
}


def demo(repository_root: Path, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repository_root / "scripts/demo.py"), "--short", "--directory", str(directory), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that name `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(directory) in line:
                found.append(line)
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_story_comes_true(repository_root: Path, tmp_path: Path, language: str) -> None:
    """Every step does what the story says, in order, and no process outlives it."""
    result = demo(repository_root, tmp_path / "demo", "--lang", language)
    assert result.returncode == 0, result.stdout
    place = 0
    for line in KEY_LINES[language]:
        assert line in result.stdout[place:], f"{line!r} is missing after {place}:\n{result.stdout}"
        place = result.stdout.index(line, place)
    assert processes_of(tmp_path) == []


def test_a_directory_of_somebody_else_is_left_alone(repository_root: Path, tmp_path: Path) -> None:
    """The demo empties only what an earlier demo made."""
    (tmp_path / "letter.txt").write_text("dear reader")
    result = demo(repository_root, tmp_path)
    assert result.returncode == 1
    assert (tmp_path / "letter.txt").read_text() == "dear reader"


def test_both_languages_say_the_same_things(repository_root: Path) -> None:
    """Every sentence exists in both languages, with the same places to fill."""
    code = (
        "import string; from demo_texts import TEXTS\n"
        "fields = lambda text: sorted(f for _, f, _, _ in string.Formatter().parse(text) if f)\n"
        "en, zh = TEXTS['en'], TEXTS['zh-CN']\n"
        "assert list(en) == list(zh), set(en) ^ set(zh)\n"
        "assert all(fields(en[key]) == fields(zh[key]) for key in en)\n"
        "assert not any(en[key] == zh[key] for key in en)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository_root / "scripts", check=True, timeout=60)
