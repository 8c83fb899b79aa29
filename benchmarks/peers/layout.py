"""Where the tensors of a safetensors or GGUF file lie: for the bounds and for the peers that need to know.

Written apart from the product's parsers, so that a mistake there cannot flatter the product here.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import NamedTuple

SAFETENSORS_KINDS = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}
WORD_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}


class Tensor(NamedTuple):
    """One tensor: its name, element kind (`bf16`, `q4_0`, …), shape, and place in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


def tensors_of(path: Path) -> list[Tensor]:
    """The tensors in the order of the file; none when it is of neither format."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"GGUF":
        return _gguf(path)
    return _safetensors(path) if start[8:] == b"{" else []


def _safetensors(path: Path) -> list[Tensor]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = []
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        kind = SAFETENSORS_KINDS.get(entry["dtype"], entry["dtype"].lower())
        found.append(Tensor(name, kind, tuple(entry["shape"]), 8 + length + first, last - first))
    return sorted(found, key=lambda tensor: tensor.offset)


def _gguf(path: Path) -> list[Tensor]:
    import gguf  # noqa: PLC0415 - not needed for the other format

    spelt = {"F32": "fp32", "F16": "fp16"}
    found = []
    for tensor in gguf.GGUFReader(path).tensors:
        kind = spelt.get(tensor.tensor_type.name, tensor.tensor_type.name.lower())
        shape = tuple(int(size) for size in tensor.shape)
        found.append(Tensor(tensor.name, kind, shape, int(tensor.data_offset), int(tensor.n_bytes)))
    return sorted(found, key=lambda tensor: tensor.offset)
