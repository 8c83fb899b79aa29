"""What the device holds as a source of chunks and of bases: local chunks, deltas, damage."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from modelota.content.delta import encode_delta
from modelota.content.digest import digest_bytes
from modelota.content.pack import PackOpener, PackWriter
from modelota.errors import RefuseContent
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
from modelota.storage.assembly import Assembly
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging

SIZE = 4096
OLD = [bytes([number]) * 1024 + bytes(range(256)) * 12 for number in range(3)]
NEW = [OLD[0], OLD[1][:100] + b"changed" + OLD[1][107:], OLD[2]]


def release(version: str, pieces: list[bytes]) -> Manifest:
    """A release of one file of three chunks; its full package is not used here."""
    distinct = list(dict.fromkeys(pieces))
    wrap = KeyWrap(recipient="dev", epoch=1, kem="x25519", sealed=b"")
    content = b"".join(pieces)
    file = FileEntry(
        path="m.bin",
        size_bytes=len(content),
        digest=digest_bytes(content),
        chunks=tuple(distinct.index(piece) for piece in pieces),
    )
    routes = tuple(Route(number, 0, number, 16 + number * SIZE, SIZE, "raw") for number in range(len(distinct)))
    return Manifest(
        model="acme/assistant",
        version=version,
        released_at="2026-01-01T00:00:00Z",
        kind="fix",
        notes={"en": ""},
        chunks=tuple(Chunk(digest_bytes(piece), len(piece)) for piece in distinct),
        packs=(Pack(digest="c" * 64, size_bytes=100_000, frames=4, suite="aes-256-gcm", wraps=(wrap,)),),
        variants=(
            Variant(
                name="q8",
                files=(file,),
                runtime=RuntimeUse(name="command", entry="m.bin"),
                requires=Requires(),
                self_tests=SelfTests(),
                packages=(Package(mode="full", size_bytes=SIZE * len(distinct), routes=routes),),
            ),
        ),
    )


class Bench:
    """An old slot, and a plan to the new release: chunks 0 and 2 are local, chunk 1 is a delta against the old one."""

    def __init__(self, place: Path) -> None:
        self.slot = place / "slot"
        (self.slot / "files").mkdir(parents=True)
        (self.slot / "files" / "m.bin").write_bytes(b"".join(OLD))
        self.old, self.new = release("1.1.1", OLD), release("1.1.2", NEW)
        self.sources = Sources()
        self.sources.add(self.old, "q8", self.slot)
        operation, coded = encode_delta(NEW[1], OLD[1], "opaque")
        self.pack = place / "pack"
        with self.pack.open("wb") as out:
            writer = PackWriter(out)
            writer.add(coded)
            self.closed = writer.close()
        span = self.closed.frames[0]
        self.frame = PlannedFrame(
            self.closed.digest,
            0,
            span.offset,
            span.length_bytes,
            f"delta-{operation}",
            1,
            digest_bytes(OLD[1]),
            len(OLD[1]),
        )
        self.plan = Plan(
            mode="differential",
            manifest_digest="a" * 64,
            variant="q8",
            frames=(self.frame,),
            local_chunks=(0, 2),
            fetch_bytes=span.length_bytes,
        )
        self.disk = Disk((place,), NoLedger())
        self.place = place
        self.sealed = self.pack.read_bytes()[span.offset : span.offset + span.length_bytes]

    def staging(self) -> Staging:
        opener = PackOpener(self.closed.key, self.closed.suite, 1, self.closed.digest)
        return Staging(self.place / "packs", self.plan, self.new, lambda _: opener, self.disk, self.sources)

    def install(self) -> bytes:
        staging = self.staging()
        try:
            staging.put(self.frame, self.sealed)
            staging.flush()
            assembly = Assembly(self.place / "partial", self.new, self.new.variants[0], self.disk)
            assembly.write(self.plan, staging, lambda _: None, self.sources)
            assembly.finish(lambda _: None)
        finally:
            staging.close()
        return (self.place / "partial" / "files" / "m.bin").read_bytes()

    def damage(self, offset: int) -> None:
        path = self.slot / "files" / "m.bin"
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_local_chunks_and_deltas_make_the_new_version(bench: Bench) -> None:
    """What the device has and a small delta give exactly the new file, and the old slot is as it was."""
    assert len(bench.sealed) < SIZE // 4
    assert bench.install() == b"".join(NEW)
    assert (bench.slot / "files" / "m.bin").read_bytes() == b"".join(OLD)


def test_a_damaged_local_chunk_is_not_held(bench: Bench) -> None:
    """A chunk that changed in its slot is found when it is read, and refused, never copied."""
    wanted = digest_bytes(OLD[2])
    assert bench.sources.read(wanted) == OLD[2]
    bench.damage(len(OLD[0]) + len(OLD[1]) + 5)
    assert bench.sources.read(wanted) is None
    assert bench.sources.damaged([wanted, digest_bytes(OLD[0])]) == {wanted}
    with pytest.raises(RefuseContent) as caught:
        bench.install()
    assert caught.value.code == "chunk-mismatch"


def test_a_damaged_base_is_not_used(bench: Bench) -> None:
    """A delta against a base that changed is refused before it is staged."""
    bench.damage(len(OLD[0]) + 5)
    staging = bench.staging()
    with pytest.raises(RefuseContent) as caught:
        staging.put(bench.frame, bench.sealed)
    staging.close()
    assert caught.value.code == "chunk-mismatch"
    assert caught.value.params["chunk"] == digest_bytes(OLD[1])


def test_a_base_that_goes_during_the_update_is_noticed(bench: Bench) -> None:
    """The base slot vanishes between fetching and deploying: refused, with the staged delta still there."""
    staging = bench.staging()
    staging.put(bench.frame, bench.sealed)
    staging.flush()
    (bench.slot / "files" / "m.bin").unlink()
    assembly = Assembly(bench.place / "partial", bench.new, bench.new.variants[0], bench.disk)
    with pytest.raises(RefuseContent):
        assembly.write(bench.plan, staging, lambda _: None, bench.sources)
    staging.scan()
    assert not staging.has(bench.frame)
    staging.close()


def test_another_delta_for_the_same_chunk_is_refused(bench: Bench) -> None:
    """A sealed frame whose delta makes other bytes than the manifest says is refused."""
    wrong = msgspec.structs.replace(bench.new.chunks[1], digest="d" * 64)
    bench.new = msgspec.structs.replace(bench.new, chunks=(bench.new.chunks[0], wrong, bench.new.chunks[2]))
    staging = bench.staging()
    with pytest.raises(RefuseContent) as caught:
        staging.put(bench.frame, bench.sealed)
    staging.close()
    assert caught.value.code == "chunk-mismatch"


def test_known_damage_is_not_offered_again() -> None:
    """Digests that were found damaged are not counted on."""
    sources = Sources({digest_bytes(OLD[0])})
    sources.add(release("1.1.1", OLD), "q8", Path("/nowhere"))
    assert sources.held == {digest_bytes(OLD[1]), digest_bytes(OLD[2])}
