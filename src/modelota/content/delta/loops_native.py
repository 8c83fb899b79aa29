"""The loops in C: `native/delta.c`, prebuilt beside this module, called through ctypes, which releases the GIL."""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from modelota.content.delta.contract import U8, Elements, Positions, invalid
from modelota.content.delta.layouts import Layout
from modelota.errors import OurBug

ABI: Final = 3
LIBRARIES: Final = {"x86_64": "delta-x86_64.so", "aarch64": "delta-aarch64.so"}

# What a negative result means; others are mistakes of ours.
_DETAILS: Final = {
    -1: "short",
    -2: "number",
    -3: "lanes",
    -4: "tables",
    -5: "states",
    -6: "words",
    -7: "tokens",
    -8: "gaps",
    -9: "width",
    -10: "elements",
    -11: "form",
}
_TABLES_BYTES: Final = 1 << 20  # what tables, lanes and a few lines between arrays take, at most

_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_U32 = ctypes.c_uint32
_INT = ctypes.c_int
_SIGNATURES: Final = {
    "delta_wide": (),
    "delta_encode_symbols": (_POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _SIZE),
    "delta_decode_symbols": (_POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE),
    "delta_encode_gaps": (_POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _SIZE),
    "delta_decode_gaps": (_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE),
    "delta_encode_elements": (_POINTER, _POINTER, _SIZE, _INT, _U32, _U32, _POINTER, _SIZE, _POINTER, _SIZE),
    "delta_decode_elements": (_POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _POINTER, _SIZE),
    "delta_encode_blocks": (_POINTER, _POINTER, _SIZE, _U32, _INT, _POINTER, _SIZE, _POINTER, _SIZE),
    "delta_decode_blocks": (_POINTER, _SIZE, _POINTER, _SIZE, _U32, _INT, _POINTER, _POINTER, _SIZE),
}


def library_path() -> Path | None:
    """The library built for this machine, or None: none is shipped for it."""
    name = LIBRARIES.get(platform.machine())
    if name is None or sys.platform != "linux" or sys.byteorder != "little":
        return None
    return Path(__file__).with_name("native") / name


def load_library(path: Path | None = None) -> ctypes.CDLL | None:
    """The kernel, ready to call, or None: there is none for this machine, or it does not load or is another version.

    Args:
        path: of another build of it; None takes the one shipped.
    """
    path = path or library_path()
    if path is None or not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
        if library.delta_abi() != ABI:
            return None
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int64
    except (OSError, AttributeError):  # not loadable here (noexec mount, another C library's loader), or not ours
        return None
    return library


class NativeLoops:
    """`Loops` by the kernel. A thread keeps its working memory, because new memory would take longer than the work."""

    name = "native"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library: Any = library
        self._wide = int(library.delta_wide())
        self._local = threading.local()

    def encode_elements(self, target: U8, base: U8, elements: Elements) -> bytes:
        """See `Loops`."""
        _need(base.size == target.size and target.size % elements.width == 0, "sizes")
        count = target.size // elements.width
        return self._encode(
            "delta_encode_elements", 8 * count, 9 * count, _at(target), _at(base), target.size, *elements
        )

    def decode_elements(self, coded: U8, base: U8) -> tuple[U8, int]:
        """See `Loops`."""
        out = np.empty(base.size, dtype=np.uint8)
        room = base.size + coded.size
        return out, self._decode("delta_decode_elements", room, coded, _at(base), base.size, _at(out))

    def encode_blocks(self, target: U8, base: U8, layout: Layout) -> bytes:
        """See `Loops`."""
        blocks = len(base)
        _need(base.shape == target.shape == (blocks, layout.block_bytes), "blocks")
        values = blocks * layout.values
        arguments = (_at(target), _at(base), blocks, layout.number, self._wide)
        return self._encode("delta_encode_blocks", 3 * values, 6 * values, *arguments)

    def decode_blocks(self, coded: U8, base: U8, layout: Layout) -> tuple[U8, int]:
        """See `Loops`."""
        blocks = len(base)
        _need(base.shape == (blocks, layout.block_bytes), "blocks")
        out = np.empty(base.shape, dtype=np.uint8)
        room = 3 * blocks * layout.values + coded.size
        arguments = (_at(base), blocks, layout.number, self._wide, _at(out))
        return out, self._decode("delta_decode_blocks", room, coded, *arguments)

    def encode_gaps(self, positions: Positions) -> bytes:
        """See `Loops`."""
        places = positions.astype(np.uint32)
        return self._encode("delta_encode_gaps", 8 * places.size, 8 * places.size, _at(places), places.size)

    def decode_gaps(self, coded: U8, count: int, places: int) -> tuple[Positions, int]:
        """See `Loops`."""
        out = np.empty(count, dtype=np.uint32)
        used = self._decode("delta_decode_gaps", count + coded.size, coded, count, places, _at(out))
        return out.astype(np.intp), used

    def encode_symbols(self, symbols: U8) -> bytes:
        """See `Loops`."""
        return self._encode("delta_encode_symbols", 2 * symbols.size, 2 * symbols.size, _at(symbols), symbols.size)

    def decode_symbols(self, coded: U8, count: int) -> tuple[U8, int]:
        """See `Loops`."""
        out = np.empty(count, dtype=np.uint8)
        return out, self._decode("delta_decode_symbols", 0, coded, count, _at(out))

    def _encode(self, name: str, coded_bytes: int, room_bytes: int, *arguments: int) -> bytes:
        """Call what codes; `coded_bytes` and `room_bytes` are what it may need besides tables."""
        coded, memory = self._memory(coded_bytes + _TABLES_BYTES, room_bytes)
        size_bytes = int(getattr(self._library, name)(*arguments, _at(coded), coded.size, _at(memory), memory.size))
        _need(size_bytes >= 0, "room")
        return coded[:size_bytes].tobytes()

    def _decode(self, name: str, room_bytes: int, coded: U8, *arguments: int) -> int:
        """Call what decodes; returns how many bytes of `coded` it took."""
        _, memory = self._memory(0, room_bytes)
        used = int(getattr(self._library, name)(_at(coded), coded.size, *arguments, _at(memory), memory.size))
        if used in _DETAILS:
            raise invalid(_DETAILS[used])
        _need(used >= 0, "room")
        return used

    def _memory(self, coded_bytes: int, room_bytes: int) -> tuple[U8, U8]:
        """This thread's, until its next call; touched only as far as it is used."""
        need_bytes = coded_bytes + room_bytes + _TABLES_BYTES
        memory: U8 | None = getattr(self._local, "memory", None)
        if memory is None or memory.size < need_bytes:
            memory = self._local.memory = np.empty(need_bytes, dtype=np.uint8)
        return memory[:coded_bytes], memory[coded_bytes:]


def _at(array: npt.NDArray[Any]) -> int:
    _need(array.flags.c_contiguous, "layout")
    address: int = array.__array_interface__["data"][0]  # a third of the time of `array.ctypes.data`
    return address


def _need(fits: bool, what: str) -> None:  # noqa: FBT001 - a condition, not a mode
    if not fits:
        raise OurBug("invariant-broken", detail=f"delta kernel: {what}")
