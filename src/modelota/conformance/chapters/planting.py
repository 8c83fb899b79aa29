"""A disposable tree of what a removed model may leave behind, and of what only looks like it."""

from __future__ import annotations

import hashlib
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import blake3

Json = dict[str, Any]

TAG: Final = "user.modelota"  # the extended attribute that deployed files have
EACH: Final = 24  # residues of each kind
DECOYS_EACH: Final = 2900  # small decoys of each kind
LARGE_DECOYS_EACH: Final = 12
_BLOCK_BYTES: Final = 4096
# What the ledger calls things that were registered with the system, and where their like lies.
REGISTERED: Final = {
    "systemd unit": "units/modelota-{}.service",
    "desktop entry": "usr/share/applications/modelota-{}.desktop",
    "D-Bus entry": "usr/share/dbus-1/services/org.modelota{}.service",
    "environment file": "etc/environment.d/{}-modelota.conf",
    "polkit rule": "etc/polkit-1/rules.d/{}-modelota.rules",
    "udev rule": "udev-rules/{}-modelota.rules",
    "sudoers entry": "etc/sudoers.d/modelota-{}",
    "dconf key file": "etc/dconf/db/local.d/{}-modelota",
}
# Kinds of residue by what the demand names them.
DEMANDED: Final = {
    "caches": ("cache",),
    "logs": ("log",),
    "temporary data": ("temporary", "socket", "pipe", "empty directory"),
    "registry entries": (
        "systemd unit", "enabling link", "desktop entry", "D-Bus entry", "environment file", "dconf key file",
    ),
    "permission configuration": ("polkit rule", "udev rule", "sudoers entry"),
    "copies of the model": (
        "copy", "renamed copy", "tagged copy", "truncated", "truncated at a block", "slice", "slice in an archive",
    ),
}  # fmt: skip
PROBABLE: Final = ("slice", "slice in an archive")


@dataclass
class Tree:
    """What was planted.

    Attributes:
        disk: where.
        root: the device root that was.
        content: of the model's largest file.
        rng: makes the rest.
        residues: what should go, and its kind.
        kinds: what must stay, and what kind of decoy it is.
        decoys: the same, with inode and content before.
        rows: what the ledger says about what was registered.
    """

    disk: Path
    root: Path
    content: bytes
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  reproducible content
    residues: dict[Path, str] = field(default_factory=dict)
    kinds: dict[Path, str] = field(default_factory=dict)
    decoys: dict[Path, tuple[int, str]] = field(default_factory=dict)
    rows: list[Json] = field(default_factory=list)

    def place(self) -> Path:
        """A directory somewhere in the tree, and a name in it that says nothing."""
        shelf = self.disk / "home" / f"{self.rng.randrange(12):02}" / f"{self.rng.randrange(12):02}"
        shelf.mkdir(parents=True, exist_ok=True)
        return shelf / f"{self.rng.getrandbits(48):x}"

    def put(self, path: Path, content: bytes) -> Path:
        """Write a file."""
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def row(self, path: Path, kind: str, of: bytes) -> None:
        """Note something in the ledger, with the digest of what was written."""
        self.rows.append({"path": str(path), "kind": kind, "digest": blake3.blake3(of).hexdigest()})


def plant(disk: Path, root: Path, content: bytes) -> Tree:
    """Plant `EACH` residues of every kind and the decoys.

    Args:
        disk: an empty directory.
        root: of the device that was; is made anew below it, with what an agent's own directories hold.
        content: of the model's largest file.
    """
    tree = Tree(disk, root, content)
    root.mkdir(mode=0o700, parents=True)
    for kind, plant_one in (*_registered(tree), *_own(tree), *_copies(tree)):
        for number in range(EACH):
            tree.residues[plant_one(number)] = kind
    large = {name for name, _ in _large_decoys(tree)}
    for kind, plant_one in (*_small_decoys(tree), *_large_decoys(tree)):
        for number in range(LARGE_DECOYS_EACH if kind in large else DECOYS_EACH):
            tree.kinds[plant_one(number)] = kind
    tree.decoys = {path: state_of(path) for path in tree.kinds}
    return tree


def state_of(path: Path) -> tuple[int, str]:
    """Inode and content of a file or link; of what is gone: no inode."""
    try:
        seen = path.lstat()
        held = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    except FileNotFoundError:
        return 0, ""
    return seen.st_ino, hashlib.sha256(held).hexdigest()


Planter = tuple[str, Callable[[int], Path]]


def _registered(tree: Tree) -> list[Planter]:
    def entry(kind: str, pattern: str) -> Planter:
        def plant_one(number: int) -> Path:
            content = f"# {kind} {number}\n".encode()
            path = tree.put(tree.disk / pattern.format(number), content)
            tree.row(path, kind, content)
            return path

        return kind, plant_one

    def link(number: int) -> Path:
        path = tree.disk / "units" / "multi-user.target.wants" / f"modelota-{number}.service"
        path.parent.mkdir(parents=True, exist_ok=True)
        target = f"../modelota-{number}.service"
        path.symlink_to(target)
        tree.row(path, "link", target.encode())
        return path

    return [*(entry(kind, pattern) for kind, pattern in REGISTERED.items()), ("enabling link", link)]


