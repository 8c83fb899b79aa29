"""Every command has help in both languages, and its page in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from modelota.cli.session import Session, begin
from modelota.cli.tree import build, walk
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.texts import texts_for


def _paths() -> list[tuple[str, ...]]:
    begin(Session("en", as_json=False))
    return [path for path, _ in walk(build(), None)]


def test_the_commands_there_are() -> None:
    """The commands that documents and people rely on exist."""
    named = {" ".join(path) for path in _paths()}
    device = "init run check update pause resume cancel rollback status versions log chat"
    assert {f"device {name}" for name in device.split()} | {"device gateway token"} <= named
    repo = "init new publish refresh status audit serve history"
    assert {f"repo {name}" for name in repo.split()} | {"repo key rotate"} <= named
    assert {f"repo control {name}" for name in ("pause", "resume", "withdraw")} <= named
    assert {"conformance", "version"} <= named


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_of_every_command(run: Run, language: Language) -> None:
    """Each page is shown with status 0; in Chinese no English sentence is left on it."""
    for path in _paths():
        ran = run(*path, "--help", "--lang", language)
        assert ran.status == 0
        assert ran.err == ""
        assert "--json" in ran.out
        if language == "zh-CN":
            assert not re.search(r"(?<!-)\b(the|of|is|default)\b(?!-)", ran.out, re.IGNORECASE), ran.out


def test_every_help_text_is_a_message() -> None:
    """Commands, options and arguments all say what they are, in every language."""
    begin(Session("en", as_json=False))
    chinese = texts_for("zh-CN")
    for path, command in walk(build(), None):
        texts = [command.help, *(param.help for param in command.params)]
        for text in texts:
            assert text, path
            assert chinese.say(text) != text, f"{path}: {text}"


@pytest.mark.parametrize("page", ["cli.md", "cli.zh-CN.md"])
def test_every_command_is_documented(repository_root: Path, page: str) -> None:
    """The page has a section for each command."""
    text = (repository_root / "docs" / page).read_text(encoding="utf-8")
    for path in _paths():
        if path:
            assert re.search(rf"^#+ `modelota {' '.join(path)}\b", text, re.MULTILINE), path


def test_the_pages_are_current(repository_root: Path) -> None:
    """The generated pages are what the script would write."""
    script = repository_root / "scripts" / "cli_page.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_starting_is_light() -> None:
    """Help, version and status load neither pydantic nor rich, nor anything of the other rooms."""
    code = (
        "import sys; from modelota.cli.main import main; main(['device', 'status', '--root', '/nowhere', '--json']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'pydantic', 'rich', 'tuf', 'cryptography',"
        "'numpy', 'obstore', 'keyring'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
