"""One process owns a device root; a second one is told who."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelota.errors import TryLater
from modelota.storage.durable import disk_errors
from modelota.storage.owner import require_owner

_HOLDER_BYTES: Final = 32


class RootLock:
    """An advisory lock that the kernel releases when its holder dies, however it dies.

    Args:
        path: the lock file; it stays, only the lock on it counts.

    Raises:
        TryLater: `device-busy` with the holder's process id.
        AskPerson: `root-of-other-user`, `permission-denied`, `no-space`.
    """

    def __init__(self, path: Path) -> None:
        require_owner(path.parent)
        with disk_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, _HOLDER_BYTES, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise TryLater("device-busy", path=str(path.parent), holder=holder or None) from error
        # Written over, not cut first, and not missed when the disk is full: the number is for people, the lock counts.
        with suppress(OSError):
            os.pwrite(self._descriptor, f"{os.getpid():<{_HOLDER_BYTES - 1}}\n".encode(), 0)

    def release(self) -> None:
        """Give the root up."""
        os.close(self._descriptor)
