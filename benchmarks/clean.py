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
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from planting.tree import MODEL_BYTES, Tree, plant

from modelota.agent.cleaning.acl import read_acl
from modelota.agent.cleaning.bystanders import OpenFiles, Packages
from modelota.agent.cleaning.entries import AclEntries, DconfEntries, Entries
from modelota.agent.cleaning.knowledge import CleaningRecord, RecordedFile, of_record
from modelota.agent.cleaning.mounts import Mounts
from modelota.agent.cleaning.plan import CleaningPlan, path_of
from modelota.agent.cleaning.removing import apply
from modelota.agent.cleaning.scanning import scan
from modelota.agent.cleaning.system import System
from modelota.content.anchors import anchors_of


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
