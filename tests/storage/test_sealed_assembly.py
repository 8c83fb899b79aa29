"""A slot that lies sealed on the disk: written from staging, read as a source, and never in plain text."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.test_install import Device, Release, release, release_of

from modelota import faults
from modelota.content import local_seal
from modelota.content.digest import digest_bytes
from modelota.content.local_seal import SealedReader, open_stream, sealed_size
from modelota.errors import ModelotaError, RefuseContent
from modelota.spec.limits import MIB
from modelota.spec.manifest import FileEntry
from modelota.spec.slot import SlotId
from modelota.storage import assembly as assembly_module
from modelota.storage import sealed_file
from modelota.storage.assembly import peak_space_bytes
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger
from modelota.storage.sealed_assembly import SealedAssembly
from modelota.storage.sealed_file import GrowingFile, object_id
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging
from modelota.testing.disk import RecordedCalls

SECRET = bytes(range(32))
SLOT = SlotId("1.1.1", "q8")
FRAME = 30_000  # chunks of 50 000 bytes end within frames


class SealedDevice(Device):
    """Installs sealed."""

    def assembly(self) -> SealedAssembly:
        return SealedAssembly(self.partial, release().manifest, release().variant, self.disk, SECRET)

    def files(self) -> dict[str, bytes]:
        return {path: self.opened(SLOT, path) for path in release().files}

    def opened(self, slot: SlotId, path: str) -> bytes:
        digest = next(file.digest for file in release().variant.files if file.path == path)
        plain = io.BytesIO()
        with self.slots.file(slot, path).open("rb") as file:
            open_stream(file, plain, SECRET, object_id(digest))
        return plain.getvalue()


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (local_seal, sealed_file, assembly_module):
        monkeypatch.setattr(module, "FRAME_BYTES", FRAME)
    yield
    faults.arm("")


@pytest.fixture
def device(tmp_path: Path) -> SealedDevice:
    return SealedDevice(tmp_path / "root")


def shows_plain_text(root: Path) -> list[str]:
    """Files below `root` in which a piece of the model can be read."""
    pieces = [
        content[start : start + 48]
        for content in release().files.values()
        for start in range(0, max(0, len(content) - 48), 997)
    ]
    found = []
    for path in root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [str(path) for piece in pieces if piece in data]
    return found


def test_a_sealed_slot_is_exact_and_shows_nothing(device: SealedDevice, tmp_path: Path) -> None:
    """Every file opens to its bytes; at no step does any file below the root show a piece of the model (7.1.2-b)."""
    staging = device.staging()
    device.fetch(staging)
    assembly = device.assembly()
    seen: list[str] = []
    assembly.write(release().plan, staging, lambda _: seen.extend(shows_plain_text(tmp_path)))
    staging.close()
    assembly.finish(lambda _: seen.extend(shows_plain_text(tmp_path)))
    device.slots.seal(device.partial, SLOT)
    assert device.files() == release().files
    assert (seen, shows_plain_text(tmp_path)) == ([], [])
    slot = device.slots.directory(SLOT)
    assert all(path.stat().st_mode & 0o222 == 0 for path in (slot / "files").rglob("*"))
    for path, content in release().files.items():
        assert device.slots.file(SLOT, path).stat().st_size == sealed_size(len(content))
    assert list(device.packs.iterdir()) == []


def test_the_search_finds_plain_text(tmp_path: Path) -> None:
    """The search that finds nothing in a sealed slot does find a plain one."""
    device = Device(tmp_path / "root")
    device.install()
    assert shows_plain_text(tmp_path)


@pytest.mark.parametrize(
    "point", ["deploy.*", "durable.write", "durable.fsync", "durable.remove", "durable.fsync-dir", "slot.seal"]
)
def test_every_failure_can_be_repeated(device: SealedDevice, point: str) -> None:
    """Fail at the n-th passage for n = 1, 2, 3 … until nothing fails: repeating completes the sealed slot."""
    for nth in range(1, 1000):
        faults.arm(f"{point}@{nth}={'ENOSPC' if nth % 2 else 'EIO'}")
        try:
            device.install()
        except ModelotaError as caught:
            assert caught.code in {"disk-error", "no-space"}
            faults.arm("")
            device.install()
            assert device.files() == release().files
            device.disk.remove(device.layout.staging)
            device.slots.remove(SLOT)
        else:
            assert nth > 1
            break
    faults.arm("")
    assert device.files() == release().files


def test_going_on_seals_the_same_bytes_again(device: SealedDevice) -> None:
    """After an interruption a frame is sealed to the very same bytes: no key and nonce ever cover two contents."""
    staging = device.staging()
    device.fetch(staging)
    faults.arm("deploy.chunk@4=EIO")
    with pytest.raises(ModelotaError):
        device.assembly().write(release().plan, staging, lambda _: None)
    faults.arm("")
    path = device.partial / "files" / "model.bin"
    first = path.read_bytes()
    assert len(first) > 2 * FRAME
    path.write_bytes(first[:-100])  # the last frame was torn
    device.assembly().write(release().plan, staging, lambda _: None)
    staging.close()
    assert path.read_bytes().startswith(first)


def test_a_frame_that_is_damaged_meanwhile_is_fetched_again(device: SealedDevice) -> None:
    """Its chunks count as missing though their pack is gone; those behind it are taken from where they were written."""
    staging = device.staging()
    device.fetch(staging)
    device.assembly().write(release().plan, staging, lambda _: None)
    path = device.partial / "files" / "model.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last frame: "tail", and the end of the chunk before, which occurs in other places
    data[local_seal.HEADER_BYTES + 3] ^= 1  # the first frame
    path.write_bytes(data)
    missing = device.assembly().missing(release().plan, staging)
    assert 0 < len(missing) < len(release().plan.frames)
    for frame in missing:
        staging.put(frame, release().sealed(frame))
    device.assembly().write(release().plan, staging, lambda _: None)
    staging.close()
    device.assembly().finish(lambda _: None)
    device.slots.seal(device.partial, SLOT)
    assert device.files() == release().files


def test_what_is_gone_from_everywhere_is_refused(device: SealedDevice) -> None:
    """A chunk that is neither staged nor written is an error that says so, not a hole."""
    staging = device.staging()
    device.fetch(staging)
    staging.close()
    device.disk.remove(device.packs)
    staging = device.staging()
    with pytest.raises(RefuseContent) as caught:
        device.assembly().write(release().plan, staging, lambda _: None)
    staging.close()
    assert caught.value.code == "pack-tampered"


def test_a_changed_byte_at_rest_is_found(device: SealedDevice) -> None:
    """The slot is not whole any more, and exactly the chunks in the damaged frame are not held."""
    device.install()
    place = device.slots.directory(SLOT)
    whole = SealedAssembly(place, release().manifest, release().variant, device.disk, SECRET)
    assert whole.is_whole()
    digests = {chunk.digest for chunk in release().manifest.chunks}
    sources = Sources()
    sources.add(release().manifest, "q8", place, secret=SECRET)
    assert (sources.held, sources.damaged(digests)) == (digests, frozenset())
    path = device.slots.file(SLOT, "sub/other.bin")
    data = bytearray(path.read_bytes())
    data[local_seal.HEADER_BYTES + FRAME + 16 + 40_000 - FRAME] ^= 1  # within the second frame: both chunks reach there
    path.chmod(0o600)
    path.write_bytes(data)
    assert not whole.is_whole()
    shared, filler = release().files["sub/other.bin"][:50_000], release().files["sub/other.bin"][50_000:]
    assert sources.damaged(digests) == {digest_bytes(filler)}  # the other chunk has other places
    assert sources.read(digest_bytes(shared)) == shared


@pytest.mark.parametrize("wrong", ["secret", "cut", "swapped", "gone"])
def test_a_slot_that_is_not_ours_to_open_is_not_held(device: SealedDevice, wrong: str) -> None:
    """Another secret, a file cut at a frame's edge, another file in its place, or none: nothing is read from it."""
    device.install()
    place = device.slots.directory(SLOT)
    path = device.slots.file(SLOT, "model.bin")
    path.parent.chmod(0o700)
    path.chmod(0o600)
    sealed = path.read_bytes()
    if wrong == "cut":
        path.write_bytes(sealed[: local_seal.HEADER_BYTES + 2 * (FRAME + 16)])
    elif wrong == "swapped":
        path.write_bytes(device.slots.file(SLOT, "sub/other.bin").read_bytes())
    elif wrong == "gone":
        path.unlink()
    secret = bytes(32) if wrong == "secret" else SECRET
    assert not SealedAssembly(place, release().manifest, release().variant, device.disk, secret).is_whole()
    sources = Sources()
    sources.add(release().manifest, "q8", place, secret=secret)
    last = release().manifest.chunks[release().variant.files[0].chunks[-1]]
    assert sources.read(last.digest) is None


