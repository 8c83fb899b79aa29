"""The autostart entry: valid, known to the ledger before it is there, and taken away again."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from modelota import faults
from modelota.agent.autostart import Autostart, entry_text, install, remove
from modelota.agent.enrol import enrol, open_journal
from modelota.clock import SystemClock
from modelota.content.digest import digest_bytes
from modelota.errors import AskPerson, TryLater
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.storage.layout import Layout

VALIDATE = shutil.which("desktop-file-validate")


@pytest.fixture(scope="module")
def enrolment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("vendor")
    init(place / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    return place / "enroll.toml"


@pytest.fixture
def root(enrolment: Path, tmp_path: Path) -> Path:
    place = tmp_path / "root"
    enrol(enrolment, place, SystemClock())
    return place


def rows(root: Path) -> dict[str, str | None]:
    journal = open_journal(Layout(root), SystemClock())
    try:
        return {row.path: row.digest for row in journal.records.ledger_rows() if row.kind.startswith("desktop")}
    finally:
        journal.close()


def test_it_is_in_the_ledger_and_goes_again(root: Path, tmp_path: Path) -> None:
    """Entry and directories have rows; removing leaves the place as it was, and nothing in the ledger."""
    autostart = Autostart(tmp_path / "config" / "autostart")
    entry = install(root, autostart, SystemClock())
    assert entry == autostart.directory / "modelota-notify.desktop"
    assert entry.stat().st_mode & 0o777 == 0o644
    assert rows(root) == {
        str(tmp_path / "config"): None,
        str(autostart.directory): None,
        str(entry): digest_bytes(entry.read_bytes()),
    }
    assert install(root, autostart, SystemClock()) == entry
    assert remove(root, SystemClock()) == (entry, autostart.directory, tmp_path / "config")
    assert not (tmp_path / "config").exists()
    assert rows(root) == {}
    assert remove(root, SystemClock()) == ()


def test_what_is_somebody_elses_stays(root: Path, tmp_path: Path) -> None:
    """A file that was there is not written over, one that was changed is not removed, other entries are left."""
    directory = tmp_path / "autostart"
    directory.mkdir()
    (directory / "modelota-notify.desktop").write_text("mine")
    with pytest.raises(AskPerson, match="file-exists"):
        install(root, Autostart(directory), SystemClock())
    entry = install(root, Autostart(directory), SystemClock(), name="second")
    entry.write_text("changed")
    with pytest.raises(AskPerson, match="service-changed"):
        remove(root, SystemClock())
    with pytest.raises(AskPerson, match="argument-invalid"):
        install(root, Autostart(directory), SystemClock(), name="../evil")
    entry.unlink()
    assert remove(root, SystemClock()) == ()
    assert [path.name for path in directory.iterdir()] == ["modelota-notify.desktop"]


@pytest.mark.parametrize("point", ["durable.write", "durable.fsync", "durable.rename", "durable.fsync-dir"])
def test_interrupted_it_goes_on(root: Path, tmp_path: Path, point: str) -> None:
    """Ended at any point, the next call finishes, and removing finds all of it."""
    autostart = Autostart(tmp_path / "config" / "autostart")
    faults.arm(f"{point}@1=EIO")
    try:
        with pytest.raises(TryLater, match="disk-error"):
            install(root, autostart, SystemClock())
    finally:
        faults.arm("")
    install(root, autostart, SystemClock())
    remove(root, SystemClock())
    assert not [path for path in (tmp_path / "config").rglob("*") if path.suffix == ".desktop"]


@pytest.mark.parametrize("name", ["plain", 'with space, 50% "quoted", $money, \\ and `; — 模型'])
def test_the_entry_runs_what_it_should(tmp_path: Path, name: str) -> None:
    """Whatever the root is called, the command is what was meant, by the rules of the specification."""
    program = tmp_path / name / "modelota"
    text = entry_text(tmp_path / name, (str(program), "device", "notify", "--root", str(tmp_path / name)))
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  keys keep their case
    parser.read_string(text)
    value = parser["Desktop Entry"]["Exec"].replace("\\\\", "\\")
    assert arguments(value) == [str(program), "device", "notify", "--root", str(tmp_path / name)]
    assert parser["Desktop Entry"]["TryExec"].replace("\\\\", "\\") == str(program)
    if VALIDATE is not None:
        entry = tmp_path / "modelota-notify.desktop"
        entry.write_text(text)
        checked = subprocess.run([VALIDATE, str(entry)], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def arguments(value: str) -> list[str]:
    """The arguments in a value of the Exec key, read as the specification says."""
    found, word, is_quoted, letters = [], "", False, iter(value)
    for letter in letters:
        if letter == '"':
            is_quoted = not is_quoted
        elif letter == "\\" and is_quoted:
            word += next(letters)
        elif letter == " " and not is_quoted:
            found.append(word)
            word = ""
        else:
            word += letter
    return [text.replace("%%", "%") for text in (*found, word)]


def test_a_path_with_a_line_break_is_refused() -> None:
    """No path writes a key of its own into the entry."""
    with pytest.raises(AskPerson, match="argument-invalid"):
        entry_text(Path("/a\nExec=/bin/sh"), ("/bin/true",))


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's place, or the user's, wherever that is set to be; a relative setting is none."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Autostart.of("system").directory == Path("/etc/xdg/autostart")
    assert Autostart.of("user", {"XDG_CONFIG_HOME": str(tmp_path)}).directory == tmp_path / "autostart"
    assert Autostart.of("user", {"XDG_CONFIG_HOME": "x"}).directory == Path("/home/somebody/.config/autostart")
