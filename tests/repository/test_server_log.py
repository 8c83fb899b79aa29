"""Tests of modelota.repository.server_log."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import AskPerson
from modelota.repository.server_log import LINE_MAX_BYTES, Entry, parse_line, read_log

TIME = b"[24/Nov/2026:13:55:36 +0800]"


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (
            b"192.0.2.7 - - " + TIME + b' "GET /packs/ab HTTP/1.1" 206 2326',
            Entry("2026-11-24", "/packs/ab", 206, 2326),
        ),
        (
            b"2001:db8::1 - jo " + TIME + b' "GET /a?x=1 HTTP/2.0" 200 1 "https://r.example/" "agent/1 \\"x\\""',
            Entry("2026-11-24", "/a", 200, 1),
        ),
        (b"host.example:443 192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1" 304 -', Entry("2026-11-24", "/", 304, 0)),
        (b"192.0.2.7 - - " + TIME + b' "HEAD /a HTTP/1.1" 200 0', Entry("2026-11-24", None, 200, 0)),
        (b"192.0.2.7 - - " + TIME + b' "\\x16\\x03\\x01" 400 166 "-" "-"', Entry("2026-11-24", None, 400, 166)),
        (b"192.0.2.7 - - " + TIME + b' "GET /\\" 200 9 HTTP/1.1" 404 5', Entry("2026-11-24", '/\\"', 404, 5)),
    ],
)
def test_lines_of_ordinary_servers(line: bytes, entry: Entry) -> None:
    """Common and combined, with virtual hosts, IPv6, escaped quotes, and requests that are no GET."""
    found = parse_line(line)
    assert found is not None
    assert found._replace(path=None) == entry._replace(path=None)
    assert found.path == entry.path or b"\\" in line


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"192.0.2.7 - - nonsense",
        b'192.0.2.7 - - [31/Feb/2026:13:55:36 +0800] "GET / HTTP/1.1" 200 1',
        b'192.0.2.7 - - [01/Foo/2026:13:55:36 +0800] "GET / HTTP/1.1" 200 1',
        b'192.0.2.7 - - [01/Jan/9999:13:55:36 +0800] "GET / HTTP/1.1" 200 1',
        b"192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1" 999 1',
        b"192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1" 200 99999999999999999999999',
        b"192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1" 200 -5',
        b"192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1',
        b"192.0.2.7 - [24/Nov/2026] " + TIME + b' "GET / HTTP/1.1" 200 1',
        b"\x00\xff\xfe",
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    """Dates that do not exist, numbers out of range, and what is cut off or made up."""
    assert parse_line(line) is None


@given(st.binary(max_size=300))
def test_no_line_breaks_the_reader(noise: bytes) -> None:
    """Any bytes, alone and inside the quotes, are an entry or unreadable."""
    parse_line(noise)
    parse_line(b"192.0.2.7 - - " + TIME + b' "' + noise + b'" 200 1')


def test_long_lines_take_no_memory(tmp_path: Path) -> None:
    """A line beyond the limit counts once, what follows is read, and neither is held in memory."""
    good = b"192.0.2.7 - - " + TIME + b' "GET / HTTP/1.1" 200 1\n'
    path = tmp_path / "access.log.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(good)
        for _ in range(32):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + good + good.rstrip(b"\n"))
    tracemalloc.start()
    found = list(read_log(path))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [entry is None for entry in found] == [False, True, False, False]
    assert peak_bytes < 2 << 20
    exact = tmp_path / "exact.log"
    exact.write_bytes(b"x" * LINE_MAX_BYTES + b"\n" + good)
    assert [entry is None for entry in read_log(exact)] == [True, False]


def test_logs_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory, a missing file, a compressed log that is cut off or damaged."""
    whole = gzip.compress(os.urandom(4000))
    for name, data in (("cut.gz", whole[:2000]), ("damaged.gz", whole[:-8] + b"12345678"), ("bad.gz", b"\x1f\x8bxxxx")):
        (tmp_path / name).write_bytes(data)
    for name in ("cut.gz", "damaged.gz", "bad.gz", "none.log", "."):
        with pytest.raises(AskPerson) as caught:
            list(read_log(tmp_path / name))
        assert caught.value.code == "log-unreadable"
