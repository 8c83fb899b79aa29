"""How much storage something takes: allocated blocks, each inode once, no link followed (8.1.1-c)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 512  # the unit of st_blocks, whatever the file system's own is


def allocated_bytes(path: Path) -> int:
    """Allocated bytes of `path` and what is below it; 0 when nothing is there."""
    return sum(inodes(path))


def inodes(path: Path) -> Iterator[int]:
    """Allocated bytes of each inode of `path` and below it, once each; what goes meanwhile counts nothing."""
    seen: set[tuple[int, int]] = set()
    for place in _places(path):
        try:
            found = place.lstat()
        except OSError:  # gone since it was listed
            continue
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield found.st_blocks * _BLOCK_BYTES


def _places(path: Path) -> Iterator[Path]:
    yield path
    if path.is_symlink():  # os.walk follows the one it is given
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield Path(folder) / name
