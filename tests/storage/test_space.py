"""How much storage something takes."""

from __future__ import annotations

import os
from pathlib import Path

from modelota.storage.space import allocated_bytes, inodes


def test_blocks_count_and_each_inode_once(tmp_path: Path) -> None:
    """A sparse file takes what is allocated, a hard link nothing, and a link is not followed."""
    (tmp_path / "tree").mkdir()
    full = tmp_path / "tree" / "full"
    full.write_bytes(os.urandom(1 << 20))
    taken = allocated_bytes(tmp_path / "tree")
    assert taken >= 1 << 20
    (tmp_path / "tree" / "again").hardlink_to(full)
    with (tmp_path / "tree" / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(os.urandom(1 << 20))
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "elsewhere")
    assert allocated_bytes(tmp_path / "tree") - taken < 1 << 16
    assert allocated_bytes(tmp_path / "tree" / "link") < 1 << 16
    assert len(list(inodes(tmp_path / "tree"))) == 4  # the directory, the file, the sparse one, the link


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    """A path that is gone counts nothing, and is no error."""
    assert allocated_bytes(tmp_path / "gone") == 0
