from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelota.agent.cleaning.reach import directory_of, lstat_at, readable
from modelota.agent.cleaning.walk import Walker


def test_a_directory_that_became_a_link_is_not_entered(tmp_path: Path) -> None:
    """Between being listed and being opened a directory may be swapped for a link: it is counted, not followed."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"1")
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)

    def swap(directory: str, _: os.stat_result) -> None:
        if directory == str(tree):
            (tree / "below").rmdir()
            (tree / "below").symlink_to(tmp_path / "secret")

    walker = Walker(on_directory=swap)
    assert [seen.name for seen in walker.walk(str(tree))] == ["below"]  # the link itself
    assert list(Walker().walk(str(tree / "below"))) == []


def test_a_directory_is_walked_once_and_ends_are_kept(tmp_path: Path) -> None:
    """Mount points end a walk, and what was walked under one path is not walked under another."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1")
    walker = Walker(ends=frozenset({str(tmp_path / "b")}))
    assert [seen.path for seen in walker.walk(str(tmp_path))] == [str(tmp_path / "a" / "file")]
    assert list(walker.walk(str(tmp_path / "a"))) == []
    assert [seen.path for seen in walker.walk(str(tmp_path / "b"))] == [str(tmp_path / "b" / "file")]
    assert walker.directories == 3


def test_no_link_on_the_way_is_followed(tmp_path: Path) -> None:
    """A path through a link, a relative one, and one that goes up lead nowhere."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    with directory_of(str(tmp_path / "real" / "file")) as (directory, name):
        seen = lstat_at(directory, name)
        with readable(directory, name, seen) as descriptor:
            assert os.read(descriptor, 9) == b"1"
    for path in (f"{tmp_path}/link/file", f"{tmp_path}/real/../real/file", "real/file", "/", f"{tmp_path}/real/"):
        with pytest.raises(OSError), directory_of(path):
            pass


def test_a_file_that_was_swapped_is_not_read(tmp_path: Path) -> None:
    """What is opened must be what was looked at, and a pipe is never waited for."""
    (tmp_path / "file").write_bytes(b"1")
    with directory_of(str(tmp_path / "file")) as (directory, name):
        seen = lstat_at(directory, name)
        (tmp_path / "file").unlink()
        os.mkfifo(tmp_path / "file")
        with pytest.raises(OSError, match=r"[Ss]tale"), readable(directory, name, seen):
            pass
