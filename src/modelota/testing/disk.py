"""A simulated disk that forgets what was not flushed: every state that a power cut may leave, from one recorded run.

    calls = RecordedCalls(root)                       everything below `root` counts as durable now
    disk = Disk((root,), calls.journal, calls)        works on `root` as always, and every call is recorded
    ...
    for cut in range(len(calls.operations) + 1):
        calls.after_power_cut(cut, seed, elsewhere)   one of the states that a cut there may leave

The model is deliberately weaker than any one file system:

- Bytes written, sizes set and permissions are durable once their file is flushed. Until then each granule of 4 KiB of
  each write may be on the disk or not, whatever came before or after it.
- A name made, moved or removed is durable once a directory it stands in is flushed. Until then it may be on the disk or
  not, in any order, except that changes of the same name keep their order and a directory goes after what was in it.
  Flushing a file does not flush its name.
- One rename, or one exchange, happens as a whole or not at all.
- A commit of the journal is durable when it returns (SQLite, synchronous=FULL).

What it can't show: a disk that loses what it acknowledged, and damage of what was long durable.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from modelota.storage.system_calls import SystemCalls

GRANULE_BYTES: Final = 4096
ROOT: Final = 0


@dataclass
class Node:
    """A file, directory or link, as it was made."""

    kind: Literal["file", "directory", "link"]
    mode: int = 0o600
    data: bytes = b""
    target: str = ""


@dataclass(frozen=True)
class Write:
    """Bytes written into a file."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Resize:
    """A size set; `grow` only ever makes a file longer."""

    node: int
    size_bytes: int
    grow: bool


@dataclass(frozen=True)
class Mode:
    """Permissions set."""

    node: int
    mode: int


@dataclass(frozen=True)
class Names:
    """Directory entries that change together: (directory, name) -> node, or None for a name that goes.

    `emptied` is a directory that goes with its name: what was in it went before.
    """

    entries: tuple[tuple[tuple[int, str], int | None], ...]
    emptied: int | None = None


@dataclass(frozen=True)
class Sync:
    """A file or a directory flushed."""

    node: int


@dataclass(frozen=True)
class Commit:
    """A transaction of the journal that came to its end."""

    key: str
    value: object


Operation = Write | Resize | Mode | Names | Sync | Commit
Contents = Write | Resize | Mode


@dataclass
class Tree:
    """The nodes of a disk and the names they have."""

    nodes: dict[int, Node] = field(default_factory=dict)
    names: dict[tuple[int, str], int] = field(default_factory=dict)

    def apply(self, operation: Names) -> None:
        """Change names."""
        for key, node in operation.entries:
            if node is None:
                self.names.pop(key, None)
            else:
                self.names[key] = node

    def inside(self, directory: int) -> dict[str, int]:
        """Names in a directory and the nodes they stand for."""
        return {name: node for (parent, name), node in self.names.items() if parent == directory}


class JournalModel:
    """A journal, and a ledger in it, whose commits are durable when they return."""

    def __init__(self, root: Path, operations: list[Operation]) -> None:
        self._root = root
        self._operations = operations

    def commit(self, key: str, value: object) -> None:
        """Keep `value` under `key`; None forgets it."""
        self._operations.append(Commit(key, value))

    def will_create(self, path: Path, kind: str) -> None:
        """Note `path` before it exists."""
        if path != self._root:
            self.commit(f"path {path.relative_to(self._root)}", kind)

    def removed(self, path: Path) -> None:
        """Note that `path`, and everything below it, is gone."""
        self.commit(f"gone {path.relative_to(self._root)}", value=True)

    def at(self, cut: int) -> dict[str, object]:
        """What was committed before operation number `cut`."""
        kept = {operation.key: operation.value for operation in self._operations[:cut] if isinstance(operation, Commit)}
        return {key: value for key, value in kept.items() if value is not None}


