"""Whose else a file may be: a package's, another application's, or of a process that has it open."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

LINE_MAX_BYTES: Final = 16 * 1024
OPEN_FILES_FRESH_S: Final = 1.0

# Where other applications keep models and copies of files: a match means that the copy may be in use there, not ours.
_STORES: Final = (
    ".cache/huggingface", ".cache/torch", ".cache/modelscope", ".cache/lm-studio", ".cache/gpt4all", ".cache/llama.cpp",
    ".lmstudio", ".ollama", ".modelscope", "ollama/models", ".local/share/nomic.ai", ".local/share/gpt4all",
    ".config/Jan", ".local/share/Jan", "jan/models", "text-generation-webui", "ComfyUI/models", "koboldcpp",
    "var/lib/docker", "var/lib/containers", "var/lib/containerd", ".local/share/containers", "var/lib/flatpak",
    ".local/share/flatpak", ".var/app", "var/lib/snapd", "var/lib/lxc", "var/lib/machines", "var/lib/libvirt",
    "usr/share/ollama", "gnu/store", "nix/store", "ostree/repo", ".git/lfs", ".git/annex", ".git/objects", ".dvc/cache",
    ".snapshots", "timeshift/snapshots",
)  # fmt: skip
_STORE_PARTS: Final = tuple(f"/{store}/" for store in _STORES)

# Places where packages install, and the databases that only their own programs read.
_PACKAGE_PLACES: Final = ("/bin/", "/boot/", "/etc/", "/lib", "/opt/", "/sbin/", "/srv/", "/usr/")
_OTHER_DATABASES: Final = ("var/lib/rpm", "usr/lib/sysimage/rpm", "var/lib/pacman/local", "lib/apk/db/installed")


def in_store(path: str) -> bool:
    """Whether a file lies where another application keeps models or copies."""
    return any(part in path for part in _STORE_PARTS)


class Packages:
    """Which files belong to packages, from dpkg's lists (dpkg-query(1)) and its diversions.

    The databases of rpm, pacman and apk are not read: where there is one, `can_tell` is False for every path at which
    packages install.

    Args:
        dpkg: dpkg's administrative directory.
        root: below which the other databases would lie.
    """

    def __init__(self, dpkg: Path = Path("/var/lib/dpkg"), root: Path = Path("/")) -> None:
        self._dpkg = dpkg
        self._others = any((root / place).exists() for place in _OTHER_DATABASES)

    def can_tell(self, path: str) -> bool:
        """Whether the answer of `owned` for `path` is the whole truth."""
        return not (self._others and path.startswith(_PACKAGE_PLACES))

    def owned(self, paths: Collection[str]) -> set[str]:
        """Those of `paths` that a package installed or diverted; links in directories are resolved (merged /usr).

        Raises:
            OSError: dpkg's lists are there and cannot be read.
        """
        wanted: dict[bytes, set[str]] = {}
        for path in paths:
            wanted.setdefault(_name(os.fsencode(path)), set()).add(path)
        found: set[str] = set()
        if not wanted:
            return found
        for line in self._lines():
            same_name = wanted.get(_name(line))
            if same_name:
                owned = Path(os.fsdecode(line))
                found |= same_name & {str(owned), str(owned.parent.resolve() / owned.name)}
        return found

    def _lines(self) -> Iterator[bytes]:
        information = self._dpkg / "info"
        lists = sorted(information.glob("*.list")) if information.is_dir() else []
        diversions = self._dpkg / "diversions"
        for file in [*lists, *([diversions] if diversions.is_file() else [])]:
            with file.open("rb") as lines:
                while line := lines.readline(LINE_MAX_BYTES):
                    yield line.rstrip(b"\n")


def _name(path: bytes) -> bytes:
    return path[path.rfind(b"/") + 1 :]


class OpenFiles:
    """Which files processes have open or mapped (proc_pid_fd(5), proc_pid_maps(5)); this process does not count.

    Without the right to look into a process of another user its files are not seen; `unseen` says how many there are.
    """

    def __init__(self, proc: Path = Path("/proc"), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._monotonic = monotonic
        self._read_at: float | None = None
        self._open: set[tuple[int, int]] = set()
        self.unseen = 0

    def has(self, device: int, inode: int) -> bool:
        """Whether some process uses the file; looked up at most `OPEN_FILES_FRESH_S` ago."""
        now = self._monotonic()
        if self._read_at is None or now - self._read_at > OPEN_FILES_FRESH_S:
            self._open, self.unseen = set(), 0
            for process in self._processes():
                self._add(process)
            self._read_at = self._monotonic()
        return (device, inode) in self._open

    def _processes(self) -> Iterable[Path]:
        own = str(os.getpid())
        return [entry for entry in self._proc.iterdir() if entry.name.isdigit() and entry.name != own]

    def _add(self, process: Path) -> None:
        try:
            descriptors = list((process / "fd").iterdir())
        except PermissionError:
            self.unseen += 1
            return
        except OSError:  # it ended
            return
        for link in [*descriptors, process / "exe", process / "cwd"]:
            try:
                information = link.stat()
            except OSError:  # closed meanwhile, or a kernel thread's
                continue
            self._open.add((information.st_dev, information.st_ino))
        try:
            with (process / "maps").open("rb") as lines:
                for line in lines:
                    fields = line.split(maxsplit=5)
                    if len(fields) == 6 and fields[4] != b"0":
                        major, _, minor = fields[3].partition(b":")
                        self._open.add((os.makedev(int(major, 16), int(minor, 16)), int(fields[4])))
        except (OSError, ValueError):  # it ended, or a kernel that writes other lines: descriptors were counted
            return
