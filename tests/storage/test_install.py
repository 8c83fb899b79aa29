"""Staging, assembly and slots together, on real sealed packs."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from modelota import faults
from modelota.content.coding import encode
from modelota.content.digest import digest_bytes
from modelota.content.pack import PackOpener, PackWriter
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.spec.manifest import (
    Chunk,
    FileEntry,
    KeyWrap,
    Manifest,
    Pack,
    Package,
    Requires,
    Route,
    RuntimeUse,
    Variant,
)
from modelota.spec.offer import Plan, PlannedFrame
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotId, describe
from modelota.storage.assembly import Assembly, peak_space_bytes
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.slots import Slots
from modelota.storage.staging import Staging

CHUNK = 50_000


@dataclass
class Release:
    """A release with its packs and everything needed to install it."""

    manifest: Manifest
    plan: Plan
    packs: dict[str, bytes]
    keys: dict[str, bytes]
    files: dict[str, bytes]

    @property
    def variant(self) -> Variant:
        return self.manifest.variants[0]

    def opener(self, digest: str) -> PackOpener:
        pack = next(pack for pack in self.manifest.packs if pack.digest == digest)
        return PackOpener(self.keys[digest], pack.suite, pack.frames, digest)

    def sealed(self, frame: PlannedFrame) -> bytes:
        return self.packs[frame.pack][frame.offset : frame.offset + frame.length_bytes]


@cache
def release() -> Release:
    random_bytes = random.Random(7).randbytes
    shared = random_bytes(CHUNK)
    files = {
        "model.bin": random_bytes(CHUNK) + shared + random_bytes(CHUNK) + shared + b"tail",
        "sub/other.bin": shared + b"x" * CHUNK,
        "empty": b"",
    }
    return release_of(files)


def release_of(files: dict[str, bytes]) -> Release:
    """A release of these files, two chunks a pack."""
    table: dict[str, int] = {}
    chunks: list[Chunk] = []
    plain: list[bytes] = []
    entries = []
    for path, content in files.items():
        indexes = []
        for start in range(0, len(content), CHUNK):
            piece = content[start : start + CHUNK]
            digest = digest_bytes(piece)
            if digest not in table:
                table[digest] = len(chunks)
                chunks.append(Chunk(digest, len(piece)))
                plain.append(piece)
            indexes.append(table[digest])
        entries.append(
            FileEntry(path=path, size_bytes=len(content), digest=digest_bytes(content), chunks=tuple(indexes))
        )
    packs, keys, listed, routes = {}, {}, [], []
    for start in range(0, len(plain), 2):
        out = io.BytesIO()
        writer = PackWriter(out)
        codecs = []
        for piece in plain[start : start + 2]:
            codec, coded = encode(piece)
            writer.add(coded)
            codecs.append(codec)
        closed = writer.close()
        packs[closed.digest], keys[closed.digest] = out.getvalue(), closed.key
        wrap = KeyWrap(recipient="dev", epoch=1, kem="x25519", sealed=b"")
        listed.append(
            Pack(
                digest=closed.digest,
                size_bytes=closed.size_bytes,
                frames=len(codecs),
                suite=closed.suite,
                wraps=(wrap,),
            )
        )
        routes += [
            Route(start + number, len(listed) - 1, number, span.offset, span.length_bytes, codec)
            for number, (span, codec) in enumerate(zip(closed.frames, codecs, strict=True))
        ]
    variant = Variant(
        name="q8",
        files=tuple(entries),
        runtime=RuntimeUse(name="command", entry=next(iter(files))),
        requires=Requires(),
        self_tests=SelfTests(),
        packages=(Package(mode="full", size_bytes=sum(route.length_bytes for route in routes), routes=tuple(routes)),),
    )
    manifest = Manifest(
        model="acme/assistant",
        version="1.1.1",
        released_at="2026-01-01T00:00:00Z",
        kind="feature",
        notes={"en": "n"},
        chunks=tuple(chunks),
        packs=tuple(listed),
        variants=(variant,),
    )
    manifest.check()
    frames = tuple(
        PlannedFrame(listed[route.pack].digest, route.frame, route.offset, route.length_bytes, route.codec, route.chunk)
        for route in routes
    )
    plan = Plan(
        mode="full",
        manifest_digest="a" * 64,
        variant="q8",
        frames=frames,
        fetch_bytes=sum(frame.length_bytes for frame in frames),
    )
    return Release(manifest, plan, packs, keys, files)


class Device:
    """A place to install into."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root).model("acme/assistant")
        self.disk = Disk((root,), NoLedger())
        self.slots = Slots(self.layout, self.disk)
        self.partial = self.layout.staging / "x" / "slot"
        self.packs = self.layout.staging / "x" / "packs"

    def staging(self) -> Staging:
        return Staging(self.packs, release().plan, release().manifest, release().opener, self.disk)

    def assembly(self) -> Assembly:
        return Assembly(self.partial, release().manifest, release().variant, self.disk)

    def fetch(self, staging: Staging) -> int:
        staging.scan()
        missing = self.assembly().missing(release().plan, staging)
        for frame in missing:
            staging.put(frame, release().sealed(frame))
        staging.flush()
        return len(missing)

    def install(self) -> None:
        staging = self.staging()
        try:
            self.fetch(staging)
            assembly = self.assembly()
            assembly.write(release().plan, staging, lambda _: None)
            assembly.finish(lambda _: None)
        finally:
            staging.close()
        self.slots.seal(self.partial, SlotId("1.1.1", "q8"))

    def files(self) -> dict[str, bytes]:
        folder = self.slots.directory(SlotId("1.1.1", "q8")) / "files"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "root")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


