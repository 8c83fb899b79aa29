"""Run by `test_native.py` in a process of its own: `sanitized.py LIBRARY ROUNDS`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from modelota.content.delta import decode_delta, encode_delta, sparse
from modelota.content.delta.loops import loops
from modelota.content.delta.loops_native import NativeLoops, load_library
from modelota.errors import RefuseContent


def main() -> None:
    library = load_library(Path(sys.argv[1]))
    assert library is not None
    engine, reference = NativeLoops(library), loops("numpy")
    random = np.random.default_rng(23)
    outcomes: Counter[str] = Counter()
    operations: set[str] = set()
    kinds = ("bf16", "f32", "i8", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k")
    # Few changes are coded by the gaps between them; the last two cases are sparse, and floats without a base.
    cases = [(kind, rate) for kind in kinds for rate in (0.2, 0.01)] + [("f32", 0.001), ("bf16", 1.0)]
    for kind, rate in cases:
        base = random.integers(0, 256, 5200).astype(np.uint8)
        changes = (random.random(base.size) < rate) * random.integers(0, 4, base.size)
        changes *= np.where(random.random(base.size) < 0.05, 37, 1)  # some too large for their place in a symbol
        target = (base + changes.astype(np.uint8)).tobytes()
        if rate == 1.0:
            target = random.integers(0x3C00, 0x3D00, 2600).astype("<u2").tobytes()
        op, coded = encode_delta(target, base.tobytes(), kind, engine=engine)
        assert (op, coded) == encode_delta(target, base.tobytes(), kind, engine=reference)
        if rate == 0.001:
            op, coded = "sparse", sparse.encode(engine, target, sparse.changed(target, base.tobytes(), 4), 4)
        operations.add(op)
        assert decode_delta(op, coded, base.tobytes(), len(target), engine=engine) == target
        for _ in range(int(sys.argv[2])):
            damaged = bytearray(coded)
            for place in random.integers(0, len(damaged), random.integers(1, 4)).tolist():
                damaged[place] = int(random.integers(0, 256))
            size = int(random.choice([len(target), len(target) - 1, len(target) + 40, 77]))
            results = []
            for one in (engine, reference):
                try:
                    results.append(decode_delta(op, bytes(damaged), base.tobytes(), size, engine=one))
                except RefuseContent as error:
                    results.append(error.code.encode())
            assert results[0] == results[1]
            outcomes["bytes" if len(results[0]) == size else results[0].decode()] += 1
    assert operations >= {"numeric", "blocks", "sparse", "floats"}, operations
    sys.stdout.write(f"outcomes {dict(outcomes)}\n")


if __name__ == "__main__":
    main()
