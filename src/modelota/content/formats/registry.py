"""Formats by name, and the one call that reads a file's layout whatever its format (`docs/adding-a-format.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, Protocol, runtime_checkable

from modelota.content.formats.gguf import GgufFormat
from modelota.content.formats.layout import Layout, check_layout, opaque_layout
from modelota.content.formats.safetensors import SafetensorsFormat
from modelota.content.formats.source import Source, size_of
from modelota.errors import AskPerson

GROUP: Final = "modelota.formats"
PROBE_BYTES: Final = 64


@runtime_checkable
class Format(Protocol):
    """What every format provides. It must pass `modelota.testing.format_suite`.

    Attributes:
        name: as registered.
    """

    name: str

    def recognises(self, start: bytes, size_bytes: int) -> bool:
        """Whether a file that starts with `start` (up to `PROBE_BYTES`) and has `size_bytes` is of this format."""
        ...

    def parse(self, source: Source) -> Layout:
        """The layout of a file that was recognised.

        Raises:
            AskPerson: `malformed(…)`: the file is treated as opaque; `hostile(…)`: it is refused.
            OSError: reading fails.
        """
        ...


@cache
def formats() -> Mapping[str, Format]:
    """Every format by its name, in the order they are asked: our own, then the registered ones by name.

    Read once per process from the entry points `modelota.formats`. One that cannot be imported is not there, and none
    takes the name of another: files it would know are opaque.
    """
    found: dict[str, Format] = {"safetensors": SafetensorsFormat(), "gguf": GgufFormat()}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        made = _load(point)
        if made is not None:
            found.setdefault(point.name, made)
    return MappingProxyType(found)


def parse(source: Path | BinaryIO, known: Mapping[str, Format] | None = None) -> Layout:
    """Read the layout of a file.

    A file of no known format, and one that contradicts itself (then with a note), is opaque. Memory is bounded by the
    limits of the format, not by the file.

    Args:
        source: a path, or a seekable stream with the file at its offset 0; where the stream stands stays.
        known: formats to try, in order; `formats()` when None.

    Raises:
        AskPerson: `model-file-hostile`: the file really holds more than a limit allows.
        OSError: it cannot be read.
        OurBug: `invariant-broken`: a format gave spans that do not cover the file.
    """
    known = formats() if known is None else known
    if isinstance(source, Path):
        with source.open("rb", buffering=0) as stream:
            return _parse(stream, str(source), known)
    before = source.tell()
    try:
        return _parse(source, str(getattr(source, "name", "")), known)
    finally:
        source.seek(before)


def _parse(stream: BinaryIO, path: str, known: Mapping[str, Format]) -> Layout:
    size_bytes = size_of(stream)
    start = Source(stream, size_bytes).take(min(PROBE_BYTES, size_bytes))
    for one in known.values():
        if one.recognises(start, size_bytes):
            break
    else:
        return opaque_layout(size_bytes)
    try:
        layout = one.parse(Source(stream, size_bytes))
    except AskPerson as error:
        if error.code == "model-unreadable":
            return opaque_layout(size_bytes, note=str(error.params["detail"]))
        raise AskPerson(error.code, **{**error.params, "path": path}) from error
    check_layout(layout, size_bytes)
    return layout


def _load(point: EntryPoint) -> Format | None:
    try:
        made = point.load()()
    except (ImportError, AttributeError, TypeError):
        return None
    return made if isinstance(made, Format) else None
