"""Access logs of ordinary web servers: Apache's common and combined format, which is also nginx's default.

Nothing of a line is kept but day, path, status and bytes: no address, user, referrer or agent leaves this module.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from modelota.errors import AskPerson
from modelota.spec.limits import KIB

LINE_MAX_BYTES: Final = 16 * KIB
_MONTHS: Final = {
    month: number
    for number, month in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
# What comes before the time is skipped unread. Inside the quotes servers write `"` as `\"` or `\x22`, so that a request
# cannot end them; a user's name that holds `[` makes the line unreadable.
_LINE: Final = re.compile(
    rb"[^\[\]]{1,1024}\[([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\] "
    rb'"((?:[^"\\]|\\.)*)" ([1-5][0-9]{2}) ([0-9]{1,15}|-)(?: .*)?'
)
_GET: Final = re.compile(rb"GET ([!-~]{1,4096}) HTTP/[0-9](?:\.[0-9])?")
_YEARS: Final = range(1990, 2200)


class Entry(NamedTuple):
    """One line.

    Attributes:
        day: `2026-11-24`, in the server's own time zone.
        path: of the request, without query; None unless it was a GET request.
        status: that was answered.
        size_bytes: of the body that was sent.
    """

    day: str
    path: str | None
    status: int
    size_bytes: int


def read_log(path: Path) -> Iterator[Entry | None]:
    """The lines of a log, plain or gzip, one after the other; None for each that cannot be read.

    Memory is bounded by `LINE_MAX_BYTES`, whatever the file holds.

    Raises:
        AskPerson: `log-unreadable`.
    """
    try:
        with path.open("rb") as plain:
            if plain.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield from _entries(unpacked)
            else:
                yield from _entries(plain)
    except (OSError, EOFError, zlib.error) as error:
        detail = getattr(error, "strerror", None) or type(error).__name__
        raise AskPerson("log-unreadable", path=str(path), detail=detail) from error


def parse_line(line: bytes) -> Entry | None:
    """What one line says, or None if it is not of the format."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    day, month, year, request, status, size_bytes = found.groups()
    when = _day(day, month, year)
    if when is None:
        return None
    get = _GET.fullmatch(request)
    path = None if get is None else get[1].partition(b"?")[0].decode("ascii")
    return Entry(when, path, int(status), 0 if size_bytes == b"-" else int(size_bytes))


@lru_cache(maxsize=256)  # logs are in the order of time
def _day(day: bytes, month: bytes, year: bytes) -> str | None:
    if int(year) not in _YEARS or month not in _MONTHS:
        return None
    try:
        return date(int(year), _MONTHS[month], int(day)).isoformat()
    except ValueError:
        return None


def _entries(lines: io.BufferedIOBase) -> Iterator[Entry | None]:
    whole = True  # whether the last piece ended its line
    while piece := lines.readline(LINE_MAX_BYTES):
        before, whole = whole, piece.endswith(b"\n") or len(piece) < LINE_MAX_BYTES
        if before:
            yield parse_line(piece.rstrip(b"\r\n")) if whole else None
