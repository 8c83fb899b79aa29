"""The loops in C: `native/delta.c`, prebuilt beside this module, called through ctypes, which releases the GIL."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from modelota.content.delta.contract import (
    F32,
    I8,
    LISTED,
    MOVED,
    SCALE,
    STILL,
    U8,
    U16,
    U32,
    Differences,
    Elements,
    Expected,
    Flags,
    Leftover,
    Residuals,
    invalid,
)
from modelota.content.delta.layouts import Layout
from modelota.errors import OurBug

ABI: Final = 1
LIBRARIES: Final = {"x86_64": "delta-x86_64.so", "aarch64": "delta-aarch64.so"}

_ROOM: Final = 9  # bytes that the kernel wants behind packed bits: it moves them eight at a time
_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_U32 = ctypes.c_uint32
_I32 = ctypes.c_int32
_SIGNATURES: Final = {
    "delta_read_tables": (_POINTER, _SIZE, _U32, _POINTER),
    "delta_table": (_POINTER, _U32, _POINTER),
    "delta_lanes_decode": (_POINTER, _U32, _POINTER, _SIZE, _POINTER, _U32, _POINTER, _SIZE, _POINTER),
    "delta_lanes_encode": (_POINTER, _U32, _POINTER, _POINTER, _SIZE, _POINTER, _U32, _POINTER, _SIZE),
    "delta_counts": (_POINTER, _POINTER, _SIZE, _U32, _POINTER),
    "delta_contexts": (_POINTER, _SIZE, ctypes.c_int, _U32, _U32, _U32, _U32, _POINTER),
    "delta_forward": (
        *(_POINTER, _POINTER, _SIZE, ctypes.c_int, _U32, _U32, _U32, _POINTER, _U32),
        *(_POINTER, _POINTER, _POINTER, _POINTER, _SIZE, _POINTER, _SIZE),
    ),
    "delta_leftover_bits": (_POINTER, _SIZE, _U32, _POINTER),
    "delta_inverse": (
        *(_POINTER, _POINTER, _SIZE, ctypes.c_int, _U32, _POINTER, _U32),
        *(_POINTER, _SIZE, _POINTER, _SIZE, _POINTER),
    ),
    "delta_split": (_POINTER, _SIZE, _U32, ctypes.c_int, _U32, _U32, _U32, ctypes.c_int, _POINTER),
    "delta_join": (_POINTER, _SIZE, _U32, ctypes.c_int, _U32, _U32, _U32, ctypes.c_int, _POINTER),
    "delta_expect": (
        *(_POINTER, _SIZE, _U32, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _I32, _I32),
        *(_SIZE, _POINTER, _POINTER, _POINTER),
    ),
    "delta_residuals": (
        *(_POINTER, _POINTER, _SIZE, _U32, _POINTER, _POINTER, _POINTER, _SIZE),
        *(_POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
    ),
    "delta_restore": (
        *(_POINTER, _SIZE, _U32, _POINTER, _POINTER, _POINTER, _SIZE),
        *(_POINTER, _POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER),
    ),
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
    """`Loops` by the kernel."""

    name = "native"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library: Any = library

    def read_tables(self, coded: U8, contexts: int) -> tuple[U16, int]:
        """See `Loops`."""
        out = np.empty((contexts, 256), dtype=np.uint16)
        used = self._library.delta_read_tables(_at(coded), coded.size, contexts, _at(out))
        if used < 0:
            raise invalid("tables")
        return out, int(used)

    def decoding_table(self, frequencies: U16) -> U32:
        """See `Loops`."""
        table = np.empty(len(frequencies) * SCALE, dtype=np.uint32)
        frequencies = np.ascontiguousarray(frequencies)
        _need(self._library.delta_table(_at(frequencies), len(frequencies), _at(table)) == 0, "frequencies")
        return table

    def lanes_decode(self, table: U32, contexts: U8, states: U32, words: U16) -> tuple[U8, int]:
        """See `Loops`."""
        symbols = np.empty(contexts.size, dtype=np.uint8)
        used = self._library.delta_lanes_decode(
            *(_at(table), table.size // SCALE, _at(contexts), contexts.size),
            *(_at(states), states.size, _at(words), words.size, _at(symbols)),
        )
        if used < 0:
            raise invalid("words")
        return symbols, int(used)

    def lanes_encode(self, frequencies: U16, contexts: U8, symbols: U8, states: U32) -> U16:
        """See `Loops`."""
        starts = np.cumsum(frequencies, axis=1, dtype=np.uint32) - frequencies
        code = frequencies.astype(np.uint32) | starts << np.uint32(16)
        words = np.empty(symbols.size, dtype=np.uint16)
        count = self._library.delta_lanes_encode(
            *(_at(code), len(frequencies), _at(contexts), _at(symbols), symbols.size),
            *(_at(states), states.size, _at(words), words.size),
        )
        _need(count >= 0, "encoding")
        return words[words.size - count :]

    def counts(self, contexts: U8, symbols: U8, count: int) -> U32:
        """See `Loops`."""
        _need(contexts.size == symbols.size, "sizes")
        out = np.zeros((count, 256), dtype=np.uint32)
        done = self._library.delta_counts(_at(contexts), _at(symbols), symbols.size, count, _at(out))
        _need(done == 0, "contexts")
        return out

    def contexts(self, base: U8, elements: Elements, first: int, count: int) -> U8:
        """See `Loops`."""
        out = np.empty(base.size // elements.width, dtype=np.uint8)
        width, shift, mask = elements
        done = self._library.delta_contexts(_at(base), out.size, width, shift, mask, first, count, _at(out))
        _need(done == 0, "contexts")
        return out

    def forward(self, base: U8, target: U8, elements: Elements, drop: int, listed: U32) -> Differences:
        """See `Loops`."""
        _need(base.size == target.size, "sizes")
        tokens = np.empty(target.size // elements.width, dtype=np.uint8)
        counts = np.zeros((256, 256), dtype=np.uint32)
        seen = np.zeros(1, dtype=np.uint32)
        signs = np.empty(tokens.size // 8 + _ROOM, dtype=np.uint8)
        extras = np.empty(tokens.size // 8 * 29 + 29 + _ROOM, dtype=np.uint8)  # touched only as far as it is used
        done = self._library.delta_forward(
            *(_at(base), _at(target), tokens.size, *elements, drop, _at(listed), listed.size),
            *(_at(tokens), _at(counts), _at(seen), _at(signs), signs.size, _at(extras), extras.size),
        )
        _need(done == 0, "elements")
        bits = self.leftover_bits(tokens, LISTED)
        leftover = Leftover(signs[: (bits[0] + 7) // 8], extras[: (bits[1] + 7) // 8])
        return Differences(tokens, counts, int(seen[0]), leftover)

    def leftover_bits(self, tokens: U8, listed: int) -> tuple[int, int]:
        """See `Loops`."""
        bits = np.empty(2, dtype=np.uint64)
        if self._library.delta_leftover_bits(_at(tokens), tokens.size, listed, _at(bits)) < 0:
            raise invalid("tokens")
        return int(bits[0]), int(bits[1])

    def inverse(self, base: U8, tokens: U8, elements: Elements, drop: int, listed: U32, leftover: Leftover) -> U8:
        """See `Loops`."""
        _need(base.size == tokens.size * elements.width, "sizes")
        out = np.empty(base.size, dtype=np.uint8)
        signs, extras = (np.concatenate([part, np.zeros(_ROOM, dtype=np.uint8)]) for part in leftover)
        done = self._library.delta_inverse(
            *(_at(base), _at(tokens), tokens.size, elements.width, drop, _at(listed), listed.size),
            *(_at(signs), signs.size, _at(extras), extras.size, _at(out)),
        )
        _need(done == 0, "leftover")
        return out

    def split(self, blocks: U8, layout: Layout) -> I8:
        """See `Loops`."""
        _need(blocks.shape[1] == layout.block_bytes, "blocks")
        out = np.empty((len(blocks), layout.values), dtype=np.int8)
        done = self._library.delta_split(_at(blocks), len(blocks), layout.block_bytes, *layout.quants, _at(out))
        _need(done == 0, "layout")
        return out

    def join(self, quants: I8, layout: Layout, blocks: U8) -> None:
        """See `Loops`."""
        _need(blocks.shape == (len(quants), layout.block_bytes) and quants.shape[1] == layout.values, "blocks")
        done = self._library.delta_join(_at(quants), len(blocks), layout.block_bytes, *layout.quants, _at(blocks))
        _need(done == 0, "layout")

    def expect(
        self, before: I8, moved: Flags, old: tuple[F32, F32], new: tuple[F32, F32], limits: tuple[int, int]
    ) -> Expected:
        """See `Loops`."""
        groups, group = before.shape
        _need(all(part.size == groups for part in (moved, *old, *new)), "groups")
        rows = int(np.count_nonzero(moved))
        values = np.empty((rows, group), dtype=np.int8)
        side = np.empty((rows, group), dtype=np.uint8)
        contexts = np.empty(rows * group // 2, dtype=np.uint8)
        done = self._library.delta_expect(
            *(_at(before), groups, group, _at(moved), _at(old[0]), _at(old[1]), _at(new[0]), _at(new[1]), *limits),
            *(rows, _at(values), _at(side), _at(contexts)),
        )
        _need(done == rows, "groups")
        return Expected(values, side, contexts)

    def residuals(self, after: I8, before: I8, moved: Flags, expected: Expected) -> tuple[Residuals, Residuals]:
        """See `Loops`."""
        groups, group = before.shape
        rows = len(expected.values)
        _need(after.shape == before.shape and moved.size == groups and np.count_nonzero(moved) == rows, "groups")
        sizes = ((groups - rows) * group, rows * group)
        still, rest = (
            np.empty(size // many, dtype=np.uint8) for size, (many, _) in zip(sizes, (STILL, MOVED), strict=True)
        )
        escapes = [np.empty(size, dtype=np.uint8) for size in sizes]
        counts = np.empty(2, dtype=np.uint64)
        done = self._library.delta_residuals(
            *(_at(after), _at(before), groups, group, _at(moved), _at(expected.values), _at(expected.side), rows),
            *(_at(still), _at(rest), _at(escapes[0]), _at(escapes[1]), _at(counts)),
        )
        _need(done == 0, "residuals")
        return Residuals(still, escapes[0][: int(counts[0])]), Residuals(rest, escapes[1][: int(counts[1])])

    def restore(self, before: I8, moved: Flags, expected: Expected, still: Residuals, rest: Residuals) -> I8:
        """See `Loops`."""
        groups, group = before.shape
        rows = len(expected.values)
        _need(moved.size == groups and np.count_nonzero(moved) == rows, "groups")
        _need(still.symbols.size == (groups - rows) * group // STILL[0], "symbols")
        _need(rest.symbols.size == rows * group // MOVED[0], "symbols")
        out = np.empty(before.shape, dtype=np.int8)
        done = self._library.delta_restore(
            *(_at(before), groups, group, _at(moved), _at(expected.values), _at(expected.side), rows),
            *(_at(still.symbols), _at(rest.symbols), _at(still.escapes), still.escapes.size),
            *(_at(rest.escapes), rest.escapes.size, _at(out)),
        )
        _need(done == 0, "escapes")
        return out


def _at(array: npt.NDArray[Any]) -> int:
    _need(array.flags.c_contiguous, "layout")
    address: int = array.__array_interface__["data"][0]  # a third of the time of `array.ctypes.data`
    return address


def _need(fits: bool, what: str) -> None:  # noqa: FBT001 - a condition, not a mode
    if not fits:
        raise OurBug("invariant-broken", detail=f"delta kernel: {what}")