def _own(tree: Tree) -> list[Planter]:
    model = tree.root / "models" / "conf" / "gone"

    def file(kind: str, folder: str) -> Planter:
        return kind, lambda number: tree.put(model / folder / f"{number}", tree.rng.randbytes(500))

    def empty(number: int) -> Path:
        path = model / f"empty-{number}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def listening(number: int) -> Path:
        path = tree.root / "run" / f"{number}"
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        return path

    def pipe(number: int) -> Path:
        path = tree.root / "run" / f"pipe-{number}"
        os.mkfifo(path)
        return path

    own = [file("cache", "slots/1.1.1+default/cache"), file("log", "slots/1.1.1+default/log")]
    return [*own, file("temporary", "staging"), ("empty directory", empty), ("socket", listening), ("pipe", pipe)]


def _copies(tree: Tree) -> list[Planter]:
    model, rng, size_bytes = tree.content, tree.rng, len(tree.content)

    def put(content: bytes) -> Path:
        return tree.put(tree.place(), content)

    def tagged(_: int) -> Path:
        path = put(model)
        with suppress(OSError):  # a file system without attributes: then it is a copy as any other
            os.setxattr(path, TAG, blake3.blake3(model).hexdigest().encode())
        return path

    def part() -> bytes:
        start = rng.randrange(_BLOCK_BYTES, size_bytes // 4)
        return model[start : start + rng.randrange(size_bytes // 4, size_bytes // 2)]

    return [
        ("copy", lambda number: tree.put(tree.place() / f"{number}" / "ballast.bin", model)),
        ("renamed copy", lambda _: put(model)),
        ("tagged copy", tagged),
        ("truncated", lambda _: put(model[: rng.randrange(size_bytes // 8, size_bytes)])),
        ("truncated at a block", lambda _: put(model[: _BLOCK_BYTES * rng.randrange(9, size_bytes // _BLOCK_BYTES)])),
        ("slice", lambda _: put(part())),
        ("slice in an archive", lambda _: put(rng.randbytes(512) + part() + rng.randbytes(700))),
    ]


def _small_decoys(tree: Tree) -> list[Planter]:
    model, rng = tree.content, tree.rng

    def put(content: bytes) -> Path:
        return tree.put(tree.place(), content)

    def changed(number: int) -> Path:
        path = tree.put(tree.disk / "etc" / "environment.d" / f"changed-{number}.conf", b"# the administrator's\n")
        tree.row(path, "environment file", b"# ours\n")
        return path

    def link(_: int) -> Path:
        path = tree.place()
        path.symlink_to(tree.disk / "etc" / "environment.d" / "changed-0.conf")
        return path

    about = b"# modelota conf/leaving 1.1.1 Written by modelota\n"
    return [
        ("registered, then changed", changed),
        ("link", link),
        ("name of ours", lambda number: tree.put(tree.place() / f"{number}" / "ballast.bin", rng.randbytes(900))),
        ("text about us", lambda _: put(about * 20)),
        ("short piece", lambda _: put(model[9 * _BLOCK_BYTES : 9 * _BLOCK_BYTES + 3000])),
        ("same head", lambda _: put(model[:_BLOCK_BYTES] + rng.randbytes(rng.randrange(1, 9000)))),
        ("random", lambda _: put(rng.randbytes(_BLOCK_BYTES * rng.randrange(1, 5)))),
    ]


def _large_decoys(tree: Tree) -> list[Planter]:
    model, rng, size_bytes = tree.content, tree.rng, len(tree.content)

    def put(content: bytes) -> Path:
        return tree.put(tree.place(), content)

    def linked(_: int) -> Path:
        path = put(model)
        path.with_name(f"{path.name}-too").hardlink_to(path)
        return path

    def others(_: int) -> Path:
        path = put(model)
        try:
            os.chown(path, 12345, 12345)
        except OSError:  # only root can give files away
            path.write_bytes(rng.randbytes(1000))
        return path

    half = model[: size_bytes // 2 // _BLOCK_BYTES * _BLOCK_BYTES]
    return [
        ("same size", lambda _: put(rng.randbytes(size_bytes))),
        ("same size and head", lambda _: put(model[:_BLOCK_BYTES] + rng.randbytes(size_bytes - _BLOCK_BYTES))),
        ("last byte differs", lambda _: put(model[:-1] + bytes([model[-1] ^ 1]))),
        ("own bytes at the end", lambda _: put(half + b"my own note")),
        ("same family", lambda _: put(half + rng.randbytes(100_000))),
        ("another application's", lambda n: tree.put(tree.disk / "home" / ".ollama" / "models" / f"{n}", model)),
        ("another cache", lambda n: tree.put(tree.disk / "home" / ".cache" / "huggingface" / f"{n}", model)),
        ("hard-linked", linked),
        ("another user's", others),
    ]
