"""Deltas between model files: ours beside the general tools and an emulation of BitX, in one run.

    python benchmarks/delta.py [--json | --table] [--only PAIR ...] [--methods NAME ...] [--resume FOLDER]
    python benchmarks/delta.py --pair BASE TARGET

Prints a JSON list of objects (`benchmarks/README.md` describes the keys), or with `--table` the figures and the bars.
Every step of every method runs in a process of its own, on the same cores; figures are medians of interleaved rounds.
The pairs are made on the first run (`benchmarks/pairs.py`): minutes of training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pairs import PAIRS, Maker, Pair, cache_folder
from peers.bars import Verdict, table, verdicts
from peers.bounds import bounds
from peers.kept import Kept
from peers.layout import tensors_of
from peers.measuring import round_of, row
from peers.methods import FULL, OURS, OURS_NUMPY, Method, methods

from modelota.content.delta.loops import loops

Row = dict[str, Any]


def measure(
    name: str,
    base: Path,
    target: Path,
    chosen: Sequence[Method],
    *,
    rounds: int,
    slow_s: float,
    cores: int,
    kept: Kept | None = None,
) -> list[Row]:
    """The rows of one pair.

    Args:
        name: of the pair.
        base: the file a device has.
        target: the file it is to have.
        chosen: methods, in the order of the rows.
        rounds: how often each method runs.
        slow_s: a method that takes longer than this for one round runs once.
        cores: how many cores each may use.
        kept: rounds that were measured before, and that are to be kept; None is none.
    """
    kept = kept or Kept(None, cores=cores)
    found = {method.name: kept.find(name, method, base, target) for method in chosen}
    for index in range(rounds):
        for method in chosen:
            measured = found[method.name]
            took_s = sum(cost.seconds for cost in (*measured.encoded[:1], *measured.applied[:1]))
            if measured.error or index < len(measured.encoded) or (index and took_s > slow_s):
                continue
            print(f"{name}: {method.name}, round {index + 1}", file=sys.stderr, flush=True)
            round_of(method, base, target, measured, cores=cores)
            kept.keep(name, method, base, target, measured)
    target_bytes = target.stat().st_size
    rows = {method.name: row(name, method, target_bytes, found[method.name]) for method in chosen}
    numpy, full, ours = rows.pop(OURS_NUMPY, None), rows.pop(FULL, None), rows.get(OURS)
    if ours is not None:
        ours |= {"cores": cores, "loops": loops().name}
        if numpy:
            keys = ("ratio", "encode_mb_s", "apply_mb_s", "apply_mb_per_cpu_s", "peak_rss_mb", "identical", "error")
            ours |= {f"numpy_{key}": numpy[key] for key in keys if key in numpy}
        if full:
            ours["full_ratio"] = full["ratio"]
        ours |= {key: round(value, 5) for key, value in bounds(base, target).items()}
    return list(rows.values())


def group_of(target: Path) -> str:
    """Which bars apply to any two files: those of the kind that most of the target's bytes are of."""
    sizes: dict[str, int] = {}
    for tensor in tensors_of(target):
        group = "q4_k_m" if tensor.kind in {"q4_k", "q6_k"} else tensor.kind
        sizes[group] = sizes.get(group, 0) + tensor.size_bytes
    return max(sizes, key=lambda group: sizes[group], default="any")


def chosen_pairs(options: argparse.Namespace) -> Iterator[tuple[Pair, Path, Path]]:
    """The pairs asked for and their files, made one after the other."""
    if options.pair:
        base, target = options.pair
        yield Pair(target.stem, group_of(target), str(base), str(target), "named on the command line"), base, target
        return
    maker = Maker(cache_folder(), threads=options.cores)
    for name in options.only or PAIRS:
        yield PAIRS[name], *maker.pair(PAIRS[name])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    known = methods()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="a JSON list (the default)")
    shape.add_argument("--table", action="store_true", help="figures and bars for people")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pair", nargs=2, type=Path, metavar=("BASE", "TARGET"), help="any two files")
    which.add_argument("--only", nargs="+", choices=list(PAIRS), metavar="PAIR", help="`pairs.py --list` names them")
    parser.add_argument("--methods", nargs="+", choices=[method.name for method in known], metavar="METHOD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-s", type=float, default=20.0, help="a method slower than this runs once")
    parser.add_argument("--cores", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--out", type=Path, help="also write the JSON list to this file, pair by pair")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="keep every round there, and go on from it")
    options = parser.parse_args(arguments)
    options.methods = [method for method in known if not options.methods or method.name in options.methods]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a result was not identical to its target."""
    options = parsed(arguments)
    rows: list[Row] = []
    found: list[Verdict] = []
    kept = Kept(options.resume, cores=options.cores)
    for pair, base, target in chosen_pairs(options):
        fresh = measure(
            pair.name,
            base,
            target,
            options.methods,
            rounds=options.rounds,
            slow_s=options.slow_s,
            cores=options.cores,
            kept=kept,
        )
        rows += fresh
        found += verdicts(pair.name, pair.group, target.stat().st_size, fresh)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows, found) if options.table else json.dumps(rows, indent=1))
    return int(any(row["identical"] is False or row.get("numpy_identical") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
