"""How a chunk is coded inside its frame: by trial, decoding alone and in bounded memory (`docs/formats/pack.md`).

`raw` is the chunk itself. `zstd` is one Zstandard frame (RFC 8878) that states its content size. Quantised weights
hardly compress, so a trial on samples comes first: they are not compressed at full cost only to be stored raw.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import zstandard

from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB

Codec = Literal["raw", "zstd"]

LEVEL: Final = 3  # weights gain nothing from higher levels
KEPT_PERCENT: Final = 97  # a smaller saving is not worth the decoding on every device
WINDOW_MAX_BYTES: Final = 8 * MIB  # RFC 8878 recommends that decoders support this much

_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 4 * KIB
_HOPELESS_PERCENT: Final = 99  # samples that shrink less than this foretell a chunk that shrinks too little
_CODEC_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


def encode(plain: bytes) -> tuple[Codec, bytes]:
    """Code a chunk with the codec that a trial favours.

    Args:
        plain: 1 … `CHUNK_MAX_BYTES` bytes.

    Returns:
        The codec's name and the coded bytes, never longer than `plain`.

    Raises:
        OurBug: `invariant-broken`: the chunk is empty or too large.
    """
    if not 1 <= len(plain) <= CHUNK_MAX_BYTES:
        raise OurBug("invariant-broken", detail=f"chunk of {len(plain)} bytes")
    if _looks_incompressible(plain):
        return "raw", plain
    # No checksum: the frame's tag and the chunk's digest both cover the bytes.
    coded = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=False).compress(plain)
    if len(coded) * 100 > len(plain) * KEPT_PERCENT:
        return "raw", plain
    return "zstd", coded


def decode(codec: str, coded: bytes, size_bytes: int, *, pack: str | None = None) -> bytes:
    """Turn an opened frame into its chunk.

    Never produces, or reserves memory for, more than `size_bytes`.

    Args:
        codec: as the manifest's route names it.
        coded: what `PackOpener.open` returned.
        size_bytes: of the chunk, from the manifest.
        pack: digest of the pack, for error messages.

    Raises:
        RefuseContent: `document-needs-newer` (a codec unknown here), `decode-limit` (it would become more than
            `size_bytes`, or needs too large a window), `pack-invalid` (it becomes fewer, or is not of that codec).
    """
    if not 1 <= size_bytes <= CHUNK_MAX_BYTES:
        raise RefuseContent("decode-limit", limit_bytes=CHUNK_MAX_BYTES)
    if codec == "raw":
        if len(coded) > size_bytes:
            raise RefuseContent("decode-limit", limit_bytes=size_bytes)
        if len(coded) < size_bytes:
            raise RefuseContent("pack-invalid", pack=pack, detail=f"raw frame of {len(coded)} bytes, not {size_bytes}")
        return coded
    if codec == "zstd":
        return _decode_zstd(coded, size_bytes, pack)
    if _CODEC_NAME.fullmatch(codec):
        raise RefuseContent("document-needs-newer", document="manifest", field=f"codec {codec}")
    raise RefuseContent("pack-invalid", pack=pack, detail=f"codec {ascii(codec)[:80]}")


def _decode_zstd(coded: bytes, size_bytes: int, pack: str | None) -> bytes:
    try:
        stated = zstandard.get_frame_parameters(coded)
        # The library reserves what the frame states, so that is compared first; "unknown" is the largest number.
        if stated.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            raise RefuseContent("pack-invalid", pack=pack, detail="zstd frame does not state its size")
        if stated.content_size > size_bytes or stated.window_size > WINDOW_MAX_BYTES:
            raise RefuseContent("decode-limit", limit_bytes=size_bytes)
        if stated.content_size != size_bytes:
            detail = f"zstd frame of {stated.content_size} bytes, not {size_bytes}"
            raise RefuseContent("pack-invalid", pack=pack, detail=detail)
        plain = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX_BYTES).decompress(coded, allow_extra_data=False)
    except zstandard.ZstdError as error:  # not zstd, cut off, followed by more, or more or fewer bytes than stated
        raise RefuseContent("pack-invalid", pack=pack, detail=f"zstd: {str(error)[:200]}") from error
    if len(plain) != size_bytes:
        raise RefuseContent("pack-invalid", pack=pack, detail=f"zstd frame of {len(plain)} bytes, not {size_bytes}")
    return plain


def _looks_incompressible(plain: bytes) -> bool:
    if len(plain) < 4 * _SAMPLES * _SAMPLE_BYTES:  # the whole costs about as little as the samples
        return False
    stride = (len(plain) - _SAMPLE_BYTES) // (_SAMPLES - 1)
    sample = b"".join(plain[start : start + _SAMPLE_BYTES] for start in range(0, _SAMPLES * stride, stride))
    shrunk = len(zstandard.ZstdCompressor(level=1).compress(sample))
    return shrunk * 100 > len(sample) * _HOPELESS_PERCENT
