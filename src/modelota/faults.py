"""Named fail points: a listed feature, off unless armed.

Every durable step calls `point("<name>")` just before it takes effect. Unarmed, that is one dictionary look-up.
Armed through the environment variable `MODELOTA_FAULTS`, the n-th passage through a point kills the process or
raises an operating-system error::

    MODELOTA_FAULTS="journal.commit@3=kill"      SIGKILL at the third passage
    MODELOTA_FAULTS="durable.fsync@1=ENOSPC"     OSError(ENOSPC) at the first
    MODELOTA_FAULTS="*@17=kill"                  at the 17th passage through any point
    MODELOTA_FAULTS="fetch.*@2=EIO"              a prefix counts all its points together

A process that reaches an armed passage says so on its standard error first. Several clauses are separated by `;`.
The points are listed in `POINTS` and in `docs/fail-points.md`; a test compares the lists with the code. An unknown name
in the variable is refused loudly: a fault walk that arms nothing proves nothing.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Final

VARIABLE: Final = "MODELOTA_FAULTS"

# name -> what is about to happen
POINTS: Final[dict[str, str]] = {
    "durable.reserve": "disk space is about to be set aside for a file",
    "durable.write": "bytes are about to be written to a temporary or staged file",
    "durable.fsync": "a file is about to be flushed to the disk",
    "durable.rename": "a temporary file is about to take its final name",
    "durable.fsync-dir": "a directory is about to be flushed to the disk",
    "durable.remove": "a file or directory is about to be removed",
    "durable.switch": "the `current` link is about to move: the commit point of an update",
    "journal.commit": "an event and the new state are about to be committed",
    "fetch.frame": "a fetched frame is about to be staged",
    "deploy.chunk": "a verified chunk is about to be written into a slot",
    "deploy.file": "a finished file of a slot is about to be checked as a whole",
    "slot.seal": "a finished slot is about to get its final name",
    "kept.hold": "a sealed chunk of a version that loses its slot is about to be written",
    "kept.prune": "kept chunks that no kept version needs are about to be removed",
    "clean.remove": "a residue is about to be removed",
    "engine.start": "an engine is about to be started",
    "publish.upload": "an object is about to be uploaded to a repository",
    "publish.commit": "the snapshot that makes a release visible is about to be created",
}


class _Clause:
    def __init__(self, text: str) -> None:
        where, _, action = text.partition("=")
        name, _, nth = where.partition("@")
        if action != "kill" and not hasattr(errno, action):
            raise ValueError(f"{VARIABLE}: unknown action {action!r} in {text!r}")
        if not nth.isdigit() or int(nth) < 1:
            raise ValueError(f"{VARIABLE}: no passage number (…@1=…) in {text!r}")
        self.prefix = name.removesuffix("*")
        self.exact = not name.endswith("*")
        if not any(self.matches(known) for known in POINTS):
            raise ValueError(f"{VARIABLE}: no fail point is named {name!r}")
        self.left = int(nth)
        self.action = action

    def matches(self, name: str) -> bool:
        return name == self.prefix if self.exact else name.startswith(self.prefix)

    def pass_through(self, name: str) -> None:
        self.left -= 1
        if self.left != 0:
            return
        os.write(2, f"{VARIABLE}: {self.action} at {name}\n".encode())  # whoever armed it can tell that it was reached
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(getattr(errno, self.action), f"injected at fail point {name}")


def _parse(text: str) -> list[_Clause]:
    return [_Clause(clause.strip()) for clause in text.split(";") if clause.strip()]


_clauses: list[_Clause] = _parse(os.environ.get(VARIABLE, ""))


def arm(text: str) -> None:
    """Arm fail points in this process; an empty text disarms them all.

    Raises:
        ValueError: a clause is malformed or names no known point.
    """
    _clauses[:] = _parse(text)


def point(name: str) -> None:
    """Pass through a fail point.

    Raises:
        OSError: this passage is armed with an error.
        KeyError: the point is not listed in `POINTS` (only checked while something is armed).
    """
    if not _clauses:
        return
    if name not in POINTS:
        raise KeyError(f"unlisted fail point {name!r}")
    for clause in _clauses:
        if clause.matches(name):
            clause.pass_through(name)
