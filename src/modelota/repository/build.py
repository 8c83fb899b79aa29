"""Second reading: chunks become sealed frames, frames become packs, and all of it a manifest. In bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelota.content.coding import encode
from modelota.content.pack import ClosedPack, PackWriter
from modelota.content.suites import TAG_BYTES
from modelota.content.wrap import ARCHIVE, wrap
from modelota.repository.description import SourceVariant
from modelota.repository.scan import Progress, ScannedFile, reread
from modelota.repository.workspace import PublisherConfig, Recipient
from modelota.spec.limits import PACK_TARGET_BYTES
from modelota.spec.manifest import Chunk, FileEntry, KeyWrap, Pack, Package, Route, Variant
from modelota.storage.durable import disk_errors

OnPack = Callable[[Path, Pack], None]


@dataclass(frozen=True)
class Placed:
    """Where a chunk lies: a pack, and the frame in it."""

    pack: Pack
    frame: int
    offset: int
    length_bytes: int
    codec: str


@dataclass(frozen=True)
class Built:
    """What the second reading made: the manifest's tables, and how much of it is new.

    Attributes:
        chunks: the chunk table.
        packs: the pack table.
        variants: with files and full packages.
        new_packs: digests of packs that this release brings.
        new_bytes: their size.
        reused_bytes: sealed bytes of chunks that published packs already hold.
    """

    chunks: tuple[Chunk, ...]
    packs: tuple[Pack, ...]
    variants: tuple[Variant, ...]
    new_packs: tuple[str, ...]
    new_bytes: int
    reused_bytes: int


def recipients_of(config: PublisherConfig, model: str) -> dict[str, Recipient]:
    """Whom the packs of `model` are for: its device classes and the archive."""
    found = {entry.name: entry.key for entry in config.classes_of(model)}
    return {**found, ARCHIVE: config.archive}


def recipient_set(wraps: Sequence[KeyWrap]) -> frozenset[tuple[str, int, str]]:
    """Whom a pack is for: names, epochs, KEMs. Packs are shared between releases only if this is equal."""
    return frozenset((entry.recipient, entry.epoch, entry.kem) for entry in wraps)


def wanted_set(recipients: Mapping[str, Recipient]) -> frozenset[tuple[str, int, str]]:
    """The `recipient_set` of packs that are made for `recipients`."""
    return frozenset((name, key.epoch, key.kem) for name, key in recipients.items())


class Packer:
    """Writes packs one after another into `directory` and hands each over when it is closed.

    Args:
        directory: for packs on their way out.
        suite: they are sealed with it.
        recipients: their keys are wrapped to them.
        on_pack: takes a closed pack; its file is removed afterwards.
    """

    def __init__(self, directory: Path, suite: str, recipients: Mapping[str, Recipient], on_pack: OnPack) -> None:
        self._directory = directory
        self._suite = suite
        self._recipients = recipients
        self._on_pack = on_pack
        self._file: BinaryIO | None = None
        self._writer: PackWriter | None = None
        self._waiting: list[tuple[str, str]] = []  # chunk digest and codec of each frame of the open pack
        self.placed: dict[str, Placed] = {}
        self.packs: list[Pack] = []

    def add(self, chunk: Chunk, data: bytes) -> None:
        """Code and seal one chunk that is not in any pack yet.

        Raises:
            AskPerson: `no-space`, `permission-denied`; what `on_pack` raises.
            TryLater: `disk-error`.
        """
        codec, coded = encode(data)
        if self._writer is not None and self._writer.size_bytes + len(coded) + TAG_BYTES > PACK_TARGET_BYTES:
            self.close()
        with disk_errors(self._directory):
            if self._writer is None:
                self._file = (self._directory / "pack").open("wb")
                self._writer = PackWriter(self._file, self._suite)
            self._writer.add(coded)
        self._waiting.append((chunk.digest, codec))

    def close(self) -> None:
        """Close the open pack, if there is one, and hand it over."""
        if self._writer is None or self._file is None:
            return
        path = self._directory / "pack"
        with disk_errors(path):
            closed = self._writer.close()
            self._file.close()
        self._writer = self._file = None
        pack = self._describe(closed)
        for number, (digest, codec) in enumerate(self._waiting):
            span = closed.frames[number]
            self.placed[digest] = Placed(pack, number, span.offset, span.length_bytes, codec)
        self._waiting = []
        self.packs.append(pack)
        self._on_pack(path, pack)
        with disk_errors(path):
            path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the open file without finishing its pack."""
        if self._file is not None:
            self._file.close()

    def _describe(self, closed: ClosedPack) -> Pack:
        wraps = tuple(
            wrap(closed.key, kem=key.kem, public=key.public, recipient=name, epoch=key.epoch, pack_digest=closed.digest)
            for name, key in sorted(self._recipients.items())
        )
        return Pack(
            digest=closed.digest,
            size_bytes=closed.size_bytes,
            frames=len(closed.frames),
            suite=closed.suite,  # type: ignore[arg-type]  # a name from `SUITES`, which are the ones the field allows
            wraps=wraps,
        )


