"""Tensors to and from safetensors files, float32, without a library: what the training scripts exchange."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1"}


def load(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file by name, in the order of the file; bfloat16 as its 16 bits."""
    whole = path.read_bytes()
    (length,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(whole[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def store(path: Path, tensors: dict[str, Array], *, dtype: str, metadata: dict[str, str] | None = None) -> None:
    """Write tensors in the order given, atomically; `dtype` as safetensors spells it, the header padded to 8 bytes.

    Float arrays are rounded to `dtype` (BF16: to nearest, ties to even); others keep their type.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    bodies, offset = [], 0
    for name, values in tensors.items():
        kept = values.dtype.kind != "f"
        code = next(code for code, spelt in DTYPES.items() if np.dtype(spelt) == values.dtype) if kept else dtype
        body = (values if kept else rounded(values, dtype)).tobytes()
        header[name] = {"dtype": code, "shape": list(values.shape), "data_offsets": [offset, offset + len(body)]}
        bodies.append(body)
        offset += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(bodies)
    part.replace(path)


def rounded(values: Array, dtype: str) -> Array:
    """Floats in another float type; bfloat16 as its 16 bits, rounded to nearest, ties to even, no NaN expected."""
    if dtype != "BF16":
        return values.astype(DTYPES[dtype])
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
