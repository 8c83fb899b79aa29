"""How much of what a removed agent left is found and removed, what else is touched, and how long that takes.

    python benchmarks/clean.py [--files 300000] [--residues 600] [--decoys 20000] [--place DIR]

Plants a tree of files, among them residues of an agent that is gone (as its record names them, or as copies of its
model) and decoys; scans it, removes what is certain and, of what is probable, the slices that were planted (a person
who knows them confirms them); then compares the tree with what should be left. Prints one JSON object.

`certain_share` is what goes without anyone naming it; `removed_share` with the confirmed slices. Truncated copies end
anywhere in a block, unless their kind says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelota.agent.anchoring import TAG
from modelota.agent.cleaning.acl import named, read_acl, with_entry, write_acl
from modelota.agent.cleaning.bystanders import OpenFiles, Packages
from modelota.agent.cleaning.entries import AclEntries, DconfEntries, Entries, State
from modelota.agent.cleaning.knowledge import CleaningRecord, RecordedFile, RecordedRow, of_record
from modelota.agent.cleaning.mounts import Mounts
from modelota.agent.cleaning.plan import CleaningPlan, path_of
from modelota.agent.cleaning.removing import apply
from modelota.agent.cleaning.scanning import scan
from modelota.agent.cleaning.system import System
from modelota.content.anchors import BLOCK_BYTES, anchors_of
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
        return lambda number: tree.residue(tree.put(tree.shelf() / f"{name()}", model), kind)

    def truncated(number: int) -> None:
        tree.residue(tree.put(tree.shelf() / tree.name(), model[: rng.randrange(200_000, MODEL_BYTES)]), "truncated")

    def truncated_at_block(number: int) -> None:
        blocks = rng.randrange(50, MODEL_BYTES // BLOCK_BYTES)
        path = tree.put(tree.shelf() / tree.name(), model[: blocks * BLOCK_BYTES])
        tree.residue(path, "truncated at a block")

    def tagged(number: int) -> None:
        path = tree.put(tree.shelf() / tree.name(), model)
        try:
            os.setxattr(path, TAG, b"1")
        except OSError:  # then it is a copy as any other
            pass
        tree.residue(path, "tagged copy")

    def sliced(number: int) -> None:
        start = rng.randrange(BLOCK_BYTES, 3_000_000)
        part = model[start : start + rng.randrange(800_000, 3_000_000)]
        tree.residue(tree.put(tree.shelf() / tree.name(), part), "slice")

    def wrapped(number: int) -> None:
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


def _decoy_planters(tree: Tree) -> Iterator[Callable[[int], object]]:  # noqa: C901  one short planter for each kind
    model, rng = tree.model, tree.rng

    def put(kind: str, content: Callable[[], bytes], folder: str = "") -> Callable[[int], object]:
        def plant_one(number: int) -> Path:
            place = tree.disk / folder / tree.name() if folder else tree.shelf() / tree.name()
            return tree.decoy(tree.put(place, content()), kind)

        return plant_one

    def packaged(number: int) -> None:
        path = tree.put(tree.disk / "usr" / "share" / "vendor" / f"{number}.gguf", model)
        tree.owned.append(tree.decoy(path, "package-owned"))

    def linked(number: int) -> None:
        path = tree.decoy(tree.put(tree.shelf() / tree.name(), model), "hard-linked")
        other = tree.shelf() / tree.name()
        other.hardlink_to(path)
        tree.decoy(other, "hard-linked")

    def swapped(number: int) -> None:
        tree.swapped.append(tree.put(tree.shelf() / tree.name(), model))

    def opened(number: int) -> None:
        tree.opened.append(tree.decoy(tree.put(tree.shelf() / tree.name(), model), "open"))

    def changed(number: int) -> None:
        path = tree.put(tree.disk / "etc" / "environment.d" / f"changed-{number}.conf", b"# the administrator's\n")
        tree.note(str(path), "environment file", digest_bytes(b"# ours\n"))
        tree.decoy(path, "registered, then changed")

    def others(number: int) -> None:
        path = tree.put(tree.shelf() / tree.name(), model)
        try:
            os.chown(path, 12345, 12345)
        except OSError:  # only root can give files away
            path.write_bytes(rng.randbytes(1000))
        tree.decoy(path, "other user's")

    def link(number: int) -> None:
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


def record_of(tree: Tree) -> CleaningRecord:
    """What was exported when the agent was removed."""
    anchors = anchors_of(tree.model)
    file = RecordedFile(
        model="acme/assistant",
        version="1.1.1",
        variant="default",
        path="model.gguf",
        size_bytes=anchors.size_bytes,
        digest=anchors.digest,
        head=anchors.head,
        stride_blocks=anchors.stride_blocks,
        blocks=anchors.blocks,
    )
    return CleaningRecord(
        root=str(tree.root),
        runtime_directory=str(tree.root / "run"),
        owner_uid=os.geteuid(),
        recorded_ns=time.time_ns() + 10**9,
        ledger=tuple(tree.ledger),
        files=(file,),
    )


def system_of(tree: Tree) -> System:
    """The system with the tree as its only file system."""
    information = tree.place / "dpkg" / "info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "vendor.list").write_text("".join(f"{path}\n" for path in tree.owned))

    def run(argv: Sequence[str]) -> str:
        if argv[:2] == ["dconf", "read"]:
            return tree.dconf.get(argv[2], "")
        if argv[:2] == ["dconf", "reset"]:
            tree.dconf.pop(argv[2], None)
        return ""

    entries: dict[str, Entries] = {"keyring": tree.keyring, "dconf": DconfEntries(run), "acl": AclEntries()}
    return System(
        mounts=lambda: Mounts((str(tree.disk),), frozenset(), ()),
        packages=Packages(tree.place / "dpkg", tree.place / "no-system"),
        open_files=OpenFiles(),
        entries=entries,
        run=run,
    )


@contextmanager
def held_open(paths: list[Path]) -> Iterator[None]:
    """Another process has these files open."""
    program = (
        "import sys\nfiles = [open(path, 'rb') for path in sys.argv[1:]]\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, paths)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


def swap(tree: Tree) -> None:
    """Between showing and removing, files that were shown become links to something precious, or other files."""
    precious = tree.decoy(tree.put(tree.disk / "precious", tree.model[:-1] + b"!"), "what a swapped link points to")
    for number, path in enumerate(tree.swapped):
        path.unlink()
        if number % 2:
            path.symlink_to(precious)
        else:
            path.write_bytes(tree.rng.randbytes(MODEL_BYTES))
        tree.decoy(path, "swapped during the run")


def left(tree: Tree, paths: dict[str, str]) -> set[str]:
    """Those of `paths` that are still there."""
    there = set()
    for path in paths:
        scheme, _, name = path.partition(":")
        if scheme == "keyring":
            found = name in tree.keyring.there
        elif scheme == "dconf":
            found = name in tree.dconf
        elif scheme == "acl":
            found = bool(read_acl(name.split(":", 3)[3]))
        else:
            found = os.path.lexists(path)
        if found:
            there.add(path)
    return there


def confirmed(tree: Tree, plan: CleaningPlan) -> list[str]:
    """Ids of probable findings that a person who knows the planted slices names."""
    return [
        finding.id
        for finding in plan.findings
        if finding.certainty == "probable" and tree.residues.get(path_of(finding.path), "").startswith("slice")
    ]


def measure(tree: Tree) -> dict[str, object]:
    """Clean the tree and compare it with what should be left."""
    knowledge, system = of_record(record_of(tree)), system_of(tree)
    with held_open(tree.opened):
        started = time.monotonic()
        plan = scan(knowledge, system, deep=True)
        scanned = time.monotonic()
        swap(tree)
        asked = time.monotonic()
        proof = apply(plan, confirmed(tree, plan), system)
        ended = time.monotonic()
    remaining, deleted = left(tree, tree.residues), set(tree.decoys) - left(tree, tree.decoys)
    certain = {path_of(each.path) for each in plan.findings if each.certainty == "certain"}
    return {
        "files": plan.files_seen,
        "residues": len(tree.residues),
        "residue_kinds": len(set(tree.residues.values())),
        "removed_share": round(1 - len(remaining) / len(tree.residues), 5),
        "certain_share": round(len(certain & set(tree.residues)) / len(tree.residues), 5),
        "left_by_kind": dict(Counter(tree.residues[path] for path in remaining)),
        "decoys": len(tree.decoys),
        "decoy_kinds": len(set(tree.decoys.values())),
        "decoys_deleted": len(deleted),
        "deleted_by_kind": dict(Counter(tree.decoys[path] for path in deleted)),
        "decoys_shown_as_probable": len(
            {path_of(each.path) for each in plan.findings if each.certainty == "probable"} & set(tree.decoys)
        ),
        "refused": dict(Counter(str(each.reason) for each in proof.removals if each.result == "refused")),
        "freed_bytes": proof.removed_bytes,
        "scan_s": round(scanned - started, 2),
        "apply_s": round(ended - asked, 2),
        "seconds": round(scanned - started + ended - asked, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=300_000)
    parser.add_argument("--residues", type=int, default=600)
    parser.add_argument("--decoys", type=int, default=20_000)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        started = time.monotonic()
        tree = plant(Path(place), files=options.files, residues=options.residues, decoys=options.decoys)
        planted = round(time.monotonic() - started, 1)
        print(json.dumps(measure(tree) | {"planting_s": planted}, indent=2))


if __name__ == "__main__":
    main()
