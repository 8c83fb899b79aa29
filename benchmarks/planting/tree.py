"""A tree of files with residues of an agent that is gone, and with decoys: what `benchmarks/clean.py` cleans."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelota.agent.anchoring import TAG
from modelota.agent.cleaning.acl import named, read_acl, with_entry, write_acl
from modelota.agent.cleaning.entries import State
from modelota.agent.cleaning.knowledge import RecordedRow
from modelota.content.anchors import BLOCK_BYTES
from modelota.content.digest import digest_bytes

MODEL_BYTES: Final = 6 * 1024 * 1024 + 1234
PER_DIRECTORY: Final = 60
REGISTERED: Final = {
    "systemd unit": "etc/systemd/system/modelota-{}.service",
    "desktop entry": "usr/share/applications/modelota-{}.desktop",
    "D-Bus entry": "usr/share/dbus-1/services/org.modelota{}.service",
    "environment file": "etc/environment.d/{}-modelota.conf",
    "polkit rule": "etc/polkit-1/rules.d/{}-modelota.rules",
    "udev rule": "etc/udev/rules.d/{}-modelota.rules",
    "sudoers entry": "etc/sudoers.d/modelota-{}",
    "dconf key file": "etc/dconf/db/local.d/{}-modelota",
}


class FakeKeyring:
    """A keyring in memory; nobody's real one is touched."""

    def __init__(self) -> None:
        self.there: dict[str, str | None] = {}

    def state(self, name: str, digest: str | None) -> State:
        """As `Entries.state`."""
        if name not in self.there:
            return "gone"
        return "ours" if self.there[name] == digest else "changed"

    def remove(self, name: str) -> bool:
        """As `Entries.remove`."""
        return self.there.pop(name, "") != ""