def pack_sources(
    variants: Sequence[SourceVariant],
    scanned: Mapping[Path, ScannedFile],
    published: Mapping[str, Placed],
    packer: Packer,
    on_bytes: Progress,
) -> Built:
    """Pack what is not published yet, and describe all of it.

    Args:
        variants: with their files.
        scanned: the first reading of each file.
        published: chunks, by digest, that lie in published packs for the same recipients.
        packer: takes the new chunks.
        on_bytes: called with the number of bytes just read.

    Raises:
        AskPerson: `model-changed`, `model-unreadable`, `no-space`, `permission-denied`.
    """
    seen: set[str] = set()
    try:
        for place in dict.fromkeys(place for variant in variants for _, place in variant.files):
            for chunk, data in reread(scanned[place], on_bytes):
                if chunk.digest not in seen and chunk.digest not in published:
                    packer.add(chunk, data)
                seen.add(chunk.digest)
        packer.close()
    finally:
        packer.abandon()
    return _describe(variants, scanned, published, packer)


def _describe(
    variants: Sequence[SourceVariant],
    scanned: Mapping[Path, ScannedFile],
    published: Mapping[str, Placed],
    packer: Packer,
) -> Built:
    table: list[Chunk] = []
    index_of: dict[str, int] = {}
    packs: dict[str, tuple[int, Pack]] = {}
    described = []
    for variant in variants:
        files = []
        for path, place in variant.files:
            file = scanned[place]
            for chunk in file.chunks:
                if chunk.digest not in index_of:
                    index_of[chunk.digest] = len(table)
                    table.append(chunk)
            indexes = tuple(index_of[chunk.digest] for chunk in file.chunks)
            files.append(FileEntry(path=path, size_bytes=file.size_bytes, digest=file.digest, chunks=indexes))
        routes = []
        for index in dict.fromkeys(index for entry in files for index in entry.chunks):
            digest = table[index].digest
            placed = packer.placed.get(digest) or published[digest]
            number = packs.setdefault(placed.pack.digest, (len(packs), placed.pack))[0]
            routes.append(Route(index, number, placed.frame, placed.offset, placed.length_bytes, placed.codec))
        size_bytes = sum(route.length_bytes for route in routes)
        described.append(
            Variant(
                name=variant.name,
                files=tuple(files),
                runtime=variant.runtime,
                requires=variant.requires,
                self_tests=variant.self_tests,
                packages=(Package(mode="full", size_bytes=size_bytes, routes=tuple(routes)),),
            )
        )
    return Built(
        chunks=tuple(table),
        packs=tuple(pack for _, pack in packs.values()),
        variants=tuple(described),
        new_packs=tuple(pack.digest for pack in packer.packs),
        new_bytes=sum(pack.size_bytes for pack in packer.packs),
        reused_bytes=sum(published[digest].length_bytes for digest in index_of if digest not in packer.placed),
    )
