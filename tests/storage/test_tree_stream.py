"""A directory as one stream and back: what survives, what is left out, what is refused."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.storage import tree_stream
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger
from modelota.storage.tree_stream import EMPTY, TreePacker, TreeUnpacker


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "notes/empty").mkdir(parents=True)
    (place / "notes/a.txt").write_bytes(b"hello")
    (place / "notes/a.txt").chmod(0o640)
    (place / "big").write_bytes(bytes(range(256)) * 5000)
    (place / "none").touch()
    (place / ("ä" * 90)).write_bytes(b"long name")
    (place / "notes/link").symlink_to("../big")
    os.utime(place / "notes/a.txt", ns=(1, 1_234_567_890_123_456_789))
    os.utime(place / "none", ns=(1, -1_500_000_000))
    (place / "notes/empty").chmod(0o500)
    os.utime(place / "notes", ns=(1, 77_000_000_001))
    return place


def unpack(data: bytes, into: Path, step: int = 1 << 20) -> None:
    into.mkdir()
    unpacker = TreeUnpacker(into, Disk((into,), NoLedger()), "test")
    for start in range(0, len(data), step):
        unpacker.write(data[start : start + step])
    unpacker.finish()


def listing(place: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        time = None if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(place))] = (stat.S_IMODE(status.st_mode), time, content)
    return found


@pytest.mark.parametrize("step", [1, 511, 1 << 20])
def test_a_tree_comes_back_as_it_was(tree: Path, tmp_path: Path, step: int) -> None:
    """Contents, permissions, times to the nanosecond, links and long names survive, however the stream is cut."""
    if step == 1:
        (tree / "big").write_bytes(b"small after all")
    data = b"".join(TreePacker(tree).chunks())
    unpack(data, tmp_path / "again", step)
    assert listing(tmp_path / "again") == listing(tree)
    assert b"".join(TreePacker(tmp_path / "again").chunks()) == data


def test_another_program_reads_it(tree: Path, tmp_path: Path) -> None:
    """The stream is an archive in the sense of POSIX: the standard library's reader finds everything in it."""
    data = b"".join(TreePacker(tree).chunks())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        held = archive.extractfile("notes/a.txt")
        assert held is not None
        assert held.read() == b"hello"
    assert sorted(names) == sorted(listing(tree))


def test_what_is_no_data_is_left_out_and_named(tree: Path, tmp_path: Path) -> None:
    """Sockets, FIFOs and links that lead outside are not in the archive, and said not to be."""
    os.mkfifo(tree / "pipe")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "notes/up").symlink_to("../../x")
    (tree / "roundabout").symlink_to("notes/../..")
    with socket.socket(socket.AF_UNIX) as listener:
        previous = Path.cwd()
        os.chdir(tree)  # the path of a test's directory may be too long for a socket
        listener.bind("sock")
        os.chdir(previous)
    packer = TreePacker(tree)
    data = b"".join(packer.chunks())
    outside = "link-outside"
    expected = {"pipe": "fifo", "sock": "socket", "absolute": outside, "notes/up": outside, "roundabout": outside}
    assert packer.skipped == expected
    unpack(data, tmp_path / "again")
    assert not {"pipe", "sock", "absolute"} & {path.name for path in (tmp_path / "again").rglob("*")}


def test_a_file_that_is_cut_while_it_is_read_is_named(tree: Path) -> None:
    """The archive stays whole, and says which file is of no single moment."""
    packer = TreePacker(tree)
    (tree / "big").write_bytes(bytes(3 << 20))
    data = b""
    for piece in packer.chunks():
        data += piece
        if len(piece) > 100_000 and (tree / "big").stat().st_size > 5:
            (tree / "big").write_bytes(b"short")
    assert packer.changed == ["big"]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("big").size == 3 << 20


def entry(name: str, change: Callable[[tarfile.TarInfo], None] = lambda _: None, data: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    change(info)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def link(target: str) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = tarfile.SYMTYPE, target

    return change


def typed(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind

    return change


HOSTILE = {
    "up": entry("../x", data=b"x"),
    "absolute": entry("/tmp/x", data=b"x"),
    "inner up": entry("a/../../x", data=b"x"),
    "dot": entry("a/./x", data=b"x"),
    "nothing": entry("/", data=b"x"),
    "device": entry("null", typed(tarfile.CHRTYPE)),
    "fifo": entry("pipe", typed(tarfile.FIFOTYPE)),
    "hard link": entry("hard", typed(tarfile.LNKTYPE)),
    "link up": entry("a", link("../x")),
    "link absolute": entry("a", link("/etc")),
    "link roundabout": entry("d", link("x")) + entry("a", link("d/..")),
    "through a link": entry("a", link("b")) + entry("a/x", data=b"x"),
    "below a file": entry("a", data=b"x") + entry("a/x", data=b"x"),
    "twice": entry("a", data=b"x") + entry("a", data=b"y"),
    "deep": entry("/".join("d" * 200), data=b"x"),
    "long": entry("n" * 5000, data=b"x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_names_are_refused(case: str, tmp_path: Path) -> None:
    """No entry leaves its directory, goes through a link, replaces another, or is anything but data."""
    with pytest.raises(RefuseContent) as caught:
        unpack(HOSTILE[case] + EMPTY, tmp_path / "in")
    assert caught.value.code == "unsafe-path"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def huge(info: tarfile.TarInfo) -> None:
    info.type, info.size = tarfile.XHDTYPE, 1 << 30


BROKEN = {
    "no header": b"x" * 512,
    "cut off": entry("a", data=b"x"),
    "cut in the middle": entry("a", data=b"x" * 2000)[:1024],
    "more after the end": EMPTY + entry("a", data=b"x"),
    "a huge extended header": entry("pax", huge),
    "a bad record": tarfile.TarInfo._create_header(  # type: ignore[attr-defined]
        {"name": "p", "type": tarfile.XHDTYPE, "size": 10}, tarfile.USTAR_FORMAT, "utf-8", "strict"
    )
    + b"99 path=x\n".ljust(512, b"\0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_archive_is_refused(case: str, tmp_path: Path) -> None:
    """Anything but a complete archive ends in an error that names it."""
    data = BROKEN[case] if case in {"cut off", "cut in the middle"} else BROKEN[case] + EMPTY
    with pytest.raises(RefuseContent) as caught:
        unpack(data, tmp_path / "in")
    assert caught.value.code == "archive-invalid"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_harms_nothing(tree: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes come, the answer is an error of the tree or a tree inside its directory."""
    archive = bytearray(b"".join(TreePacker(tree / "notes").chunks()))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    into = tmp_path / f"in-{os.urandom(6).hex()}"
    try:
        unpack(bytes(archive), into)
    except ModelotaError as error:
        assert error.code in {"archive-invalid", "unsafe-path", "user-data-too-large", "disk-error"}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("in-")} == {"tree"}


def test_limits_hold_both_ways(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries or bytes than a copy may hold are an error before anything is written; holes count as they read."""
    with (tree / "hole").open("wb") as file:
        file.truncate(tree_stream.TREE_MAX_BYTES + 1)
    with pytest.raises(AskPerson) as caught:
        TreePacker(tree).measure()
    assert caught.value.code == "user-data-too-large"
    (tree / "hole").unlink()
    data = b"".join(TreePacker(tree).chunks())
    monkeypatch.setattr(tree_stream, "TREE_MAX_ENTRIES", 3)
    with pytest.raises(AskPerson, match="user-data-too-large"):
        TreePacker(tree).measure()
    with pytest.raises(AskPerson, match="user-data-too-large"):
        unpack(data, tmp_path / "in")
