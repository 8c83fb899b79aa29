"""How an engine's process opens a slot: verified once, then trusted by its stamp; sealed files into memory only."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import blake3
import msgspec
import pytest
from tests.runtime.conftest import MakeSpec, engine_file

from modelota.clock import SystemClock
from modelota.content.local_seal import seal_stream
from modelota.errors import RefuseContent
from modelota.runtime import opening
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import start_engine
from modelota.runtime.opening import DamagedFileError, open_files, stamp_of
from modelota.runtime.protocol import EngineFile, EngineSpec, FileStamp, SlotSecret
from modelota.storage.sealed_file import object_id
from modelota.telemetry.memory import process_tree

CLOCK = SystemClock()
SECRET = bytes(range(32))


def spec_of(*paths: Path, secret: bytes | None = None, plain: bytes | None = None) -> EngineSpec:
    files = []
    for path in paths:
        content = path.read_bytes() if plain is None else plain
        digest = blake3.blake3(content).hexdigest()
        files.append(EngineFile(path=str(path), size_bytes=len(content), digest=digest))
    return EngineSpec(
        label="1.1.1+q8",
        runtime="command",
        files=tuple(files),
        entry=str(paths[0]),
        socket_path=str(paths[0].parent / "s"),
        log_path=str(paths[0].parent / "l"),
        work_dir=str(paths[0].parent),
        secret=SlotSecret(secret) if secret is not None else None,
    )


def stamped(spec: EngineSpec, stamps: dict[str, FileStamp]) -> EngineSpec:
    files = tuple(msgspec.structs.replace(file, stamp=stamps.get(file.path)) for file in spec.files)
    return msgspec.structs.replace(spec, files=files)


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of this test count as old enough for a stamp."""
    monkeypatch.setattr(opening, "_SETTLED_NS", 0)
    monkeypatch.setattr(opening, "_SETTLED_COARSE_NS", 0)


def opened(spec: EngineSpec) -> dict[str, FileStamp]:
    """Open and close; the stamps."""
    files = open_files(spec)
    for file in files.values():
        os.close(file.descriptor)
    return {path: file.stamp for path, file in files.items() if file.stamp is not None}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_verified_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file gets a stamp; with it, nothing is hashed; without it, everything is."""
    settle(monkeypatch)
    spec = spec_of(write(tmp_path / "a", b"a" * 100_000), write(tmp_path / "b", b""))
    stamps = opened(spec)
    assert stamps.keys() == {file.path for file in spec.files}

    def hashed(*_: object) -> tuple[int, str]:
        raise AssertionError("read again")

    monkeypatch.setattr(opening, "_digest", hashed)
    assert opened(stamped(spec, stamps)) == stamps
    with pytest.raises(AssertionError):
        opened(spec)


@pytest.mark.parametrize("change", ["write", "append", "rewrite-keeping-mtime", "replace", "mode", "touch"])
def test_any_change_is_verified_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Content, size, inode, mtime or ctime: the stamp of before does not cover what differs."""
    settle(monkeypatch)
    path = write(tmp_path / "a", b"a" * 1000)
    spec = spec_of(path)
    stamps = opened(spec)
    found = path.stat()
    if change == "write":
        with path.open("r+b") as file:
            file.write(b"x")
    elif change == "append":
        with path.open("ab") as file:
            file.write(b"x")
    elif change == "rewrite-keeping-mtime":
        path.write_bytes(b"b" * 1000)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif change == "replace":
        write(tmp_path / "other", b"b" * 1000)
        os.utime(tmp_path / "other", ns=(found.st_atime_ns, found.st_mtime_ns))
        (tmp_path / "other").rename(path)
    elif change == "mode":
        path.chmod(0o400)
    elif change == "touch":
        os.utime(path, ns=(0, 0))
    again = stamped(spec, stamps)
    if change in {"mode", "touch"}:
        assert opened(again) != stamps  # read, found good, and stamped anew
    else:
        with pytest.raises(DamagedFileError):
            opened(again)


