"""The secret of this device from which the keys of everything it seals for itself are derived.

Without it, nothing that was sealed opens again: kept versions and sealed slots are then fetched anew, and copies of
the user's data are lost. It leaves the device in no backup and no report.
"""

from __future__ import annotations

import hmac
import secrets
import stat
from typing import Final

from modelota.errors import AskPerson
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout

SECRET_BYTES: Final = 32


def local_secret(layout: Layout, disk: Disk) -> bytes:
    """The secret of a device root, made at its first use: `<root>/keys/local-seal.key`, 0600, 32 random bytes.

    A file of another length is what a failing disk left, and is replaced: what it sealed is lost either way.

    Raises:
        AskPerson: `root-not-private` when others could read it, `permission-denied`, `no-space`.
        TryLater: `disk-error`.
    """
    path = layout.seal_secret
    with disk_errors(path):
        try:
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise AskPerson("root-not-private", path=str(path), mode=oct(stat.S_IMODE(mode)))
            with path.open("rb") as file:
                secret = file.read(SECRET_BYTES + 1)
        except FileNotFoundError:
            secret = b""
    if len(secret) != SECRET_BYTES:
        secret = secrets.token_bytes(SECRET_BYTES)
        disk.make_directory(path.parent, mode=0o700)
        disk.write_file(path, secret, mode=0o600, kind="sealing secret")
    return secret


def slot_secret(secret: bytes, model: str, slot: SlotId) -> bytes:
    """The secret of one sealed slot: all that its engine is given, so that it opens nothing else.

    HMAC-SHA256 (RFC 2104) under the device's secret of a name that no other use has.
    """
    return hmac.digest(secret, f"modelota slot, format 1\n{model}\n{slot.name}".encode(), "sha256")
