"""What the product's own cleaning makes of a planted tree, from the record of the agent that was removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelota.conformance.chapters.planting import PROBABLE, Tree, plant, state_of
from modelota.conformance.chapters.removals import removals
from modelota.conformance.commands import Done
from modelota.conformance.readings import thread_priorities
from modelota.conformance.row import Unreached
from modelota.conformance.stage import Stage

Json = dict[str, Any]

_HOLD = "import sys\nfiles = [open(path, 'rb') for path in sys.argv[1:]]\nprint('ready', flush=True)\nsys.stdin.read()"
_HELD = 12


@dataclass
class Cleaned:
    """What was seen.

    Attributes:
        tree: what was planted.
        plan: what the scan found, as JSON.
        shown: the plan as it is printed, by language.
        undone: residues and decoys that went before anything was confirmed.
        named: ids of probable findings that were named.
        done: the command that removed.
        proof: that it wrote.
        left: residues that are still there.
        touched: decoys that are gone, or not what they were.
        held: decoys that another process had open.
        seconds: of scan and removal, with the commands' own start.
        scan_seconds: of the first.
        priorities: nice value and I/O priority of threads that were seen at work, by the thread's name.
    """

    tree: Tree
    plan: Json
    shown: dict[str, str]
    undone: list[str]
    named: list[str]
    done: Done
    proof: Json
    left: list[Path]
    touched: list[Path]
    held: list[Path]
    seconds: float
    scan_seconds: float
    priorities: dict[str, tuple[int | None, tuple[int, int] | None]]


def cleaned(stage: Stage) -> Cleaned:
    """Plant, scan, name the slices, remove, and look at every residue and decoy."""
    gone = stage.chapter(removals)
    content = max((path.read_bytes() for path in gone.sources), key=len)
    disk = stage.place / "disk"
    disk.mkdir()
    tree = plant(disk, disk / "var" / "lib" / "modelota", content)
    record = _record(stage, gone.record, tree)
    held = sorted(path for path, kind in tree.kinds.items() if kind == "hard-linked")[:_HELD]
    words = ("device", "clean", "--from", str(record), "--within", str(disk))
    shown = {language: stage.cli.run(*words, "--lang", language).out for language in ("zh", "en")}
    file, priorities = stage.scratch / "cleaned.json", {}

    def observe(pid: int) -> None:
        priorities.update(thread_priorities(pid))

    with subprocess.Popen(  # noqa: S603  a fixed program, with names of our own files
        [sys.executable, "-c", _HOLD, *map(str, held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        started = time.monotonic()
        scanned = stage.cli.observed((*words, "--json"), observe)
        scan_seconds = time.monotonic() - started
        plan = _plan_of(scanned)
        undone = [str(path) for path in (*tree.residues, *tree.decoys) if not os.path.lexists(path)]
        named = _slices(tree, plan)
        choice = tuple(word for each in named for word in ("--yes-probable", each))
        started = time.monotonic()
        accept = ("--accept", plan["digest"], *choice, "--proof", str(file), "--lang", "zh")
        done = stage.cli.observed((*words, *accept), observe)
        seconds = scan_seconds + time.monotonic() - started
        holder.communicate()
    if not file.exists():
        raise Unreached(f"no proof: {done.status} {done.out[-300:]} {done.err[-300:]}")
    return Cleaned(
        tree=tree,
        plan=plan["plan"],
        shown=shown,
        undone=undone,
        named=named,
        done=done,
        proof=json.loads(file.read_bytes()),
        left=[path for path in tree.residues if os.path.lexists(path)],
        touched=[path for path, state in tree.decoys.items() if state_of(path) != state],
        held=held,
        seconds=seconds,
        scan_seconds=scan_seconds,
        priorities=priorities,
    )


def _record(stage: Stage, record: Path, tree: Tree) -> Path:
    """The record of the agent that was removed, as if its ledger named what was planted, and it had lain there."""
    table = json.loads(record.read_bytes())
    table["ledger"] = [*table["ledger"], *tree.rows]
    table |= {"root": str(tree.root), "runtime_directory": str(tree.root / "run"), "recorded_ns": time.time_ns()}
    path = stage.scratch / "record-of-the-tree.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def _plan_of(done: Done) -> Json:
    found = next((each for each in done.objects if "plan" in each and "ids" in each), None)
    if found is None:
        raise Unreached(f"no plan: {done.status} {done.out[-300:]} {done.err[-300:]}")
    return found


def _slices(tree: Tree, plan: Json) -> list[str]:
    """Ids of the probable findings that somebody who knows the planted slices names."""
    return [
        str(each)
        for each, finding in zip(plan["ids"], plan["plan"]["findings"], strict=True)
        if finding["certainty"] == "probable" and tree.residues.get(Path(finding["path"])) in PROBABLE
    ]