def test_a_stamp_covers_only_its_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stamp for a file that is not as long as promised does not replace the look."""
    settle(monkeypatch)
    spec = spec_of(write(tmp_path / "a", b"a" * 1000))
    stamps = opened(spec)
    longer = tuple(msgspec.structs.replace(file, size_bytes=1001) for file in spec.files)
    with pytest.raises(DamagedFileError):
        opened(stamped(msgspec.structs.replace(spec, files=longer), stamps))


def test_a_file_that_just_changed_gets_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of its last change another one would not show; nor while the clock stands before that change."""
    spec = spec_of(write(tmp_path / "a", b"a"))
    changed_ns = (tmp_path / "a").stat().st_ctime_ns
    for age_ns, stamps in ((0, 0), (10_000_000, 0), (30_000_000, 1), (-(10**12), 0)):
        monkeypatch.setattr("time.time_ns", lambda age_ns=age_ns: changed_ns + age_ns)
        assert len(opened(spec)) == stamps
    # where a file system keeps whole seconds, a second may pass unseen
    whole = FileStamp(1, 2, 3, 4, 5_000_000_000)
    monkeypatch.setattr(opening, "stamp_of", lambda _: whole)
    for age_ns, is_stamped in ((30_000_000, False), (2_000_000_000, True)):
        monkeypatch.setattr("time.time_ns", lambda age_ns=age_ns: whole.ctime_ns + age_ns)
        assert (opening._settled(whole, 0) is not None) == is_stamped


def test_a_file_that_changes_while_it_is_read_gets_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stamp must be of one state of the file, from before the first byte to after the last."""
    settle(monkeypatch)
    path = write(tmp_path / "a", b"a" * 1000)
    spec = spec_of(path)
    digest = opening._digest

    def meanwhile(blocks: Iterator[bytes]) -> tuple[int, str]:
        found = digest(blocks)
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(opening, "_digest", meanwhile)
    assert opened(spec) == {}


def test_links_and_missing_files_are_damage(tmp_path: Path) -> None:
    """Whatever stands in a file's place, it is named."""
    path = write(tmp_path / "a", b"a")
    spec = spec_of(path)
    path.rename(tmp_path / "b")
    with pytest.raises(DamagedFileError) as caught:
        opened(spec)
    assert caught.value.path == str(path)
    path.symlink_to(tmp_path / "b")
    with pytest.raises(DamagedFileError):
        opened(spec)


def sealed(path: Path, content: bytes, secret: bytes = SECRET) -> EngineSpec:
    out = io.BytesIO()
    seal_stream(io.BytesIO(content), out, secret, object_id(blake3.blake3(content).hexdigest()))
    return spec_of(write(path, out.getvalue()), secret=SECRET, plain=content)


IN_A_PROCESS = """
import os, sys, msgspec, resource
from modelota.runtime.opening import open_files
from modelota.runtime.protocol import EngineSpec
spec = msgspec.json.decode(sys.stdin.buffer.read(), type=EngineSpec)
(file,) = open_files(spec).values()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
name = os.readlink(f"/proc/self/fd/{file.descriptor}")
assert name.startswith("/memfd:"), name
import fcntl
assert fcntl.fcntl(file.descriptor, fcntl.F_GET_SEALS) == (
    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
)
for change in (lambda: os.write(file.descriptor, b"x"), lambda: os.ftruncate(file.descriptor, 0)):
    try:
        change()
    except PermissionError:
        pass
    else:
        raise AssertionError("written")
with open(f"/proc/self/fd/{file.descriptor}", "rb") as opened:
    sys.stdout.buffer.write(opened.read())
"""


def test_a_sealed_file_is_opened_into_memory_that_nobody_can_write(tmp_path: Path) -> None:
    """Its plain bytes are read by a path of the process, are no file, can't be changed, and never dumped."""
    content = os.urandom(3_000_001)
    spec = sealed(tmp_path / "a", content)
    result = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], input=msgspec.json.encode(spec), capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == content


