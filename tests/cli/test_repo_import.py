"""Importing a model from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Run


@pytest.fixture
def trial(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace for trying out, in the usual place below the present directory."""
    monkeypatch.chdir(tmp_path)
    assert run("repo", "init", "--dev").status == 0
    return tmp_path


def test_import_tells_what_the_files_say(run: Run, trial: Path, family: Path) -> None:
    """Text for a person, the same facts in JSON, and a draft that only lacks its notes."""
    told = run("repo", "import", str(family / "1.1.1"))
    assert told.status == 0
    assert "q4_k_m" in told.out
    assert "apache-2.0" in told.out
    assert "256 tokens" in told.out
    assert (trial / "1.1.1" / "release.toml").is_file()
    assert run("repo", "import", str(family / "1.1.1"), "--json").json["error"]["code"] == "repository-exists"
    ran = run("repo", "import", str(family / "1.1.1" / "assistant-q8.gguf"), "--directory", "more", "--json").json
    assert ran["kind"] == "gguf"
    assert ran["variants"][0]["facts"]["parameters"] == 1_344_768
    draft = Path(ran["description"])
    assert "notes" in run("repo", "publish", str(draft), "--dry-run").err
    text = draft.read_text(encoding="utf-8").replace('zh-CN = ""', 'zh-CN = "有"').replace('en = ""', 'en = "is"')
    draft.write_text(text, encoding="utf-8")
    assert run("repo", "publish", str(draft), "--dry-run").status == 0


def test_what_is_no_model(run: Run, trial: Path) -> None:
    """The refusal says what is wrong with the place, in words."""
    (trial / "empty").mkdir()
    ran = run("repo", "import", "empty")
    assert ran.status == 64
    assert "cannot be imported" in ran.err
    assert "no GGUF file" in ran.err
