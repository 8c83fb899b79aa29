"""Fuzzes one target with libFuzzer, through atheris: `python -m tests.soak.fuzz TARGET [CORPUS] [libFuzzer options]`.

Given files instead of a corpus, it runs each of them once: that is how a finding is looked at again.
"""

from __future__ import annotations

import os
import random
import resource
import sys

import atheris

with atheris.instrument_imports(include=["modelota"]):
    from tests.soak.fuzz_targets import TARGETS, mutate_json

# More than any target may need for an input of 64 KiB and a chunk of 4 MiB.
ROOM_BYTES = 384 << 20
BYTES_KEPT_PERCENT = 25  # of mutations of JSON that are left to libFuzzer


def main() -> None:
    """Run; ends the process."""
    _, name, *options = sys.argv
    target = TARGETS[name]
    room = Room()

    def run(data: bytes) -> None:
        room.limit()
        target.run(data)

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = data if rng.randrange(100) < BYTES_KEPT_PERCENT else mutate_json(data, rng)
        return changed if changed != data and len(changed) <= max_bytes else atheris.Mutate(data, max_bytes)

    arguments = [sys.argv[0], *options]
    if target.is_json:
        atheris.Setup(arguments, run, custom_mutator=mutate)
    else:
        atheris.Setup(arguments, run)
    atheris.Fuzz()


class Room:
    """Makes a large allocation a MemoryError, which no target expects.

    The limit moves with every input: instrumented code leaks a little each time it runs (atheris 3.0), and that is no
    finding.
    """

    def __init__(self) -> None:
        self._hard_bytes = resource.getrlimit(resource.RLIMIT_AS)[1]
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def limit(self) -> None:
        """Allow `ROOM_BYTES` beyond what the process has now."""
        pages = int(os.pread(self._statm, 64, 0).split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM_BYTES, self._hard_bytes))


if __name__ == "__main__":
    main()