@pytest.mark.parametrize("wrong", ["flip", "cut", "secret", "plain", "digest"])
def test_a_sealed_file_that_does_not_open_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Changed, cut, sealed by another, or not sealed at all: refused by name, with or without a stamp."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    settle(monkeypatch)
    content = os.urandom(1_500_000)
    spec = sealed(tmp_path / "a", content, bytes(32) if wrong == "secret" else SECRET)
    path = tmp_path / "a"
    data = path.read_bytes()
    if wrong == "flip":
        path.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    elif wrong == "cut":
        path.write_bytes(data[: 48 + (1 << 20) + 16])
    elif wrong == "plain":
        path.write_bytes(content)
    elif wrong == "digest":  # sealed under the right name, but other content
        out = io.BytesIO()
        seal_stream(io.BytesIO(bytes(len(content))), out, SECRET, object_id(spec.files[0].digest))
        path.write_bytes(out.getvalue())
    with pytest.raises(DamagedFileError) as caught:
        opened(spec)
    assert caught.value.path == str(path)
    if wrong != "digest":  # a stamp is of the sealed file, and its tags are checked all the same
        descriptor = os.open(path, os.O_RDONLY)
        stamps = {str(path): stamp_of(descriptor)}
        os.close(descriptor)
        with pytest.raises(DamagedFileError):
            opened(stamped(spec, stamps))


def test_a_secret_is_in_no_text(tmp_path: Path) -> None:
    """What is printed, logged or raised of a specification does not show the slot's secret."""
    spec = sealed(tmp_path / "a", b"content")
    assert spec.secret is not None
    assert spec.secret.value == SECRET
    assert "SlotSecret(…)" in repr(spec)
    for text in (repr(spec), str(spec), f"{spec}"):
        assert repr(SECRET)[2:-1] not in text


async def test_an_engine_reports_what_it_verified(make_fake: MakeSpec) -> None:
    """The stamps reach the supervisor's side, and the next start with them does not read the model."""
    spec = make_fake(answers={"q": "a"})
    running = await start_engine(spec, clock=CLOCK, timeout_s=30)
    stamps = dict(running.stamps)
    await running.stop()
    found = Path(spec.entry).stat()
    assert stamps == {
        spec.entry: FileStamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    }
    wrong = msgspec.structs.replace(engine_file(Path(spec.entry)), digest="0" * 64)
    unread = msgspec.structs.replace(spec, files=(wrong,))
    with pytest.raises(RefuseContent):
        await start_engine(unread, clock=CLOCK, timeout_s=30)
    # that this starts shows that nothing was hashed: the digest is wrong
    running = await start_engine(stamped(unread, stamps), clock=CLOCK, timeout_s=30)
    assert running.stamps == stamps
    await running.stop()


async def test_a_sealed_engine_answers_and_its_secret_is_nowhere(make_fake: MakeSpec) -> None:
    """The command reads its model from memory; the secret is in no argument, environment, log or file (7.1.2-b)."""
    spec = make_fake(answers={"q": "from memory"})
    entry = Path(spec.entry)
    content = entry.read_bytes()
    secret = os.urandom(32)
    out = io.BytesIO()
    seal_stream(io.BytesIO(content), out, secret, object_id(spec.files[0].digest))
    entry.write_bytes(out.getvalue())
    spec = msgspec.structs.replace(spec, secret=SlotSecret(secret))
    running = await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert (await EngineClient(running.socket_path).chat("q", max_tokens=9)).text == "from memory"
    shapes = [secret, secret.hex().encode(), msgspec.json.encode(secret)[1:-1]]
    for pid in process_tree(running.pid):
        for name in ("cmdline", "environ"):
            data = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(shape in data for shape in shapes)
    for path in entry.parent.rglob("*"):
        if path.is_file() and not path.is_symlink():  # links lead to the process's memory
            data = path.read_bytes()
            assert not any(shape in data for shape in shapes), path
            assert content not in data, path
    assert running.stamps.keys() == {spec.entry}
    await running.stop()
