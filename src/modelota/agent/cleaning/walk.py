"""Walking file systems: every file once, no link followed, no mount crossed, nothing but names and stat(2) read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Seen(NamedTuple):
    """A file that was met.

    Attributes:
        directory: where it lies.
        descriptor: of that directory, open until the next one is asked for.
        name: its name there; bytes that are not UTF-8 are surrogates.
        information: what lstat(2) says.
    """

    directory: str
    descriptor: int
    name: str
    information: os.stat_result

    @property
    def path(self) -> str:
        """Directory and name."""
        return join(self.directory, self.name)


def join(directory: str, name: str) -> str:
    """The path of `name` in `directory`."""
    return f"{directory}{name}" if directory.endswith("/") else f"{directory}/{name}"


class Walker:
    """Walks directories; a directory that was walked is not walked again, under whatever path it shows up.

    Args:
        ends: paths at which not to go on: mount points, each walked by itself if it is local.
        skip: devices and inodes of directories that are left out with everything below.
        on_directory: told of each directory that is walked.

    Attributes:
        unreadable: how many directories and files could not be looked at.
        directories: how many were walked.
    """

    def __init__(
        self,
        ends: frozenset[str] = frozenset(),
        skip: frozenset[tuple[int, int]] = frozenset(),
        on_directory: Callable[[str, os.stat_result], None] | None = None,
    ) -> None:
        self._ends = ends
        self._seen = set(skip)
        self._on_directory = on_directory
        self.unreadable = 0
        self.directories = 0

    def walk(self, start: str) -> Iterator[Seen]:
        """Every file below the directory `start` that is not a directory; a link is met, not followed."""
        stack = [start]
        while stack:
            directory = stack.pop()
            try:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                self.unreadable += 1
                continue
            try:
                if self._is_new(directory, descriptor):
                    yield from self._files(directory, descriptor, stack)
            except OSError:  # reading the directory broke off: what it still holds is not known
                self.unreadable += 1
            finally:
                os.close(descriptor)

    def _is_new(self, directory: str, descriptor: int) -> bool:
        information = os.fstat(descriptor)
        identity = (information.st_dev, information.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        self.directories += 1
        if self._on_directory is not None:
            self._on_directory(directory, information)
        return True

    def _files(self, directory: str, descriptor: int, stack: list[str]) -> Iterator[Seen]:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    path = join(directory, entry.name)
                    if path not in self._ends:
                        stack.append(path)
                    continue
                try:
                    information = entry.stat(follow_symlinks=False)
                except OSError:
                    self.unreadable += 1
                    continue
                if not stat.S_ISDIR(information.st_mode):  # it may have become one meanwhile
                    yield Seen(directory, descriptor, entry.name, information)