class RecordedCalls(SystemCalls):
    """The operating system's calls below `root`, recorded.

    Attributes:
        operations: what was done, in order. A test may look at how many there are to know where it is.
        journal: commits into the same order of things.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._tree = Tree(nodes={ROOT: Node("directory", mode=0o700)})
        self._read(self._root, ROOT)
        self._initial = Tree(dict(self._tree.nodes), dict(self._tree.names))
        self._descriptors: dict[int, int] = {}
        self.operations: list[Operation] = []
        self.journal = JournalModel(self._root, self.operations)

    def _read(self, directory: Path, number: int) -> None:
        for entry in sorted(directory.iterdir()):
            mode = stat.S_IMODE(entry.lstat().st_mode)
            if entry.is_symlink():
                node = Node("link", target=str(entry.readlink()))
            elif entry.is_dir():
                node = Node("directory", mode=mode)
            else:
                node = Node("file", mode=mode, data=entry.read_bytes())
            self._tree.names[number, entry.name] = self._new(node)
            if node.kind == "directory":
                self._read(entry, self._tree.names[number, entry.name])

    def _new(self, node: Node) -> int:
        number = len(self._tree.nodes)
        self._tree.nodes[number] = node
        return number

    def _key(self, path: Path) -> tuple[int, str]:
        directory = ROOT
        for name in path.parent.relative_to(self._root).parts:
            directory = self._tree.names[directory, name]
        return directory, path.name

    def _find(self, path: Path) -> int:
        return ROOT if path == self._root else self._tree.names[self._key(path)]

    def _rename(self, *entries: tuple[tuple[int, str], int | None], emptied: int | None = None) -> None:
        operation = Names(entries, emptied)
        self.operations.append(operation)
        self._tree.apply(operation)

    def open(self, path: Path, flags: int, mode: int) -> int:
        """As the system's, recorded."""
        descriptor = super().open(path, flags, mode)
        key = self._key(path)
        if key not in self._tree.names:
            self._rename((key, self._new(Node("file", mode=mode))))
        self._descriptors[descriptor] = self._tree.names[key]
        return descriptor

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """As the system's, recorded."""
        written = super().write(descriptor, data, offset)
        self.operations.append(Write(self._descriptors[descriptor], offset, bytes(data[:written])))
        return written

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """As the system's, recorded."""
        super().truncate(descriptor, size_bytes)
        self.operations.append(Resize(self._descriptors[descriptor], size_bytes, grow=False))

    def allocate(self, descriptor: int, offset: int, length_bytes: int) -> None:
        """As the system's, recorded."""
        super().allocate(descriptor, offset, length_bytes)
        self.operations.append(Resize(self._descriptors[descriptor], offset + length_bytes, grow=True))

    def clone_range(self, *_: int) -> None:
        """This disk shares no blocks, so that every byte is written and recorded."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def sync(self, descriptor: int) -> None:
        """Recorded only: the real disk need not turn."""
        self.operations.append(Sync(self._descriptors[descriptor]))

    def sync_directory(self, path: Path) -> None:
        """Recorded only."""
        self.operations.append(Sync(self._find(path)))

    def make_directory(self, path: Path, mode: int) -> None:
        """As the system's, recorded."""
        super().make_directory(path, mode)
        if self._key(path) not in self._tree.names:
            self._rename((self._key(path), self._new(Node("directory", mode=mode))))

    def symlink(self, path: Path, target: str) -> None:
        """As the system's, recorded."""
        super().symlink(path, target)
        self._rename((self._key(path), self._new(Node("link", target=target))))

    def rename(self, source: Path, target: Path) -> None:
        """As the system's, recorded."""
        super().rename(source, target)
        self._rename((self._key(source), None), (self._key(target), self._find(source)))

    def exchange(self, one: Path, other: Path) -> None:
        """As the system's, recorded."""
        super().exchange(one, other)
        self._rename((self._key(one), self._find(other)), (self._key(other), self._find(one)))

    def unlink(self, path: Path) -> None:
        """As the system's, recorded."""
        super().unlink(path)
        if self._key(path) in self._tree.names:
            self._rename((self._key(path), None))

    def remove_tree(self, directory: Path) -> None:
        """As the system's, recorded name by name."""
        super().remove_tree(directory)
        self._remove(self._key(directory))

    def _remove(self, key: tuple[int, str]) -> None:
        node = self._tree.names[key]
        for name in sorted(self._tree.inside(node)):
            self._remove((node, name))
        self._rename((key, None), emptied=node if self._tree.nodes[node].kind == "directory" else None)

    def chmod(self, path: Path, mode: int) -> None:
        """As the system's, recorded."""
        super().chmod(path, mode)
        self.operations.append(Mode(self._find(path), mode))

    def after_power_cut(self, cut: int, seed: int, directory: Path) -> None:
        """Write one of the states that a power cut before operation number `cut` may leave into `directory`.

        Args:
            cut: 0 to `len(operations)`.
            seed: chooses the state; the same one gives the same state. Seed 0 loses everything that was not flushed,
                seed 1 nothing.
            directory: made; must not exist.
        """
        choose = _Chance(cut, seed)
        flushed, waiting = self._split(cut)
        tree = Tree(dict(self._tree.nodes), dict(self._initial.names))
        kept = flushed | _closed({number for number in waiting if choose.keeps()}, self.operations)
        contents: dict[int, list[tuple[Contents, bool]]] = {}
        for number, operation in enumerate(self.operations[:cut]):
            if isinstance(operation, Names):
                if number in kept:
                    tree.apply(operation)
            elif isinstance(operation, Write | Resize | Mode):
                contents.setdefault(operation.node, []).append((operation, number in flushed))
        _write(tree, ROOT, directory, lambda node: _content(tree.nodes[node], contents.get(node, []), choose))

    def _split(self, cut: int) -> tuple[set[int], set[int]]:
        """Numbers of the operations before `cut` that are durable for sure, and of the changed names that are not."""
        flushed: set[int] = set()
        for number, sync in enumerate(self.operations[:cut]):
            if isinstance(sync, Sync):
                before = enumerate(self.operations[:number])
                flushed |= {earlier for earlier, operation in before if _is_flushed_by(operation, sync)}
        flushed = _closed(flushed, self.operations)
        names = {number for number, operation in enumerate(self.operations[:cut]) if isinstance(operation, Names)}
        return flushed, names - flushed


