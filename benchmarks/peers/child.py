"""Runs one step of a method that is a library or our own code: `child.py METHOD encode|apply BASE READ WRITTEN REPORT`.

`encode` reads base and target and writes the patch, `apply` reads base and patch and writes the result. The clock runs
from the first read to the last write, not while the interpreter and the libraries start: a device's worker has them
loaded. Writes `seconds`, `cpu_s` and `rss_bytes` to the report, the latter two with those of the workers added.

Libraries are imported late: a process loads only what its method needs, or its memory would say nothing.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from peers import methods

Step = Callable[[Path, Path, Path], None]


def _bsdiff4() -> tuple[Step, Step]:
    import bsdiff4  # noqa: PLC0415 - only what the method needs

    return (
        lambda base, target, patch: bsdiff4.file_diff(str(base), str(target), str(patch)),
        lambda base, patch, out: bsdiff4.file_patch(str(base), str(out), str(patch)),
    )


def _hdiffpatch() -> tuple[Step, Step]:
    import hdiffpatch  # noqa: PLC0415 - only what the method needs

    coder = hdiffpatch.ZStdConfig(level=21, window=27, threads=len(os.sched_getaffinity(0)))

    def encode(base: Path, target: Path, patch: Path) -> None:
        made = hdiffpatch.diff(
            base.read_bytes(), target.read_bytes(), compression=coder, validate=False, big_cache_match=True
        )
        patch.write_bytes(made)

    def apply(base: Path, patch: Path, out: Path) -> None:
        out.write_bytes(hdiffpatch.apply(base.read_bytes(), patch.read_bytes()))

    return encode, apply


def _emulation() -> tuple[Step, Step]:
    from peers import bitx  # noqa: PLC0415 - only what the method needs

    return bitx.encode, bitx.apply


def main() -> None:
    """Do the step."""
    name, step, *names, report = sys.argv[1:]
    read, given, written = map(Path, names)
    if name in {methods.OURS, methods.OURS_NUMPY, methods.FULL}:
        from peers import ours  # noqa: PLC0415 - only what the method needs

        ours.prepare(name)
        if step == "encode":
            with ours.Maker(len(os.sched_getaffinity(0)), paired=name != methods.FULL) as maker:
                stated = _timed(maker.encode, read, given, written)
                workers_rss_bytes, workers_cpu_s = maker.workers_cost()
            stated["rss_bytes"] += workers_rss_bytes
            stated["cpu_s"] += workers_cpu_s
        else:
            stated = _timed(ours.apply, read, given, written)
    else:
        known = {"bsdiff4": _bsdiff4, "HDiffPatch": _hdiffpatch, methods.EMULATION: _emulation}
        encode, apply = known[name]()
        stated = _timed(encode if step == "encode" else apply, read, given, written)
    Path(report).write_text(json.dumps(stated), encoding="utf-8")


def _timed(step: Step, read: Path, given: Path, written: Path) -> dict[str, float]:
    started, cpu_started_s = time.perf_counter(), time.process_time()
    step(read, given, written)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started_s,
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