def test_install_is_bit_identical_and_read_only(device: Device) -> None:
    """Files, an empty one and a repeated chunk included, come out exactly, read-only, with no pack left."""
    device.install()
    assert device.files() == release().files
    slot = device.slots.directory(SlotId("1.1.1", "q8"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in (slot / "files").rglob("*"))
    assert list(device.packs.iterdir()) == []
    description = describe(release().manifest, "a" * 64, release().variant)
    assert device.slots.missing_files(description) == ()


def test_staging_is_sealed(device: Device) -> None:
    """Nothing in staging shows a piece of the model before it is deployed (requirement 7.1.2-b)."""
    staging = device.staging()
    device.fetch(staging)
    staging.close()
    staged = b"".join(path.read_bytes() for path in device.packs.iterdir())
    for content in release().files.values():
        for start in range(0, len(content) - 64, 997):
            assert content[start : start + 64] not in staged


def test_resume_trusts_only_what_opens(device: Device) -> None:
    """After an interruption a staged frame counts only if it opens; only a damaged one is fetched again."""
    staging = device.staging()
    device.fetch(staging)
    staging.close()
    victim = release().plan.frames[1]
    path = staging.path(victim.pack)
    data = bytearray(path.read_bytes())
    data[victim.offset + 5] ^= 1
    path.write_bytes(data)
    staging = device.staging()
    assert device.fetch(staging) == 1
    assert device.fetch(staging) == 0
    staging.close()


def test_a_truncated_or_swapped_staged_pack_is_fetched_again(device: Device) -> None:
    """A staged pack that was cut, or has another pack's bytes, is seen for what it is."""
    staging = device.staging()
    device.fetch(staging)
    staging.close()
    first, second = sorted(device.packs.iterdir())[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one[: len(one) // 2])
    device.install()
    assert device.files() == release().files


@pytest.mark.parametrize("wrong", ["flip", "short", "long", "other"])
def test_put_refuses_what_is_not_the_frame(device: Device, wrong: str) -> None:
    """A fetched frame that is not exactly the promised one is refused and not staged."""
    frame, other = release().plan.frames[:2]
    sealed = release().sealed(frame)
    bad = {
        "flip": bytes([sealed[0] ^ 1]) + sealed[1:],
        "short": sealed[:-1],
        "long": sealed + b"\0",
        "other": release().sealed(other),
    }[wrong]
    staging = device.staging()
    with pytest.raises(RefuseContent) as caught:
        staging.put(frame, bad)
    assert caught.value.code == "pack-tampered"
    assert not staging.has(frame)
    staging.close()


@pytest.mark.parametrize(
    "point",
    [
        "deploy.chunk",
        "deploy.file",
        "slot.seal",
        "durable.write",
        "durable.fsync",
        "durable.remove",
        "durable.rename",
        "durable.fsync-dir",
        "fetch.frame",
    ],
)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_every_failure_can_be_repeated(device: Device, point: str, error: str) -> None:
    """Fail at the n-th passage for n = 1, 2, 3 … until nothing fails: repeating completes the installation."""
    nth = 0
    failures = 0
    while True:
        nth += 1
        faults.arm(f"{point}@{nth}={error}")
        try:
            device.install()
        except ModelotaError as caught:
            failures += 1
            assert caught.code in {"disk-error", "no-space"}
            faults.arm("")
            device.install()
        else:
            faults.arm("")
            break
        assert device.files() == release().files
        device.disk.remove(device.layout.staging)
        device.slots.remove(SlotId("1.1.1", "q8"))
    assert failures > 0
    assert device.files() == release().files


def test_written_chunks_are_checked_and_files_as_a_whole(device: Device) -> None:
    """A byte that changes between writing and the final look is found (requirement 5.2.1-c)."""
    staging = device.staging()
    device.fetch(staging)
    assembly = device.assembly()
    assembly.write(release().plan, staging, lambda _: None)
    staging.close()
    path = device.partial / "files" / "model.bin"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefuseContent) as caught:
        assembly.finish(lambda _: None)
    assert caught.value.code == "file-mismatch"


def test_a_full_disk_is_known_before_fetching(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserving space for what is missing says how much is needed and how much is free."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    staging = device.staging()
    with pytest.raises(AskPerson) as caught:
        staging.reserve(release().plan.frames)
    staging.close()
    assert caught.value.code == "no-space"
    assert caught.value.params["need_bytes"] == release().plan.fetch_bytes
    assert isinstance(caught.value.params["free_bytes"], int)


def test_the_peak_is_what_really_lies_on_the_disk(device: Device) -> None:
    """The offer's peak space is not below what staging and the partial slot hold at any step."""
    staging = device.staging()
    device.fetch(staging)
    most = 0

    def look(_: int) -> None:
        nonlocal most
        held = sum(path.stat().st_blocks * 512 for path in device.layout.staging.rglob("*") if path.is_file())
        most = max(most, held)

    assembly = device.assembly()
    assembly.write(release().plan, staging, look)
    staging.close()
    rounding_bytes = 4096 * 2 * (len(release().packs) + len(release().files))  # whole blocks, both ends of a hole
    assert most <= peak_space_bytes(release().manifest, release().plan) + rounding_bytes


def test_current_names_only_a_slot_of_ours(device: Device) -> None:
    """The link is read as a slot name or as nothing, never as a path to anywhere."""
    assert device.slots.current() is None
    device.install()
    device.slots.switch(SlotId("1.1.1", "q8"))
    assert device.slots.current() == SlotId("1.1.1", "q8")
    for elsewhere in ("/etc", "slots/garbage", "slots/1.1.1+..", "slots/one+q8"):
        device.layout.current.unlink()
        device.layout.current.symlink_to(elsewhere)
        assert device.slots.current() is None
    device.layout.current.unlink()
    device.layout.current.mkdir()
    assert device.slots.current() is None


def test_a_disk_that_cannot_be_read_is_not_bad_content(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error while reading staging is trouble with the disk, not a tampered package."""
    staging = device.staging()
    device.fetch(staging)

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.pread", broken)
    with pytest.raises(TryLater) as caught:
        staging.chunk(release().plan.frames[0])
    staging.close()
    assert caught.value.code == "disk-error"