def test_the_peak_is_what_really_lies_on_the_disk(device: SealedDevice) -> None:
    """The offer's peak space is not below what staging and the partial sealed slot hold at any step."""
    staging = device.staging()
    device.fetch(staging)
    most = 0

    def look(_: int) -> None:
        nonlocal most
        held = sum(path.stat().st_blocks * 512 for path in device.layout.staging.rglob("*") if path.is_file())
        most = max(most, held)

    device.assembly().write(release().plan, staging, look)
    staging.close()
    rounding_bytes = 4096 * 2 * (len(release().packs) + len(release().files))
    peak = peak_space_bytes(release().manifest, release().plan, sealed=True)
    assert most <= peak + rounding_bytes
    installed = sum(sealed_size(len(content)) for content in release().files.values())
    assert peak_space_bytes(release().manifest, release().plan, sealed=True, kept_bytes=10**9) == installed + 10**9


def test_memory_is_bounded_by_frames_not_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealing and reading 48 MiB takes no more than a few frames and the piece at hand."""
    monkeypatch.undo()
    piece = bytes(4 * MIB)
    content_digest = "d" * 64
    file = FileEntry(path="m", size_bytes=12 * len(piece), digest=content_digest, chunks=())
    tracemalloc.start()
    growing = GrowingFile(tmp_path / "m", file, SECRET, Disk((tmp_path,), NoLedger()))
    for _ in range(12):
        growing.write(memoryview(piece))
    growing.end()
    growing.close()
    descriptor = os.open(tmp_path / "m", os.O_RDONLY)
    reader = SealedReader(descriptor, SECRET, object_id(content_digest))
    assert sum(len(frame) for frame in reader.frames()) == file.size_bytes
    os.close(descriptor)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * MIB


def test_power_cuts_lose_nothing_and_show_nothing(tmp_path: Path) -> None:
    """At sampled cuts, with torn and reordered writes: no plain text, nothing flushed is lost, and it can be ended.

    One file of many packs, so that packs go while it is being written.
    """
    made = release_of({"model.bin": random.Random(8).randbytes(9 * 50_000 + 5)})
    (tmp_path / "device").mkdir()
    calls = RecordedCalls(tmp_path / "device")
    first = _Walk(tmp_path / "device", made, Disk((tmp_path / "device",), calls.journal, calls))
    staging = first.staging()
    for frame in first.assembly().missing(made.plan, staging):
        staging.put(frame, made.sealed(frame))
    staging.flush()
    fetched = len(calls.operations)
    first.deploy(staging)
    pieces = [made.files["model.bin"][start : start + 48] for start in range(0, 450_000, 997)]
    for number, cut in enumerate(random.Random(5).sample(range(fetched, len(calls.operations) + 1), 30)):
        place = tmp_path / f"cut{number}"
        calls.after_power_cut(cut, number, place)
        assert not any(piece in path.read_bytes() for path in place.rglob("*") if path.is_file() for piece in pieces)
        again = _Walk(place, made, Disk((place,), NoLedger()))
        staging = again.staging()
        staging.scan()
        missing = again.assembly().missing(made.plan, staging)
        assert missing == (), f"cut {cut}: {calls.operations[cut - 1]}"
        again.deploy(staging)
        assert again.assembly().is_whole()


class _Walk:
    """The steps of a sealed deployment of `made`."""

    def __init__(self, root: Path, made: Release, disk: Disk) -> None:
        self.root, self.made, self.disk = root, made, disk

    def staging(self) -> Staging:
        return Staging(self.root / "packs", self.made.plan, self.made.manifest, self.made.opener, self.disk)

    def assembly(self) -> SealedAssembly:
        return SealedAssembly(self.root / "slot", self.made.manifest, self.made.variant, self.disk, SECRET)

    def deploy(self, staging: Staging) -> None:
        self.assembly().write(self.made.plan, staging, lambda _: None)
        self.assembly().finish(lambda _: None)
        staging.close()
