"""Zstandard inside deltas: for bytes that are left as they are, with or without the base as a dictionary."""

from __future__ import annotations

import struct
from typing import Final

import zstandard

from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import invalid
from modelota.spec.limits import MIB

LEVEL: Final = 3
PATCH_LEVEL: Final = 19  # what is patched is mostly small: headers, vocabularies, scripts
PATCH_LARGE_LEVEL: Final = 9
PATCH_SMALL_BYTES: Final = 256 * 1024
WINDOW_MAX_BYTES: Final = 8 * MIB

_SIZE: Final = struct.Struct("<I")
_DICTIONARY_MIN_BYTES: Final = 8  # the library takes no shorter one


def pack(plain: bytes) -> bytes:
    """`plain` behind a length: of a frame where one is smaller, or 0 and the bytes as they are."""
    frame = _compress(plain, LEVEL) if plain else plain
    return _SIZE.pack(len(frame)) + frame if len(frame) < len(plain) else _SIZE.pack(0) + plain


def unpack(reader: Reader, size_bytes: int) -> bytes:
    """What `pack` packed; it was `size_bytes` long.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    (length,) = _SIZE.unpack(reader.take(_SIZE.size))
    return _decompress(bytes(reader.take(length)), size_bytes) if length else bytes(reader.take(size_bytes))


def encode_patch(target: bytes, base: bytes) -> bytes:
    """One frame that has `base` as its dictionary: for insertions and moves."""
    level = PATCH_LEVEL if len(target) + len(base) <= PATCH_SMALL_BYTES else PATCH_LARGE_LEVEL
    return _compress(target, level, base)


def decode_patch(coded: bytes, base: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    return _decompress(coded, size_bytes, base)


def _compress(plain: bytes, level: int, base: bytes = b"") -> bytes:
    # No checksum: the chunk's digest covers the bytes.
    settings = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(plain), dict_size=len(base), write_content_size=True, write_checksum=False
    )
    return zstandard.ZstdCompressor(compression_params=settings, dict_data=_dictionary(base)).compress(plain)


def _decompress(coded: bytes, size_bytes: int, base: bytes = b"") -> bytes:
    try:
        stated = zstandard.get_frame_parameters(coded)
        # The library reserves what the frame states, so that is compared first.
        if stated.content_size != size_bytes or stated.window_size > WINDOW_MAX_BYTES or stated.dict_id:
            raise invalid("zstd")
        decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(base), max_window_size=WINDOW_MAX_BYTES)
        plain = decompressor.decompress(coded, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise invalid("zstd") from error
    if len(plain) != size_bytes:
        raise invalid("zstd")
    return plain


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict | None:
    if len(base) < _DICTIONARY_MIN_BYTES:
        return None
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
