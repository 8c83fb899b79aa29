"""An emulation of BitX (ZipLLM, NSDI '26): XOR of tensors paired by name, split into byte planes, Zstandard level 3.

Written from the published description, in NumPy; the original is Rust. As there, a tensor that the base holds under
any name is not stored again. The planes are the bytes of the values as they lie; the original's for bfloat16 (the
exponent, and the sign with the mantissa) came out 2.5 % larger on `minilm-bf16-tuned-30`. Blocks of quantised values
are one plane.
What no tensor of the base is paired with is split without XOR. One thread per core: NumPy and Zstandard let the
interpreter's lock go.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import gguf  # noqa: F401 - read by the layout: loaded here, before the clock runs
import numpy as np
import numpy.typing as npt
import zstandard
from peers.layout import WORD_BYTES, Tensor, tensors_of

LEVEL = 3
Bytes = npt.NDArray[np.uint8]


class Part(NamedTuple):
    """A run of the target: its kind, its size, where its base lies (-1: nowhere), and whether it is the same there."""

    kind: str
    size_bytes: int
    base_offset: int
    same: bool


def encode(base: Path, target: Path, patch: Path) -> None:
    """Write the patch: the length of a header, the header, the planes of every part."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        old, new = base.read_bytes(), target.read_bytes()
        parts, offsets = [], []
        for part, offset in _parts(base, target, old, new):
            parts.append(part)
            offsets.append(offset)

        def coded(index: int) -> list[bytes]:
            part, offset = parts[index], offsets[index]
            return [] if part.same else _code(part, new[offset : offset + part.size_bytes], old)

        streams = list(pool.map(coded, range(len(parts))))
    entries = [[*part, [len(stream) for stream in found]] for part, found in zip(parts, streams, strict=True)]
    header = zstandard.compress(json.dumps(entries).encode(), LEVEL)
    with patch.open("wb") as file:
        file.write(struct.pack("<I", len(header)) + header)
        file.writelines(stream for found in streams for stream in found)


def apply(base: Path, patch: Path, out: Path) -> None:
    """Rebuild the target."""
    old, data = base.read_bytes(), patch.read_bytes()
    (length,) = struct.unpack_from("<I", data)
    entries = json.loads(zstandard.decompress(data[4 : 4 + length]))
    jobs, position = [], 4 + length
    for *fields, lengths in entries:
        streams = []
        for size in lengths:
            streams.append(data[position : position + size])
            position += size
        jobs.append((Part(*fields), streams))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool, out.open("wb") as file:
        file.writelines(pool.map(lambda job: _decode(*job, old), jobs))


def _parts(base: Path, target: Path, old: bytes, new: bytes) -> Iterator[tuple[Part, int]]:
    """The target's tensors and what lies between them, with their offsets."""
    by_name = {(tensor.name, tensor.kind, tensor.size_bytes): tensor for tensor in tensors_of(base)}
    by_digest = {_digest(old, tensor): tensor for tensor in by_name.values()}
    position = 0
    for tensor in tensors_of(target):
        if tensor.offset > position:
            yield Part("gap", tensor.offset - position, -1, same=False), position
        same = by_digest.get(_digest(new, tensor))
        found = same or by_name.get((tensor.name, tensor.kind, tensor.size_bytes))
        where = found.offset if found else -1
        yield Part(tensor.kind, tensor.size_bytes, where, same=same is not None), tensor.offset
        position = tensor.offset + tensor.size_bytes
    if position < len(new):
        yield Part("gap", len(new) - position, -1, same=False), position


def _digest(data: bytes, tensor: Tensor) -> bytes:
    return hashlib.blake2b(memoryview(data)[tensor.offset : tensor.offset + tensor.size_bytes], digest_size=16).digest()


def _code(part: Part, new: bytes, old: bytes) -> list[bytes]:
    values = np.frombuffer(new, np.uint8)
    if part.base_offset >= 0:
        values = values ^ np.frombuffer(old, np.uint8, part.size_bytes, part.base_offset)
    coder = zstandard.ZstdCompressor(level=LEVEL)
    return [coder.compress(plane) for plane in _planes(values, part.kind)]


def _planes(values: Bytes, kind: str) -> list[Bytes]:
    width = WORD_BYTES.get(kind, 1)
    return [np.ascontiguousarray(values[plane::width]) for plane in range(width)]


def _decode(part: Part, streams: list[bytes], old: bytes) -> Any:  # noqa: ANN401 - whatever has a buffer
    if part.same:
        return memoryview(old)[part.base_offset : part.base_offset + part.size_bytes]
    coder = zstandard.ZstdDecompressor()
    planes = [np.frombuffer(coder.decompress(stream), np.uint8) for stream in streams]
    values = np.stack(planes, axis=1).reshape(-1)  # a copy, also of a single plane
    if part.base_offset >= 0:
        values ^= np.frombuffer(old, np.uint8, part.size_bytes, part.base_offset)
    return values.data