def _is_flushed_by(operation: Operation, sync: Sync) -> bool:
    match operation:
        case Write() | Resize() | Mode():
            return operation.node == sync.node
        case Names():
            return any(directory == sync.node for (directory, _), _ in operation.entries)
        case _:
            return False


def _closed(numbers: Iterable[int], operations: list[Operation]) -> set[int]:
    """`numbers`, and every change of names that one of them can't be on the disk without."""
    closed: set[int] = set()
    open_ends = list(numbers)
    while open_ends:
        number = open_ends.pop()
        if number in closed:
            continue
        closed.add(number)
        operation = operations[number]
        if isinstance(operation, Names):
            keys = {key for key, _ in operation.entries}
            for earlier, before in enumerate(operations[:number]):
                if isinstance(before, Names) and any(
                    key in keys or key[0] == operation.emptied for key, _ in before.entries
                ):
                    open_ends.append(earlier)
    return closed


class _Chance:
    """Decides, by a seed, what of the unflushed is on the disk: nothing, everything, most, little, or half of it."""

    def __init__(self, cut: int, seed: int) -> None:
        self._random = random.Random(f"{cut} {seed}")  # noqa: S311  a choice of test cases
        self._share = {0: 0.0, 1: 1.0}.get(seed, self._random.choice((0.1, 0.5, 0.9)))

    def keeps(self) -> bool:
        return self._random.random() < self._share


def _content(node: Node, changes: list[tuple[Contents, bool]], choose: _Chance) -> tuple[bytes, int]:
    """Bytes and mode of a node after those of its changes that are durable, and granules of the others."""
    data, mode = bytearray(node.data), node.mode
    for change, durable in changes:
        match change:
            case Mode() if durable or choose.keeps():
                mode = change.mode
            case Resize() if durable or choose.keeps():
                size_bytes = max(len(data), change.size_bytes) if change.grow else change.size_bytes
                data = data[:size_bytes].ljust(size_bytes, b"\0")
            case Write():
                for start, piece in _granules(change):
                    if durable or choose.keeps():
                        data = data.ljust(start + len(piece), b"\0")
                        data[start : start + len(piece)] = piece
    return bytes(data), mode


def _granules(write: Write) -> Iterable[tuple[int, bytes]]:
    start, end = write.offset, write.offset + len(write.data)
    while start < end:
        stop = min(end, (start // GRANULE_BYTES + 1) * GRANULE_BYTES)
        yield start, write.data[start - write.offset : stop - write.offset]
        start = stop


def _write(tree: Tree, node: int, place: Path, content: Callable[[int], tuple[bytes, int]]) -> None:
    """Write a node and everything below it."""
    kind = tree.nodes[node].kind
    if kind == "link":
        place.symlink_to(tree.nodes[node].target)
        return
    data, mode = content(node)
    if kind == "file":
        place.write_bytes(data)
    else:
        place.mkdir()
        for name, child in sorted(tree.inside(node).items()):
            _write(tree, child, place / name, content)
    place.chmod(mode)
