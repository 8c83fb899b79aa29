"""Whose a device root is: files in it are made by that user and no other, also when root calls."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelota.errors import AskPerson
from modelota.storage.durable import disk_errors


def user_name(uid: int) -> str:
    """The name of a user; its number where this system knows no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def require_owner(root: Path) -> None:
    """Check that root does not work in another user's device root: it would leave files that this user cannot change.

    Other users than root and the owner do not get in at all: a device root is private.

    Raises:
        AskPerson: `root-of-other-user` with the user to become; `permission-denied`.
        TryLater: `disk-error`.
    """
    if os.geteuid() != 0:
        return
    with disk_errors(root):
        try:
            owner = root.stat().st_uid
        except FileNotFoundError:
            return
    if owner != 0:
        raise AskPerson("root-of-other-user", path=str(root), user=user_name(owner))


@contextmanager
def acting_as_owner(root: Path) -> Iterator[None]:
    """Work as the owner of `root` inside the block: for the few commands that need root's rights for something else.

    Only effective ids change, so that they can be taken back; the process must have no other threads at work.
    """
    with disk_errors(root):
        owner = root.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
