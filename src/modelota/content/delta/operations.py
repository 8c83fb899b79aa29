"""One chunk as a delta against another: by trial among operations that `docs/formats/delta.md` numbers and specifies.

The publisher says of what kind the bytes are; a device knows an operation, coded bytes, and the base's bytes. Every
operation is exact on every processor, and whatever the coded bytes are, decoding ends, takes memory in proportion to
the chunk, and gives the wrong bytes or a refusal at worst. The chunk's digest, which is the caller's to check, tells.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelota.content import coding
from modelota.content.delta import blocks, numeric, planes, sparse, zstd
from modelota.content.delta.contract import Elements, Loops, invalid
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops
from modelota.content.formats.elements import ELEMENTS, OPAQUE
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB

# name -> number; neither is ever reused. `raw` and `zstd` are the codecs of packs, and need no base, nor does `floats`.
OPERATIONS: Final[dict[str, int]] = {
    "raw": 0,
    "zstd": 1,
    "copy": 2,
    "sparse": 3,
    "numeric": 4,
    "blocks": 5,
    "planes": 6,
    "patch": 7,
    "floats": 8,
}
BASELESS: Final = frozenset({"raw", "zstd", "floats"})

_FLOATS: Final = frozenset({"bf16", "f16", "f32", "c64", "f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz"})
# What bytes of no known kind may be.
_GUESSES: Final = ("f32", "f16", "bf16", "u8")

_SPARSE_ONE_IN: Final = 512  # with more changed elements than this, differences are smaller than new values
_SPARSE_LOOK: Final = 100  # what does not shrink to this part changed in more places
_GOOD_PERCENT: Final = 60  # a delta below needs no comparison with the chunk compressed by itself
_SAMPLE_BYTES: Final = 64 * KIB


def encode_delta(target: bytes, base: bytes, kind: str, *, engine: Loops | None = None) -> tuple[str, bytes]:
    """Code a chunk as what it differs by from another.

    Args:
        target: 1 … `CHUNK_MAX_BYTES` bytes.
        base: what the device has in its place: at most `CHUNK_MAX_BYTES`, of any length.
        kind: of both: a `TensorSpan.dtype`; anything unknown is treated as `opaque`.
        engine: the implementation; None takes the fastest there is.

    Returns:
        A key of `OPERATIONS` and the coded bytes: never longer than `target`, nor than `coding.encode` makes it.

    Raises:
        OurBug: `invariant-broken`: a chunk is empty or too large.
    """
    if not 1 <= len(target) <= CHUNK_MAX_BYTES or len(base) > CHUNK_MAX_BYTES:
        raise OurBug("invariant-broken", detail=f"chunk of {len(target)} bytes against one of {len(base)}")
    if base.startswith(target):
        return "copy", b""
    engine = engine or loops()
    tried = _deltas(engine, target, base, kind)
    best = min(tried, key=lambda one: len(one[1]))
    if len(best[1]) * 100 <= len(target) * _GOOD_PERCENT:
        return best
    return min(best, encode_full(target, kind, engine=engine), key=lambda one: len(one[1]))


def encode_full(target: bytes, kind: str, *, engine: Loops | None = None) -> tuple[str, bytes]:
    """Code a chunk by itself.

    Args:
        target: 1 … `CHUNK_MAX_BYTES` bytes.
        kind: a `TensorSpan.dtype`.
        engine: the implementation; None takes the fastest there is.

    Returns:
        One of `BASELESS` and the coded bytes, never longer than `target`.

    Raises:
        OurBug: `invariant-broken`: the chunk is empty or too large.
    """
    plain = coding.encode(target)
    if kind not in _FLOATS:
        return plain
    coded = planes.encode_floats(engine or loops(), target, numeric.ELEMENTS[kind].width)
    return ("floats", coded) if len(coded) < len(plain[1]) else plain


def decode_delta(op: str, coded: bytes, base: bytes, size_bytes: int, *, engine: Loops | None = None) -> bytes:
    """The chunk.

    Args:
        op: what `encode_delta` chose.
        coded: what it made.
        base: the same bytes; may be anything for one of `BASELESS`.
        size_bytes: of the chunk, from the manifest.
        engine: the implementation; None takes the fastest there is.

    Returns:
        `size_bytes` bytes. They are the chunk if `coded` and `base` are what they were: compare its digest.

    Raises:
        RefuseContent: `delta-invalid` (no such coded bytes), `decode-limit`, `document-needs-newer` (no such
            operation), or what `coding.decode` raises.
    """
    if not 1 <= size_bytes <= CHUNK_MAX_BYTES or len(base) > CHUNK_MAX_BYTES:
        raise RefuseContent("decode-limit", limit_bytes=CHUNK_MAX_BYTES)
    if op == "copy":
        if coded or len(base) < size_bytes:
            raise invalid("copy")
        return base[:size_bytes]
    engine = engine or loops()
    if op == "sparse":
        return sparse.decode(engine, coded, base, size_bytes)
    if op == "numeric":
        return numeric.decode(engine, coded, base, size_bytes)
    if op == "blocks":
        return blocks.decode(engine, coded, base, size_bytes)
    if op == "planes":
        return planes.decode(coded, base, size_bytes)
    if op == "patch":
        return zstd.decode_patch(coded, base, size_bytes)
    if op == "floats":
        return planes.decode_floats(engine, coded, size_bytes)
    return coding.decode(op, coded, size_bytes)


def _deltas(engine: Loops, target: bytes, base: bytes, kind: str) -> list[tuple[str, bytes]]:
    tried: list[tuple[str, bytes]] = [("raw", target)]
    elements = numeric.ELEMENTS.get(kind)
    layout = LAYOUTS.get(kind)
    lead = 0
    if elements is not None:
        tried.append(("numeric", numeric.encode(engine, target, base, elements)))
    elif layout is not None:
        tried.append(("blocks", blocks.encode(engine, target, base, layout)))
    elif kind != OPAQUE and kind in ELEMENTS:
        tried.append(("planes", planes.encode(target, base, ELEMENTS[kind].block_bytes)))
    else:
        tried.append(("patch", zstd.encode_patch(target, base)))
        guess = _guess(engine, target, base) if len(base) == len(target) else None
        if guess is not None:
            elements, lead = guess
            tried.append(("numeric", numeric.encode(engine, target, base, elements, lead)))
    width = elements.width if elements is not None and not lead else 1
    smallest = min(len(coded) for _, coded in tried)
    if smallest * _SPARSE_LOOK <= len(target):  # else too much changed
        where = sparse.changed(target, base, width)
        if where.size * _SPARSE_ONE_IN <= len(target):
            tried.insert(0, ("sparse", sparse.encode(engine, target, where, width)))
    return tried


def _guess(engine: Loops, target: bytes, base: bytes) -> tuple[Elements, int] | None:
    """Which elements, beginning at which byte, make the differences of a sample smallest; None: none makes sense."""
    size = min(_SAMPLE_BYTES, len(target) // 8 * 8)
    if size < KIB:
        return None
    old, new = np.frombuffer(base, dtype=np.uint8), np.frombuffer(target, dtype=np.uint8)
    differs = (old != new).nonzero()[0]
    start = max(0, min(int(differs[differs.size // 2]) - size // 2, len(target) - size)) // 8 * 8
    best: tuple[int, Elements, int] | None = None
    for kind in _GUESSES:
        elements = numeric.ELEMENTS[kind]
        for lead in range(elements.width):
            part = slice(start + lead, start + lead + (size - lead) // elements.width * elements.width)
            cost = len(engine.encode_elements(new[part].copy(), old[part].copy(), elements))
            if best is None or cost < best[0]:
                best = (cost, elements, lead)
    return None if best is None or best[0] > size else best[1:]
