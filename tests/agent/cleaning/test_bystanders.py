from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelota.agent.cleaning.bystanders import OpenFiles, Packages, in_store
from modelota.agent.cleaning.plan import path_of, path_text
from modelota.agent.cleaning.system import System, run_idle


def test_this_systems_packages_own_their_files() -> None:
    """Where there is dpkg, a program of the system is owned by its package, also by its name before /usr was merged."""
    packages = Packages()
    if not Path("/var/lib/dpkg/info").is_dir():
        pytest.skip("no dpkg here")
    shell = str(Path("/bin/sh").parent.resolve() / "sh")
    assert packages.owned([shell, "/tmp/sh", "/nowhere"]) == {shell}


def test_no_database_owns_nothing(tmp_path: Path) -> None:
    """Without dpkg nothing is owned, and nothing is asked when there is nothing to ask about."""
    assert Packages(tmp_path).owned(["/bin/sh"]) == set()
    assert Packages(tmp_path).owned([]) == set()


def test_the_own_process_does_not_count(tmp_path: Path) -> None:
    """What this process has open is its own business."""
    path = tmp_path / "file"
    path.write_bytes(b"1")
    with path.open("rb"):
        found = path.stat()
        assert not OpenFiles().has(found.st_dev, found.st_ino)


def test_other_peoples_processes_are_counted(tmp_path: Path) -> None:
    """A process into which one may not look is counted; one that ended meanwhile is not."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2" / "fd").mkdir(parents=True)
    (tmp_path / "self").mkdir()
    files = OpenFiles(tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "2" / "fd").chmod(0)
    assert not files.has(1, 1)
    assert files.unseen == (0 if os.geteuid() == 0 else 1)
    (tmp_path / "2" / "fd").chmod(0o700)


def test_open_files_are_looked_up_again_when_they_are_old(tmp_path: Path) -> None:
    """The picture of open files is at most a second old."""
    now, process = [0.0], tmp_path / "proc" / "7" / "fd"
    process.mkdir(parents=True)
    target = tmp_path / "file"
    target.write_bytes(b"")
    files = OpenFiles(tmp_path / "proc", lambda: now[0])
    key = target.stat().st_dev, target.stat().st_ino
    assert not files.has(*key)
    (process / "3").symlink_to(target)
    assert not files.has(*key)
    now[0] = 1.5
    assert files.has(*key)


def test_stores_are_known_by_their_place() -> None:
    """A store is a directory on the way, not a part of a name."""
    assert in_store("/home/u/.cache/huggingface/hub/x")
    assert not in_store("/home/u/huggingface/x")
    assert not in_store("/home/u/x.cache/huggingface-notes")


@pytest.mark.parametrize("raw", [b"/a/b", b"/a\\x41", b"/\xff\xfe", "/名字".encode(), b"/two\nlines\\", b"/\\\\xff"])
def test_every_path_survives_as_text(raw: bytes) -> None:
    """What a plan shows leads back to exactly the same name."""
    path = os.fsdecode(raw)
    text = path_text(path)
    assert path_of(text) == path
    text.encode("utf-8")


def test_scans_yield_to_everybody() -> None:
    """Work at idle priority leaves the caller's priority alone, and its errors reach the caller."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen = run_idle(lambda: os.getpriority(os.PRIO_PROCESS, 0))
    assert seen == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    with pytest.raises(ZeroDivisionError):
        run_idle(lambda: 1 // 0)


def test_the_systems_own_defaults_work() -> None:
    """The real system can be asked."""
    assert System().mounts().starts
