"""Small model files, written byte by byte and independently of the parsers."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

U32, TEXT, LIST, F32 = 4, 8, 9, 6


def text(value: str | bytes, order: str = "<") -> bytes:
    """A GGUF string."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(f"{order}Q", len(raw)) + raw


def key(name: str | bytes, kind: int, value: bytes, order: str = "<") -> bytes:
    """A GGUF key with its value."""
    return text(name, order) + struct.pack(f"{order}I", kind) + value


def key_text(name: str, value: str | bytes) -> bytes:
    return key(name, TEXT, text(value))


def key_texts(name: str, values: Sequence[str | bytes]) -> bytes:
    return key(name, LIST, struct.pack("<IQ", TEXT, len(values)) + b"".join(map(text, values)))


def key_floats(name: str, count: int) -> bytes:
    return key(name, LIST, struct.pack("<IQ", F32, count) + bytes(4 * count))


def tensor(name: str | bytes, shape: Sequence[int], kind: int, offset: int, order: str = "<") -> bytes:
    """A GGUF description of a tensor."""
    return text(name, order) + struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(
    keys: Sequence[bytes],
    tensors: Sequence[tuple[str, Sequence[int], int, bytes]],
    *,
    alignment: int = 32,
    version: int = 3,
    order: str = "<",
) -> bytes:
    """A GGUF file; each tensor is (name, shape, type, values)."""
    keys = list(keys)
    if alignment != 32:
        keys.append(key("general.alignment", U32, struct.pack(f"{order}I", alignment), order))
    infos, data = [], b""
    for name, shape, kind, values in tensors:
        data += bytes(-len(data) % alignment)
        infos.append(tensor(name, shape, kind, len(data), order))
        data += values
    head = b"GGUF" + struct.pack(f"{order}IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


def safetensors(tensors: Sequence[tuple[str, str, Sequence[int], bytes]], *, pad: int = 8, **metadata: str) -> bytes:
    """A safetensors file; each tensor is (name, dtype, shape, values)."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, dtype, shape, values in tensors:
        header[name] = {
            "dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(values)],
        }  # fmt: skip
        data += values
    return raw_safetensors(json.dumps(header).encode(), data, pad=pad)


def raw_safetensors(header: bytes, data: bytes = b"", *, pad: int = 1) -> bytes:
    """A safetensors file of a given header."""
    header += b" " * (-len(header) % pad)
    return struct.pack("<Q", len(header)) + header + data
