"""Entries of POSIX access control lists, as the kernel keeps them (acl(5), `linux/posix_acl_xattr.h`)."""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

_ATTRIBUTE: Final = "system.posix_acl_access"
_VERSION: Final = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ENTRY: Final = struct.Struct("<HHI")
_NAMED: Final = {"user": _USER, "group": _GROUP}


class AclEntry(NamedTuple):
    """One entry: what kind it is, what it permits (4 read, 2 write, 1 execute), and for which user or group."""

    tag: int
    permissions: int
    number: int


def read_acl(path: str) -> tuple[AclEntry, ...]:
    """The access control list of a file; empty when it has none beyond its mode.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = os.getxattr(path, _ATTRIBUTE)
    except OSError as error:
        if error.errno in {61, 95}:  # ENODATA, EOPNOTSUPP: no list
            return ()
        raise
    if len(data) < 4 or int.from_bytes(data[:4], "little") != _VERSION or (len(data) - 4) % _ENTRY.size:
        return ()
    return tuple(AclEntry(*fields) for fields in _ENTRY.iter_unpack(data[4:]))


def write_acl(path: str, entries: tuple[AclEntry, ...]) -> None:
    """Replace the access control list of a file.

    Raises:
        OSError: it cannot be written.
    """
    packed = b"".join(_ENTRY.pack(*entry) for entry in sorted(entries, key=lambda each: (each.tag, each.number)))
    os.setxattr(path, _ATTRIBUTE, _VERSION.to_bytes(4, "little") + packed)


def named(kind: str, number: int, permissions: int) -> AclEntry:
    """The entry that permits a `user` or a `group` something.

    Raises:
        KeyError: another kind.
    """
    return AclEntry(_NAMED[kind], permissions, number)


def without(entries: tuple[AclEntry, ...], removed: AclEntry) -> tuple[AclEntry, ...]:
    """The list without one entry; with the last named entry the mask goes, otherwise it covers what is left."""
    rest = [entry for entry in entries if entry != removed and entry.tag != _MASK]
    covered = [entry.permissions for entry in rest if entry.tag in {_USER, _GROUP, _GROUP_OBJ}]
    if any(entry.tag in {_USER, _GROUP} for entry in rest):
        mask = 0
        for permissions in covered:
            mask |= permissions
        before = next((entry.permissions for entry in entries if entry.tag == _MASK), 7)
        rest.append(AclEntry(_MASK, mask & before, 0xFFFFFFFF))
    return tuple(rest)


def with_entry(mode: int, entries: tuple[AclEntry, ...], added: AclEntry) -> tuple[AclEntry, ...]:
    """The list, or the one that `mode` stands for, with one entry more."""
    nobody = 0xFFFFFFFF
    base = entries or (
        AclEntry(_USER_OBJ, mode >> 6 & 7, nobody),
        AclEntry(_GROUP_OBJ, mode >> 3 & 7, nobody),
        AclEntry(_OTHER, mode & 7, nobody),
    )
    rest = [entry for entry in base if entry.tag != _MASK] + [added]
    mask = 0
    for entry in rest:
        mask |= entry.permissions if entry.tag in {_USER, _GROUP, _GROUP_OBJ} else 0
    return (*rest, AclEntry(_MASK, mask, nobody))
