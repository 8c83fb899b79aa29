"""The suite every format passes (`docs/adding-a-format.md`): a format and files in, a list of what does not hold out.

It uses nothing of the format but what the publisher uses, and damages the files on its own.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from modelota.content.chunking import ChunkSpan, cut_stream
from modelota.content.digest import digest_bytes
from modelota.content.formats.layout import Layout
from modelota.content.formats.registry import PROBE_BYTES, Format, parse
from modelota.errors import AskPerson, ModelotaError
from modelota.spec.limits import CHUNK_MAX_BYTES

_SEED: Final = 20261124
_EXTREMES: Final = (b"\0" * 8, b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\x01" + b"\0" * 7, b'{["' * 3)
_Check = Callable[[Format, bytes], str | None]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not hold: the check, and what was seen instead."""

    check: str
    found: str


def check_format(
    one: Format,
    files: Sequence[bytes],
    *,
    rearranged: Sequence[tuple[bytes, bytes]] = (),
    damaged_copies: int = 300,
) -> list[Finding]:
    """Check what the rest of modelota relies on.

    Args:
        one: the format under test.
        files: at least two files of it, small, each with tensors.
        rearranged: pairs of files with the same tensors (of 1 KiB or more), named, ordered or aligned otherwise, or
            behind another header.
        damaged_copies: how many damaged copies of each file are tried.

    Returns:
        What does not hold; empty when the format passes.
    """
    findings: list[Finding] = []
    if len(files) < 2:
        findings.append(Finding(check="there are files to try", found=f"{len(files)}, and two are needed"))
    missing = [member for member in ("name", "recognises", "parse") if not getattr(one, member, None)]
    if missing:
        return [*findings, Finding(check="provides what a format provides", found=f"lacks {missing}")]
    checks: list[tuple[str, _Check]] = [
        ("knows its files", _knows),
        ("says the same twice, and of a stream that gives little at a time", _repeats),
        ("finds tensors and covers the file", _finds_tensors),
        ("chunks are legal and give the file again", _rebuilds),
        ("reads nothing outside the file", _stays_inside),
        ("a file that is cut off is opaque, refused, or covered", _cut_off),
        ("a damaged file is opaque, refused, or covered", lambda each, file: _damaged(each, file, damaged_copies)),
    ]
    for number, file in enumerate(files):
        findings += _run(checks, one, file, number)
    findings += _run([("leaves the files of others alone", _strangers)], one, b"", 0)
    for number, (before, after) in enumerate(rearranged):
        changed = _tensor_chunks(one, before) ^ _tensor_chunks(one, after)
        if changed:
            found = f"pair {number}: {len(changed)} chunks differ"
            findings.append(Finding(check="the same tensors give the same chunks", found=found))
    return findings


def _run(checks: Sequence[tuple[str, _Check]], one: Format, file: bytes, number: int) -> Iterator[Finding]:
    for name, check in checks:
        try:
            found = check(one, file)
        except Exception as error:  # noqa: BLE001 - whatever a format raises is a finding
            found = f"{type(error).__name__}: {error}"
        if found is not None:
            yield Finding(check=name, found=f"file {number}: {found}")


def _layout(one: Format, stream: io.BytesIO) -> Layout:
    return parse(stream, {one.name: one})


def _cut(one: Format, file: bytes) -> list[tuple[ChunkSpan, bytes]]:
    stream = io.BytesIO(file)
    return list(cut_stream(stream, _layout(one, stream)))


def _tensor_chunks(one: Format, file: bytes) -> set[str]:
    return {digest_bytes(data) for span, data in _cut(one, file) if span.region == "tensor"}


def _knows(one: Format, file: bytes) -> str | None:
    if not one.recognises(file[:PROBE_BYTES], len(file)):
        return "not recognised"
    layout = _layout(one, io.BytesIO(file))
    return None if layout.format == one.name else f"layout of {layout.format}, note {layout.note}"


def _repeats(one: Format, file: bytes) -> str | None:
    layouts = {_layout(one, io.BytesIO(file)), _layout(one, io.BytesIO(file)), _layout(one, _Trickle(file))}
    return None if len(layouts) == 1 else "different layouts"


def _finds_tensors(one: Format, file: bytes) -> str | None:
    layout = _layout(one, io.BytesIO(file))  # `parse` has checked that it covers the file
    return None if layout.tensors else "no tensor"


def _rebuilds(one: Format, file: bytes) -> str | None:
    chunks = _cut(one, file)
    if b"".join(data for _, data in chunks) != file:
        return "other bytes"
    sizes = [span.size_bytes for span, _ in chunks]
    return None if all(1 <= size_bytes <= CHUNK_MAX_BYTES for size_bytes in sizes) else f"sizes {sizes}"


def _stays_inside(one: Format, file: bytes) -> str | None:
    stream = _Watched(file)
    _layout(one, stream)
    return None if stream.furthest_bytes <= len(file) else f"asked for bytes up to {stream.furthest_bytes}"


def _cut_off(one: Format, file: bytes) -> str | None:
    ends = {*range(min(len(file), 200)), *(len(file) * part // 64 for part in range(64)), max(0, len(file) - 1)}
    return _first(_answers_wrongly(one, file[:end]) for end in sorted(ends))


def _damaged(one: Format, file: bytes, copies: int) -> str | None:
    chance = random.Random(_SEED)  # noqa: S311 - repeatable damage
    return _first(_answers_wrongly(one, _damage(file, chance)) for _ in range(copies))


def _damage(file: bytes, chance: random.Random) -> bytes:
    """A copy with a few bytes changed, most likely near its start, where headers are."""
    made = bytearray(file)
    for _ in range(chance.randint(1, 4)):
        reach = len(made) if chance.random() < 0.3 else min(len(made), 2048)
        at = chance.randrange(reach)
        match chance.randrange(4):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                extreme = chance.choice(_EXTREMES)
                made[at : at + len(extreme)] = extreme
            case 2:
                made[at:at] = chance.randbytes(chance.randint(1, 9))
            case _:
                del made[at : at + chance.randint(1, 9)]
    return bytes(made)


def _answers_wrongly(one: Format, file: bytes) -> str | None:
    """None when the file gets a layout that covers it and rebuilds it, or is refused as it should be."""
    if not one.recognises(file[:PROBE_BYTES], len(file)):
        return None
    try:
        chunks = _cut(one, file)
    except AskPerson as error:
        return None if error.code == "model-file-hostile" else str(error)
    except ModelotaError as error:
        return str(error)
    return None if b"".join(data for _, data in chunks) == file else "other bytes"


def _strangers(one: Format, _: bytes) -> str | None:
    chance = random.Random(_SEED)  # noqa: S311 - repeatable noise
    strangers = [b"", b"\0", b"\0" * 4096, b"{}", b"PK\x03\x04" + bytes(60), b"#!/bin/sh\n" * 9]
    strangers += [chance.randbytes(512) for _ in range(64)]
    known = next((file for file in strangers if one.recognises(file[:PROBE_BYTES], len(file))), None)
    return None if known is None else f"recognises {known[:16]!r}"


def _first(answers: Iterator[str | None]) -> str | None:
    return next((answer for answer in answers if answer is not None), None)


class _Trickle(io.BytesIO):
    """Gives at most 13 bytes at a time, as a pipe or an unbuffered file may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(13 if size is None or size < 0 else min(size, 13))


class _Watched(io.BytesIO):
    """Remembers how far it was asked to read."""

    furthest_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = 0 if size is None or size < 0 else size
        self.furthest_bytes = max(self.furthest_bytes, self.tell() + wanted)
        return super().read(size)
