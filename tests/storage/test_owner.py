"""Root does not work in another user's device root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelota.agent.enrol import enrol, open_journal
from modelota.agent.service import Systemd, install, remove
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.storage.layout import Layout
from modelota.storage.lock import RootLock
from modelota.storage.owner import acting_as_owner, require_owner, user_name

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
OTHER = 54_321


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A device root of another user."""
    init(tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    root = tmp_path / "root"
    enrol(tmp_path / "enroll.toml", root, SystemClock())
    for path in (root, *root.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0 and folder.owner() == "root":
            folder.chmod(0o711)
    return root


def strangers(root: Path) -> list[str]:
    """What in the root does not belong to its owner."""
    return [str(path) for path in (root, *root.rglob("*")) if path.lstat().st_uid != OTHER]


@needs_root
def test_root_is_told_to_be_the_owner(foreign: Path, tmp_path: Path) -> None:
    """Database, lock, enrolment and the agent's own commands are refused, and leave nothing behind."""
    with pytest.raises(AskPerson) as caught:
        require_owner(foreign)
    assert (caught.value.code, caught.value.params["user"]) == ("root-of-other-user", str(OTHER))
    before = sorted(foreign.rglob("*"))
    for call in (
        lambda: open_journal(Layout(foreign), SystemClock()),
        lambda: RootLock(foreign / "agent.lock"),
        lambda: enrol(tmp_path / "enroll.toml", foreign, SystemClock()),
    ):
        with pytest.raises(AskPerson, match="root-of-other-user"):
            call()
    for words in (["status"], ["run"], ["rekey", "--from", str(tmp_path / "enroll.toml")]):
        command = [sys.executable, "-P", "-m", "modelota.cli.main", "device", *words, "--root", str(foreign)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, "root-of-other-user" in done.stderr) == (64, True), done.stderr
    assert sorted(foreign.rglob("*")) == before
    assert not strangers(foreign)


@needs_root
def test_a_service_for_another_user(foreign: Path, tmp_path: Path) -> None:
    """Root installs the unit; it runs as the owner, whose files stay the owner's."""
    systemd = Systemd("system", tmp_path / "units", running=False)
    done = install(foreign, systemd, SystemClock())
    assert f"\nUser={user_name(OTHER)}\n" in done.unit.read_text()
    assert done.unit.stat().st_uid == 0
    remove(foreign, SystemClock(), systemd)
    assert not strangers(foreign)
    assert os.geteuid() == 0


@needs_root
def test_acting_ends_with_its_block(foreign: Path) -> None:
    """Inside, this process is the owner; outside it is root again, whatever happened."""
    with pytest.raises(ValueError, match="x"), acting_as_owner(foreign):
        assert (os.geteuid(), os.getegid()) == (OTHER, OTHER)
        raise ValueError("x")
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_the_owner_may(tmp_path: Path) -> None:
    """One's own directory, and one that is not there yet, are fine."""
    require_owner(tmp_path)
    require_owner(tmp_path / "later")
    with acting_as_owner(tmp_path):
        (tmp_path / "file").touch()
