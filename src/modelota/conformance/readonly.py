"""Start a command that can write below one directory only: `python readonly.py DIR COMMAND …`.

Runs in a mount namespace of its own (`unshare -m`, or `unshare -rm` without privileges) and remounts everything outside
DIR read-only there. It then tries to write beside DIR: only when the kernel refuses that is the command started, so a
sandbox that is not tight is never taken for one that is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

NOT_TIGHT: Final = 97  # exit status: the sandbox could not be made

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_KEPT: Final = {"nosuid": _MS_NOSUID, "nodev": _MS_NODEV, "noexec": _MS_NOEXEC}
# Views of the kernel, not places where data is kept.
_KERNEL: Final = frozenset(
    {
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs", "bpf", "configfs",
        "pstore", "efivarfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "rpc_pipefs", "nsfs",
    }
)  # fmt: skip


def prefix_for(writable: Path) -> list[str] | None:
    """The words to put before a command so that it can write below `writable` only; None where that is not possible."""
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return None
    for namespaces in ("-m", "-rm"):  # with the privilege to mount, or as root of a user namespace of one's own
        prefix = [unshare, namespaces, sys.executable, "-P", __file__, str(writable)]
        tried = subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=60)  # noqa: S603  fixed words
        if tried.returncode == 0:
            return prefix
    return None


def main() -> None:
    """Make the sandbox, prove it, become the command."""
    writable, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    try:
        _mount("none", "/", _MS_REC | _MS_PRIVATE)
        _mount(str(writable), str(writable), _MS_BIND | _MS_REC)
        for place, kind, flags in _mounts():
            if kind not in _KERNEL and place != writable and writable not in place.parents:
                _mount("none", str(place), _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
        _prove(writable.parent)
    except OSError as error:
        sys.stderr.write(f"no read-only surroundings: {error}\n")
        sys.exit(NOT_TIGHT)
    os.execvp(command[0], command)  # noqa: S606  that is its purpose


def _mount(source: str, target: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def _mounts() -> list[tuple[Path, str, int]]:
    """Place, kind and kept flags of every mount (proc_pid_mountinfo(5))."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        flags = sum(bit for name, bit in _KEPT.items() if name in fields[5].split(","))
        found.append((Path(place), after.split()[0], flags))
    return found


def _prove(outside: Path) -> None:
    """Try to write outside.

    Raises:
        OSError: it was not refused as it should be.
    """
    probe = outside / ".written-outside"
    try:
        probe.touch()
    except OSError as error:
        if error.errno == errno.EROFS:
            return
        raise
    probe.unlink()
    raise OSError(errno.EPERM, f"{outside} can still be written")


if __name__ == "__main__":
    main()
