"""The part of a GGUF file before its tensors' values, walked without keeping it."""

from __future__ import annotations

import math
import struct
from types import MappingProxyType
from typing import Final, NamedTuple

from modelota.content.formats.layout import (
    NAME_MAX_BYTES,
    TENSORS_MAX,
    Scalar,
    TensorSpan,
    hostile,
    malformed,
    plain_span,
)
from modelota.content.formats.source import Source
from modelota.spec.limits import GIB, KIB, MIB

HEADER_MAX_BYTES: Final = 128 * MIB
KEYS_MAX: Final = 1 << 16
KEY_MAX_BYTES: Final = (1 << 16) - 1  # the format's own limit
NESTING_MAX: Final = 4  # ggml reads lists of lists not at all
ELEMENTS_MAX: Final = 1 << 22  # texts and lists inside lists, in the whole file: they are walked one by one
DIMENSIONS_MAX: Final = 4
ALIGNMENT_MAX: Final = GIB
NOTED_MAX: Final = 512  # keys that are kept
NOTED_KEY_MAX_CHARS: Final = 256
VALUE_MAX_BYTES: Final = 200  # a longer text is kept as its digest
TABLE_BYTES: Final = 64 * KIB  # a value beyond this is cut on its own

_VERSIONS: Final = (2, 3)
_WIDTHS: Final = MappingProxyType({0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8})
_CODES: Final = MappingProxyType(
    {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
)
_U32: Final = 4
_TEXT: Final = 8
_LIST: Final = 9
_KEY_LEAST_BYTES: Final = 8 + 4 + 1
_TENSOR_LEAST_BYTES: Final = 8 + 4 + 4 + 8
_ALIGNMENT_KEY: Final = b"general.alignment"
_ALIGNMENT_DEFAULT: Final = 32


class TensorInfo(NamedTuple):
    """A tensor as described: `shape` has the length of a row first, `offset` counts from where the data starts."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


class Header(NamedTuple):
    """What was found.

    Attributes:
        little_endian: the order of all numbers, those of the tensors included.
        alignment: of the data's start, in bytes.
        spans: `header` and `table` spans from the start of the file to the end of the descriptions.
        tensors: in the order of their descriptions.
        values: of the keys that have a single value: numbers, and texts of at most `VALUE_MAX_CHARS`.
        tables: digests of the values of all other keys.
    """

    little_endian: bool
    alignment: int
    spans: tuple[TensorSpan, ...]
    tensors: tuple[TensorInfo, ...]
    values: dict[str, Scalar]
    tables: dict[str, str]


def read_header(source: Source) -> Header:
    """Walk from the start of the file to the end of the descriptions; the source stands behind them.

    Raises:
        AskPerson: `model-unreadable` (malformed), `model-file-hostile`.
        OSError: reading fails.
    """
    source.limit(HEADER_MAX_BYTES)
    return _Walk(source).run()


class _Walk:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._little_endian = True
        self._u32 = struct.Struct("<I")
        self._u64 = struct.Struct("<Q")
        self._walked = 0
        self._alignment = _ALIGNMENT_DEFAULT
        self._spans: list[TensorSpan] = []
        self._cut_at = 0
        self._values: dict[str, Scalar] = {}
        self._tables: dict[str, str] = {}

    def run(self) -> Header:
        source = self._source
        source.skip(4)
        self._set_order(source.take(4))
        tensors, keys = self._long(), self._long()
        self._check_count("tensors", tensors, TENSORS_MAX, _TENSOR_LEAST_BYTES)
        self._check_count("keys", keys, KEYS_MAX, _KEY_LEAST_BYTES)
        self._keys(keys)
        self._cut("header")
        infos = tuple(self._tensor() for _ in range(tensors))
        self._cut("table" if source.position - self._cut_at > MIB else "header")
        return Header(self._little_endian, self._alignment, tuple(self._spans), infos, self._values, self._tables)

    def _set_order(self, version: bytes) -> None:
        if self._u32.unpack(version)[0] in _VERSIONS:
            return
        self._little_endian = False
        self._u32, self._u64 = struct.Struct(">I"), struct.Struct(">Q")
        if self._u32.unpack(version)[0] not in _VERSIONS:
            raise malformed("version-unknown")

    def _int(self) -> int:
        found: int = self._u32.unpack(self._source.take(4))[0]
        return found

    def _long(self) -> int:
        found: int = self._u64.unpack(self._source.take(8))[0]
        return found

    def _check_count(self, what: str, count: int, limit: int, least_bytes: int) -> None:
        """A count that the file has no room for is a mistake; one that is really there can be too much."""
        if count * least_bytes > self._source.left_bytes:
            raise malformed("header-cut-off")
        if count > limit:
            raise hostile(what, limit=limit, found=count)

    def _text(self, limit_bytes: int) -> bytes:
        length = self._long()
        if length > self._source.left_bytes:
            raise malformed("header-cut-off")
        if length > limit_bytes:
            raise hostile("text-bytes", limit=limit_bytes, found=length)
        return self._source.take(length)

    def _cut(self, region: str) -> None:
        """Close a span where the source stands."""
        size_bytes = self._source.position - self._cut_at
        if size_bytes:
            kept = plain_span("table" if region == "table" else "header", self._cut_at, size_bytes)
            self._spans.append(kept)
            self._cut_at = self._source.position

    def _keys(self, count: int) -> None:
        seen: set[bytes] = set()
        for _ in range(count):
            key = self._text(KEY_MAX_BYTES)
            name = _decoded(key)
            if key in seen:
                raise malformed("name-repeats")
            seen.add(key)
            kind = self._int()
            if key == _ALIGNMENT_KEY:
                self._read_alignment(kind)
            else:
                self._value(name, kind)

    def _read_alignment(self, kind: int) -> None:
        if kind != _U32:
            raise malformed("alignment-invalid")
        self._alignment = self._int()
        if not 1 <= self._alignment <= ALIGNMENT_MAX:
            raise malformed("alignment-invalid")

    def _value(self, name: str, kind: int) -> None:
        before = self._source.position
        self._skip_value(kind, 0)
        after = self._source.position
        self._note(name, kind, before, after)
        if after - before >= TABLE_BYTES:
            size_bytes = before - self._cut_at
            self._spans.append(plain_span("header", self._cut_at, size_bytes))  # never empty: its key is in it
            self._cut_at = before
            self._cut("table")

    def _note(self, name: str, kind: int, start: int, end: int) -> None:
        """Keep a value, or the digest of one that is long; only so many: no model has more."""
        if len(name) > NOTED_KEY_MAX_CHARS or len(self._values) + len(self._tables) >= NOTED_MAX:
            return
        width = _WIDTHS.get(kind)
        if width is None and (kind != _TEXT or end - start - 8 > VALUE_MAX_BYTES):
            self._tables[name] = self._source.digest(start, end)
            return
        data = self._source.again(start, end)
        if width is None:
            self._values[name] = data[8:].decode("utf-8", "replace")
        else:
            (value,) = struct.unpack(("<" if self._little_endian else ">") + _CODES[kind], data)
            self._values[name] = repr(value) if isinstance(value, float) and not math.isfinite(value) else value

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind == _TEXT:
            self._source.skip(self._long())
        elif kind == _LIST:
            self._skip_list(depth + 1)
        elif (width := _WIDTHS.get(kind)) is not None:
            self._source.skip(width)
        else:
            raise malformed("type-invalid")

    def _skip_list(self, depth: int) -> None:
        if depth > NESTING_MAX:
            raise hostile("nesting", limit=NESTING_MAX, found=depth)
        kind, count = self._int(), self._long()
        if (width := _WIDTHS.get(kind)) is not None:
            self._source.skip(count * width)
            return
        if kind not in {_TEXT, _LIST}:
            raise malformed("type-invalid")
        if count * 8 > self._source.left_bytes:
            raise malformed("header-cut-off")
        self._walked += count
        if self._walked > ELEMENTS_MAX:
            raise hostile("list-elements", limit=ELEMENTS_MAX, found=self._walked)
        if kind == _TEXT:
            self._source.skip_texts(count, self._u64)
            return
        for _ in range(count):
            self._skip_value(kind, depth)

    def _tensor(self) -> TensorInfo:
        name = _decoded(self._text(NAME_MAX_BYTES))
        dimensions = self._int()
        if dimensions > DIMENSIONS_MAX:
            raise malformed("dimensions-invalid")
        shape = tuple(self._long() for _ in range(dimensions))
        return TensorInfo(name, shape, self._int(), self._long())


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("name-invalid") from error
