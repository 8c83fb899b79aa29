"""The only writer: atomic, inside its roots, told to the ledger, honest about what went wrong."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota import faults
from modelota.errors import AskPerson, OurBug, TryLater
from modelota.storage.durable import Disk, free_bytes


class Notes:
    """A ledger that remembers in memory, and checks that it is told before a thing exists."""

    def __init__(self) -> None:
        self.created: list[Path] = []
        self.gone: list[Path] = []

    def will_create(self, path: Path, kind: str) -> None:
        assert kind
        if path not in self.created:
            assert not path.exists(), f"{path} existed before the ledger knew"
        self.created.append(path)

    def removed(self, path: Path) -> None:
        assert not path.exists()
        self.gone.append(path)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def disk(tmp_path: Path, notes: Notes) -> Disk:
    return Disk((tmp_path,), notes)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


def test_write_file_replaces_as_a_whole(disk: Disk, notes: Notes, tmp_path: Path) -> None:
    """A file is replaced in one step, with its mode, and nothing temporary stays."""
    path = tmp_path / "a.json"
    disk.write_file(path, b"one", mode=0o640)
    disk.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path in notes.created


@pytest.mark.parametrize("point", ["durable.write", "durable.fsync", "durable.rename"])
def test_a_failed_write_leaves_the_old_content(disk: Disk, tmp_path: Path, point: str) -> None:
    """Whatever step of a write fails, the old content stays and no temporary file remains."""
    path = tmp_path / "a.json"
    disk.write_file(path, b"old")
    faults.arm(f"{point}@1=ENOSPC")
    with pytest.raises(AskPerson) as caught:
        disk.write_file(path, b"new")
    assert caught.value.code == "no-space"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("name", "branch", "code"),
    [
        ("EIO", TryLater, "disk-error"),
        ("EDQUOT", AskPerson, "no-space"),
        ("EROFS", AskPerson, "permission-denied"),
        ("EACCES", AskPerson, "permission-denied"),
    ],
)
def test_errors_say_what_to_do(disk: Disk, tmp_path: Path, name: str, branch: type, code: str) -> None:
    """Each kind of disk trouble has its code and its branch."""
    faults.arm(f"durable.fsync@1={name}")
    with pytest.raises(branch) as caught:
        disk.write_file(tmp_path / "a", b"x")
    assert caught.value.code == code


def test_nothing_is_written_outside_the_roots(tmp_path: Path, notes: Notes) -> None:
    """A path outside the roots, also through a link inside them, is refused (requirement 5.1-a)."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    disk = Disk((root,), notes)
    for path in (outside / "a", root / "link" / "a", root / ".." / "outside" / "a"):
        with pytest.raises(OurBug):
            disk.write_file(path, b"x")
        with pytest.raises(OurBug):
            disk.remove(path)
    assert list(outside.iterdir()) == []


def test_open_file_follows_no_link(disk: Disk, tmp_path: Path) -> None:
    """A symbolic link in the place of a file is not followed."""
    (tmp_path / "target").write_bytes(b"other")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    with pytest.raises(TryLater):
        disk.open_file(tmp_path / "a")


def test_switch_link_is_one_step(disk: Disk, tmp_path: Path) -> None:
    """The link points to the old target until it points to the new one."""
    link = tmp_path / "current"
    disk.switch_link(link, "slots/one")
    faults.arm("durable.switch@1=EIO")
    with pytest.raises(TryLater):
        disk.switch_link(link, "slots/two")
    assert link.readlink() == Path("slots/one")
    faults.arm("")
    disk.switch_link(link, "slots/two")
    assert link.readlink() == Path("slots/two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["current"]


def test_what_a_kill_leaves_is_in_the_ledger_and_in_nobodys_way(
    disk: Disk, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary files and links are noted before they exist; a link that was left is replaced at the next switch."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        for act in (
            lambda: disk.write_file(tmp_path / "keys.json", b"secret"),
            lambda: disk.switch_link(tmp_path / "current", "slots/a"),
        ):
            with pytest.raises(Killed):
                act()
    left = set(tmp_path.iterdir())
    assert len(left) == 2
    assert left <= set(notes.created)
    disk.switch_link(tmp_path / "current", "slots/b")
    assert (tmp_path / "current").readlink() == Path("slots/b")
    assert len(set(tmp_path.iterdir())) == 2


def test_remove_takes_read_only_trees_and_not_what_links_point_to(disk: Disk, notes: Notes, tmp_path: Path) -> None:
    """A read-only slot is removed whole; a link inside it is removed, its target is not."""
    target = tmp_path / "target"
    target.write_bytes(b"keep me")
    tree = tmp_path / "tree"
    (tree / "files").mkdir(parents=True)
    (tree / "files" / "a").write_bytes(b"x")
    (tree / "files" / "link").symlink_to(target)
    (tree / "files" / "a").chmod(0o444)
    (tree / "files").chmod(0o555)
    disk.remove(tree)
    disk.remove(tree)
    assert not tree.exists()
    assert target.read_bytes() == b"keep me"
    assert tree in notes.gone


def test_free_bytes_of_what_is_not_there_yet(tmp_path: Path) -> None:
    """Free space is told for a path whose directories do not exist yet."""
    assert free_bytes(tmp_path / "a" / "b" / "c") == free_bytes(tmp_path) or free_bytes(tmp_path) is not None
