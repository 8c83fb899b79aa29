"""llama.cpp's own quantiser, reached through the library inside the `xllamacpp` wheel.

The blocks are those that `llama-quantize` writes without an importance matrix: it calls the same function. Where no
such library can be loaded, `quantise` falls back to reference quantisers (the `gguf` package's for Q8_0 and Q4_0, the
example family's for Q4_K and Q6_K) and `origin` says so: their layout is the same, their choice of scales is not.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

Type = gguf.GGMLQuantizationType
FAMILY = Path(__file__).parents[2] / "examples" / "family"
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@cache
def library() -> ctypes.CDLL | None:
    """The wheel's shared library, or None where there is none that exports the quantiser."""
    found = importlib.util.find_spec("xllamacpp")
    places = list(found.submodule_search_locations or ()) if found else []
    for path in sorted(path for place in places for path in Path(place).glob("*.so")):
        try:
            loaded = ctypes.CDLL(str(path))
            function: Any = loaded.ggml_quantize_chunk
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_size_t
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        function.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
        return loaded
    return None


def origin() -> str:
    """Which quantiser `quantise` uses, in words for a report."""
    return "llama.cpp (ggml_quantize_chunk)" if library() else "reference (gguf, examples/family/quantise.py)"


def quantise(values: Floats, kind: Type) -> Bytes:
    """(rows, columns) floats as (rows, bytes per row); columns must be a multiple of the block."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    loaded = library()
    if loaded is None:
        return _reference(values, kind)
    rows, columns = values.shape
    block_values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if columns % block_values:
        raise ValueError(f"{columns} columns are not whole blocks of {block_values}")
    out = np.zeros((rows, columns // block_values * block_bytes), dtype=np.uint8)
    written = loaded.ggml_quantize_chunk(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    if written != out.nbytes:
        raise RuntimeError(f"ggml_quantize_chunk wrote {written} bytes, not {out.nbytes}")
    return out


def _reference(values: Floats, kind: Type) -> Bytes:
    if kind not in {Type.Q4_K, Type.Q6_K}:
        return np.asarray(gguf.quants.quantize(values, kind), dtype=np.uint8)
    sys.path.insert(0, str(FAMILY))
    try:
        from quantise import q4_k, q6_k  # noqa: PLC0415 - examples are no package
    finally:
        sys.path.remove(str(FAMILY))
    return q4_k(values) if kind == Type.Q4_K else q6_k(values)
