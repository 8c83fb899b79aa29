"""Which file systems are local and hold files that could be removed (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from modelota.agent.cleaning.plan import NotLookedAt, path_text

MOUNTINFO_MAX_BYTES: Final = 16 << 20
LOCAL: Final = frozenset({
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs", "minix", "msdos",
    "nilfs2", "ntfs", "ntfs3", "ramfs", "reiserfs", "tmpfs", "ubifs", "udf", "vfat", "xfs", "zfs",
})  # fmt: skip
NETWORK: Final = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb3", "smbfs", "virtiofs",
})  # fmt: skip
# Images are read-only by nature; the rest holds no files of anyone, or, as overlays, those of other mounts once more.
FOREIGN: Final = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cramfs", "debugfs", "devpts", "devtmpfs",
    "efivarfs", "erofs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "overlay", "proc", "pstore", "romfs",
    "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "squashfs", "sysfs", "tracefs",
})  # fmt: skip


@dataclass(frozen=True)
class Mounts:
    """What is mounted.

    Attributes:
        starts: where to walk: one mount of each local file system, or of each part of it that is mounted by itself.
        points: every mount point; a walk ends there.
        left_out: what holds files but is not walked.
    """

    starts: tuple[str, ...]
    points: frozenset[str]
    left_out: tuple[NotLookedAt, ...]


@dataclass(frozen=True)
class _Mount:
    device: str
    root: str
    point: str
    options: frozenset[str]
    type: str


def read_mounts(path: Path = Path("/proc/self/mountinfo")) -> Mounts:
    """Read what is mounted where.

    Raises:
        OSError: the table cannot be read.
    """
    with path.open("rb") as file:
        lines = file.read(MOUNTINFO_MAX_BYTES).splitlines()
    mounts = {mount.point: mount for line in lines if (mount := _parse(line)) is not None}  # the topmost counts
    left_out = [
        NotLookedAt(path=path_text(mount.point), type=mount.type[:64], reason=reason)
        for mount in mounts.values()
        if (reason := _reason(mount)) is not None
    ]
    local = [mount for mount in mounts.values() if _is_walked(mount)]
    return Mounts(_once(local), frozenset(mounts), tuple(left_out))


def only_below(directory: Path, mounts: Mounts) -> Mounts:
    """Walk nothing but `directory` and what lies below it on the same file system."""
    return Mounts((str(directory.resolve()),), mounts.points, ())


def _parse(line: bytes) -> _Mount | None:
    before, _, after = line.partition(b" - ")
    fields, rest = before.split(b" "), after.split(b" ")
    if len(fields) < 6 or len(rest) < 2:
        return None
    options = set(os.fsdecode(fields[5]).split(","))
    if len(rest) > 2:
        options |= {option for option in os.fsdecode(rest[2]).split(",") if option == "ro"}
    return _Mount(
        os.fsdecode(fields[2]), _unescape(fields[3]), _unescape(fields[4]), frozenset(options), os.fsdecode(rest[0])
    )


def _unescape(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 255]), field))


def _is_walked(mount: _Mount) -> bool:
    if mount.type == "overlay":
        return mount.point == "/" and "ro" not in mount.options  # the root of a live or container system
    return mount.type in LOCAL and "ro" not in mount.options


def _reason(mount: _Mount) -> Literal["network", "read-only", "unknown-type"] | None:
    if mount.type in NETWORK or mount.type.startswith(("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gvfs")):
        return "network"
    if mount.type in LOCAL:
        return "read-only" if "ro" in mount.options else None
    return None if mount.type in FOREIGN else "unknown-type"


def _once(mounts: list[_Mount]) -> tuple[str, ...]:
    """Of several mounts of one file system those that are not part of another: a bind mount shows files again."""
    chosen: list[_Mount] = []
    for mount in sorted(mounts, key=lambda each: (len(each.root), len(each.point))):
        covered = (
            mount.device == other.device
            and (mount.root == other.root or mount.root.startswith(f"{other.root.rstrip('/')}/"))
            for other in chosen
        )
        if not any(covered):
            chosen.append(mount)
    return tuple(sorted(mount.point for mount in chosen))