@dataclass
class Tree:
    """What was planted.

    Attributes:
        place: of everything; the tree is `disk` below it.
        residues: what should go: path, or name of an entry, and kind.
        decoys: what must stay, and what kind of decoy it is.
    """

    place: Path
    rng: random.Random
    model: bytes
    residues: dict[str, str] = field(default_factory=dict)
    decoys: dict[str, str] = field(default_factory=dict)
    swapped: list[Path] = field(default_factory=list)
    ledger: list[RecordedRow] = field(default_factory=list)
    keyring: FakeKeyring = field(default_factory=FakeKeyring)
    dconf: dict[str, str] = field(default_factory=dict)
    owned: list[Path] = field(default_factory=list)
    opened: list[Path] = field(default_factory=list)
    files: int = 0
    _shelves: list[Path] = field(default_factory=list)

    @property
    def disk(self) -> Path:
        """What is scanned."""
        return self.place / "disk"

    @property
    def root(self) -> Path:
        """The device root that was."""
        return self.disk / "var" / "lib" / "modelota"

    def shelf(self) -> Path:
        """A directory somewhere in the tree."""
        if not self._shelves or self.rng.random() < 1 / PER_DIRECTORY:
            parts = [f"{self.rng.randrange(40):02}" for _ in range(self.rng.randrange(1, 6))]
            shelf = self.disk.joinpath("home", "user", *parts)
            shelf.mkdir(parents=True, exist_ok=True)
            self._shelves.append(shelf)
        return self.rng.choice(self._shelves[-400:])

    def put(self, path: Path, content: bytes) -> Path:
        """Write a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.files += 1
        return path

    def name(self) -> str:
        """A name that says nothing, sometimes one that is hard to handle."""
        hostile = ["two\nlines", "-rf *", os.fsdecode(b"\xff\xfe"), "名字", "back\\x41slash"]
        prefix = self.rng.choice(hostile) if self.rng.random() < 0.02 else ""
        return f"{prefix}{self.rng.getrandbits(48):x}"

    def residue(self, path: Path, kind: str) -> Path:
        """Count something that should go."""
        self.residues[str(path)] = kind
        return path

    def decoy(self, path: Path, kind: str) -> Path:
        """Count something that must stay."""
        self.decoys[str(path)] = kind
        return path

    def note(self, path: str, kind: str, digest: str | None) -> None:
        """Note something in the ledger."""
        self.ledger.append(RecordedRow(path=path, kind=kind, digest=digest))


def plant(place: Path, *, files: int, residues: int, decoys: int, seed: int = 4) -> Tree:
    """Plant a tree of about `files` files."""
    rng = random.Random(seed)
    tree = Tree(place, rng, rng.randbytes(MODEL_BYTES))
    tree.root.mkdir(parents=True, mode=0o700)
    planters = [*_residue_planters(tree)]
    for number in range(residues):
        planters[number % len(planters)](number)
    dealers = [*_decoy_planters(tree)]
    for number in range(decoys):
        # a decoy as large as the model costs a lot of disk: one in fifty is
        dealers[number // 50 % len(dealers)](number) if number % 50 == 0 else _small_decoy(tree, number)
    while tree.files < files:
        size_bytes = int(rng.paretovariate(0.6) * 40)
        tree.put(tree.shelf() / tree.name(), rng.randbytes(min(size_bytes, 200_000)))
    return tree


def _residue_planters(tree: Tree) -> Iterator[Callable[[int], object]]:  # noqa: C901, PLR0915  one short planter for each kind
    model, rng = tree.model, tree.rng

    for kind, pattern in REGISTERED.items():

        def registered(number: int, kind: str = kind, pattern: str = pattern) -> None:
            content = f"# {number}\n".encode()
            path = tree.put(tree.disk / pattern.format(number), content)
            tree.note(str(path), kind, digest_bytes(content))
            tree.residue(path, kind)

        yield registered

    def link(number: int) -> None:
        path = tree.disk / "etc/systemd/system/multi-user.target.wants" / f"modelota-{number}.service"
        path.parent.mkdir(parents=True, exist_ok=True)
        target = f"../modelota-{number}.service"
        path.symlink_to(target)
        tree.note(str(path), "link", digest_bytes(target.encode()))
        tree.residue(path, "enabling link")

    def own(kind: str, folder: str) -> Callable[[int], object]:
        path = f"models/acme/assistant/{folder}"
        return lambda number: tree.residue(tree.put(tree.root / path / f"{number}", rng.randbytes(500)), kind)

    def directory(number: int) -> None:
        path = tree.root / "models" / "acme" / f"empty-{number}" / "cache"
        path.mkdir(parents=True)
        tree.residue(path, "empty directory")

    def unix_socket(number: int) -> None:
        folder = tree.root / "run"
        folder.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            descriptor = os.open(folder, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{descriptor}/{number}")
            os.close(descriptor)
        tree.residue(folder / f"{number}", "socket")

    def keyring(number: int) -> None:
        tree.keyring.there[f"modelota/{number}"] = "d"
        tree.note(f"keyring:modelota/{number}", "keyring entry", "d")
        tree.residue(Path(f"keyring:modelota/{number}"), "keyring entry")

    def dconf(number: int) -> None:
        tree.dconf[f"/org/modelota/{number}"] = "'on'"
        tree.note(f"dconf:/org/modelota/{number}", "dconf key", digest_bytes(b"'on'"))
        tree.residue(Path(f"dconf:/org/modelota/{number}"), "dconf key")

    def acl(number: int) -> None:
        path = tree.put(tree.disk / "dev-like" / f"node-{number}", b"")
        try:
            write_acl(str(path), with_entry(0o600, read_acl(str(path)), named("user", 4001, 6)))
        except OSError:  # this file system keeps no lists: one kind less
            return
        tree.note(f"acl:user:4001:rw-:{path}", "ACL entry", None)
        tree.residue(Path(f"acl:user:4001:rw-:{path}"), "ACL entry")
        tree.decoy(path, "file with an entry of ours")

    def copy(kind: str, name: Callable[[], str]) -> Callable[[int], object]:
        return lambda _: tree.residue(tree.put(tree.shelf() / f"{name()}", model), kind)

    def truncated(_: int) -> None:
        tree.residue(tree.put(tree.shelf() / tree.name(), model[: rng.randrange(200_000, MODEL_BYTES)]), "truncated")

    def truncated_at_block(_: int) -> None:
        blocks = rng.randrange(50, MODEL_BYTES // BLOCK_BYTES)
        path = tree.put(tree.shelf() / tree.name(), model[: blocks * BLOCK_BYTES])
        tree.residue(path, "truncated at a block")

    def tagged(_: int) -> None:
        path = tree.put(tree.shelf() / tree.name(), model)
        with suppress(OSError):  # a file system without attributes: then it is a copy as any other
            os.setxattr(path, TAG, digest_bytes(model).encode())
        tree.residue(path, "tagged copy")

    def sliced(_: int) -> None:
        start = rng.randrange(BLOCK_BYTES, 3_000_000)
        part = model[start : start + rng.randrange(800_000, 3_000_000)]
        tree.residue(tree.put(tree.shelf() / tree.name(), part), "slice")

    def wrapped(_: int) -> None:
        start = rng.randrange(BLOCK_BYTES, 3_000_000)
        part = rng.randbytes(512) + model[start : start + 2_000_000] + rng.randbytes(700)
        tree.residue(tree.put(tree.shelf() / tree.name(), part), "slice in an archive")

    yield from (link, own("cache", "cache"), own("log", "log"), own("temporary", "staging"), directory, unix_socket)
    yield from (keyring, dconf, acl, copy("renamed copy", tree.name), truncated, truncated_at_block, tagged)
    yield from (copy("copy", lambda: f"model-{rng.getrandbits(40):x}.gguf"), sliced, wrapped)


def _small_decoy(tree: Tree, number: int) -> None:
    """A decoy that takes little space: our head and another content, our registered names elsewhere, small slices."""
    rng = tree.rng
    kinds = ("same head", "name of ours", "text about us", "short piece", "random of a block")
    kind = kinds[number % len(kinds)]
    if kind == "same head":
        content = tree.model[:BLOCK_BYTES] + rng.randbytes(rng.randrange(1, 100_000))
    elif kind == "name of ours":
        tree.decoy(tree.put(tree.shelf() / f"{number}" / "model.gguf", rng.randbytes(2000)), kind)
        return
    elif kind == "text about us":
        content = b"# modelota acme/assistant 1.1.1 Written by modelota\n" * 20
    elif kind == "short piece":
        content = tree.model[9 * BLOCK_BYTES : 9 * BLOCK_BYTES + 3000]
    else:
        content = rng.randbytes(BLOCK_BYTES * rng.randrange(1, 9))
    tree.decoy(tree.put(tree.shelf() / tree.name(), content), kind)


def _decoy_planters(tree: Tree) -> Iterator[Callable[[int], object]]:
    model, rng = tree.model, tree.rng

    def put(kind: str, content: Callable[[], bytes], folder: str = "") -> Callable[[int], object]:
        def plant_one(_: int) -> Path:
            place = tree.disk / folder / tree.name() if folder else tree.shelf() / tree.name()
            return tree.decoy(tree.put(place, content()), kind)

        return plant_one

    def packaged(number: int) -> None:
        path = tree.put(tree.disk / "usr" / "share" / "vendor" / f"{number}.gguf", model)
        tree.owned.append(tree.decoy(path, "package-owned"))

    def linked(_: int) -> None:
        path = tree.decoy(tree.put(tree.shelf() / tree.name(), model), "hard-linked")
        other = tree.shelf() / tree.name()
        other.hardlink_to(path)
        tree.decoy(other, "hard-linked")

    def swapped(_: int) -> None:
        tree.swapped.append(tree.put(tree.shelf() / tree.name(), model))

    def opened(_: int) -> None:
        tree.opened.append(tree.decoy(tree.put(tree.shelf() / tree.name(), model), "open"))

    def changed(number: int) -> None:
        path = tree.put(tree.disk / "etc" / "environment.d" / f"changed-{number}.conf", b"# the administrator's\n")
        tree.note(str(path), "environment file", digest_bytes(b"# ours\n"))
        tree.decoy(path, "registered, then changed")

    def others(_: int) -> None:
        path = tree.put(tree.shelf() / tree.name(), model)
        try:
            os.chown(path, 12345, 12345)
        except OSError:  # only root can give files away
            path.write_bytes(rng.randbytes(1000))
        tree.decoy(path, "other user's")

    def link(_: int) -> None:
        path = tree.shelf() / tree.name()
        path.symlink_to(tree.disk / "precious")
        tree.decoy(path, "link")

    yield put("same size", lambda: rng.randbytes(MODEL_BYTES))
    yield put("same size and head", lambda: model[:BLOCK_BYTES] + rng.randbytes(MODEL_BYTES - BLOCK_BYTES))
    yield put("last byte differs", lambda: model[:-1] + bytes([model[-1] ^ 1]))
    yield put("same family", lambda: model[: rng.randrange(100, 900) * BLOCK_BYTES] + rng.randbytes(1_000_000))
    yield put("a few own bytes at the end", lambda: model[: rng.randrange(50, 900) * BLOCK_BYTES] + b"my own note")
    yield put("another application's", lambda: model, "home/user/.ollama/models/blobs")
    yield put("another cache", lambda: model, "home/user/.cache/huggingface/hub")
    yield from (packaged, linked, swapped, opened, changed, others, link)
