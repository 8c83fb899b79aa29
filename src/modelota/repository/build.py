"""Second reading: chunks become sealed frames, and frames become packs. In bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from modelota.content.pack import ClosedPack, PackWriter
from modelota.content.suites import TAG_BYTES
from modelota.content.wrap import ARCHIVE, wrap
from modelota.repository.description import SourceVariant
from modelota.repository.encoding import ChunkJob, Encoders, code_chunk
from modelota.repository.scan import Progress, ScannedFile, reread
from modelota.repository.workspace import PublisherConfig, Recipient
from modelota.spec.limits import PACK_TARGET_BYTES
from modelota.spec.manifest import Chunk, KeyWrap, Pack
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
        on_pack: takes a closed pack; its file is removed afterwards, unless it was moved.

    Attributes:
        placed: what lies in closed packs, by the key it was added with.
        packs: the closed packs.

    As a context manager it closes its last pack, or leaves it unfinished when there was an error.
    """

    def __init__(self, directory: Path, suite: str, recipients: Mapping[str, Recipient], on_pack: OnPack) -> None:
        self._directory = directory
        self._suite = suite
        self._recipients = recipients
        self._on_pack = on_pack
        self._file: BinaryIO | None = None
        self._writer: PackWriter | None = None
        self._waiting: list[tuple[str, str]] = []  # key and codec of each frame of the open pack
        self.placed: dict[str, Placed] = {}
        self.packs: list[Pack] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
        finally:
            if self._file is not None:
                self._file.close()

    def add(self, key: str, codec: str, coded: bytes) -> None:
        """Seal one coded chunk that is not in any pack yet.

        Args:
            key: what it is to be found by.
            codec: as routes name it.
            coded: at least one byte.

        Raises:
            AskPerson: `no-space`, `permission-denied`; what `on_pack` raises.
            TryLater: `disk-error`.
        """
        if self._writer is not None and self._writer.size_bytes + len(coded) + TAG_BYTES > PACK_TARGET_BYTES:
            self.close()
        with disk_errors(self._directory):
            if self._writer is None:
                self._file = (self._directory / "pack").open("wb")
                self._writer = PackWriter(self._file, self._suite)
            self._writer.add(coded)
        self._waiting.append((key, codec))

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
        for number, (key, codec) in enumerate(self._waiting):
            span = closed.frames[number]
            self.placed[key] = Placed(pack, number, span.offset, span.length_bytes, codec)
        self._waiting = []
        self.packs.append(pack)
        self._on_pack(path, pack)
        with disk_errors(path):
            path.unlink(missing_ok=True)

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
    encoders: Encoders,
    on_bytes: Progress,
) -> dict[str, Placed]:
    """Pack what is not published yet.

    Args:
        variants: with their files.
        scanned: the first reading of each file.
        published: chunks, by digest, that lie in published packs for the same recipients.
        packer: takes the new chunks.
        encoders: code them.
        on_bytes: called with the number of bytes just read.

    Returns:
        Where each chunk lies, by digest.

    Raises:
        AskPerson: `model-changed`, `model-unreadable`, `no-space`, `permission-denied`.
        TryLater: `worker-crashed`, `disk-error`.
    """
    ahead: deque[tuple[Chunk, bytes]] = deque()
    chunks: set[str] = set()

    def new_chunks() -> Iterator[ChunkJob]:
        for place in dict.fromkeys(place for variant in variants for _, place in variant.files):
            file = scanned[place]
            for (chunk, data), span in zip(reread(file, on_bytes), file.spans, strict=True):
                if chunk.digest not in chunks and chunk.digest not in published:
                    ahead.append((chunk, data))
                    yield ChunkJob(data, span.kind)
                chunks.add(chunk.digest)

    new_bytes = sum(
        chunk.size_bytes for file in scanned.values() for chunk in file.chunks if chunk.digest not in published
    )
    with packer:
        for coded in encoders.run(code_chunk, new_chunks(), new_bytes):
            chunk, data = ahead.popleft()
            packer.add(chunk.digest, coded.operation, data if coded.operation == "raw" else coded.data)
    return {digest: packer.placed.get(digest) or published[digest] for digest in chunks}
