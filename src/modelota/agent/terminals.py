"""A line on the terminals of those who are logged in, as wall(1) writes it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_DEVICES: Final = Path("/dev")
_TERMINAL: Final = re.compile(r"pts/[0-9]+|tty[0-9]+", re.ASCII)


def tell_terminals(line: str, may_see: Callable[[int], bool], *, devices: Path = _DEVICES) -> int:
    """Write `line` to the terminal that each user used last, unless they want none (mesg(1)).

    Whoever has no terminal, or one that takes nothing now, is not waited for.

    Args:
        line: one line without control characters.
        may_see: whether a user may see notices, by number.
        devices: where terminals lie.

    Returns:
        how many were written to.
    """
    used: dict[int, tuple[float, Path]] = {}
    for path in _terminals(devices):
        with suppress(OSError):
            found = path.lstat()
            # group-writable is what mesg(1) sets; a console that is root's shows a login prompt
            wanted = stat.S_ISCHR(found.st_mode) and found.st_mode & stat.S_IWGRP
            if wanted and not (path.parent == devices and found.st_uid == 0):
                used[found.st_uid] = max(used.get(found.st_uid, (0.0, path)), (found.st_atime, path))
    return sum(_write(path, uid, line) for uid, (_, path) in used.items() if may_see(uid))


def _terminals(devices: Path) -> list[Path]:
    found: list[Path] = []
    for folder in (devices, devices / "pts"):
        with suppress(OSError):
            found += [path for path in folder.iterdir() if _TERMINAL.fullmatch(str(path.relative_to(devices)))]
    return found


def _write(path: Path, uid: int, line: str) -> bool:
    try:
        # not blocking: somebody may have stopped the terminal's output
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # it was closed meanwhile, or is not ours to write to
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISCHR(found.st_mode) or found.st_uid != uid or not os.isatty(descriptor):
            return False
        os.write(descriptor, f"\r\n{line}\r\n".encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
