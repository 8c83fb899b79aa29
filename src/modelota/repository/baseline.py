"""An earlier release as a source of plain content: its chunks, opened from the repository's own packs.

A delta is made against bytes that a device has. The publisher no longer needs the old model files for that: its packs
hold them, and its workspace holds the keys of the device classes (or a person brings the archive key).
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Final, NamedTuple

from modelota.content.delta import decode_delta
from modelota.content.digest import Octets, digest_bytes
from modelota.content.formats.layout import Layout, opaque_layout
from modelota.content.formats.registry import parse
from modelota.content.pack import PackOpener
from modelota.content.wrap import ARCHIVE, pack_key
from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.errors import AskPerson, RefuseContent
from modelota.repository.enrolment import enrolment_path, read_enrolment
from modelota.repository.keys import read_key, unlock
from modelota.repository.passphrases import Passphrases
from modelota.repository.read_ahead import read_ahead
from modelota.repository.workspace import Kem, Workspace
from modelota.spec.enrolment import ClassKey
from modelota.spec.limits import KIB, MIB
from modelota.spec.manifest import Chunk, FileEntry, Manifest, Pack, Route, Variant
from modelota.spec.offer import PlannedFrame

CACHE_BYTES: Final = 24 * MIB  # of plain chunks: those of a header are read many times, weights about once
READ_ON_BYTES: Final = 2 * MIB  # of plain chunks that are fetched together when a file is read from its beginning
_READ_ON_CHUNKS: Final = 256
_STREAM_BUFFER_BYTES: Final = 64 * KIB


class ArchiveKey(NamedTuple):
    """The private part of the archive recipient."""

    kem: Kem
    private: bytes


def read_archive_key(path: Path, passphrases: Passphrases) -> ArchiveKey:
    """The archive key in the key file at `path`.

    Raises:
        AskPerson: `argument-invalid` (another key), `not-a-repository` (no key file), `permission-denied`,
            `passphrase-missing`, `key-unlock-failed`.
    """
    key = read_key(path)
    if key.role != ARCHIVE or key.algorithm == "ed25519":
        raise AskPerson("argument-invalid", argument=f"--archive-key {path}", detail="not-an-archive-key")
    return ArchiveKey(key.algorithm, unlock(key, passphrases))


class PackKeys:
    """Opens packs that this workspace published, whatever their epoch.

    Args:
        workspace: its enrolment files hold the private keys of its classes; a file that was taken away is left out.
        archive: the archive key, where a person brought it.
        only_archive: use no other: whether it alone opens everything is what is asked.
    """

    def __init__(self, workspace: Workspace, archive: ArchiveKey | None = None, *, only_archive: bool = False) -> None:
        self._workspace = workspace
        self._archive = archive
        self._classes: dict[str, tuple[ClassKey, ...]] | None = {} if only_archive else None

    def opener(self, pack: Pack) -> PackOpener:
        """What opens frames of `pack`.

        Raises:
            RefuseContent: `pack-key-missing` (no key at hand fits), `pack-invalid`, `document-needs-newer`.
            AskPerson: `enrolment-invalid`, `permission-denied`.
        """
        for name, keys in self._candidates(pack).items():
            try:
                key = pack_key(pack, name, keys)
            except RefuseContent as error:
                if error.code != "pack-key-missing":
                    raise
            else:
                return PackOpener(key, pack.suite, pack.frames, pack.digest)
        wraps = pack.wraps[0]
        raise RefuseContent("pack-key-missing", device_class=wraps.recipient, epoch=wraps.epoch)

    def _candidates(self, pack: Pack) -> Mapping[str, Sequence[ClassKey]]:
        if self._classes is None:
            self._classes = {
                entry.name: read_enrolment(self._workspace, entry.name).keys
                for entry in self._workspace.config.classes
                if enrolment_path(self._workspace, entry.name).exists()
            }
        if self._archive is None:
            return self._classes
        # the key file does not say its epoch; a wrap of another epoch does not open, so it is no risk to try
        ours = [wrap for wrap in pack.wraps if (wrap.recipient, wrap.kem) == (ARCHIVE, self._archive.kem)]
        keys = [ClassKey(epoch=wrap.epoch, kem=wrap.kem, private=self._archive.private) for wrap in ours]
        return {**self._classes, ARCHIVE: keys}


class Baseline:
    """A published release whose plain chunks can be read. Not to be shared between threads.

    Args:
        store: the repository.
        manifest: of the release, checked.
        keys: open its packs.
    """

    def __init__(self, store: ObjectStore, manifest: Manifest, keys: PackKeys) -> None:
        self.manifest: Final = manifest
        self._store = store
        self._keys = keys
        self._openers: dict[int, PackOpener] = {}
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._routes: dict[str, Route] = {}
        for variant in manifest.variants:
            full = variant.package("full")
            for route in full.routes if full is not None else ():
                self._routes.setdefault(manifest.chunks[route.chunk].digest, route)
        self._layouts: dict[str, Layout] = {}

    @property
    def version(self) -> str:
        """Its version."""
        return self.manifest.version

    def chunk(self, chunk: Chunk) -> bytes:
        """The plain bytes of one of its chunks, verified.

        Raises:
            RefuseContent: `pack-key-missing`; `pack-tampered`, `pack-invalid`, `chunk-mismatch`, `decode-limit` (the
                repository is damaged), `manifest-mismatch` (no route to the chunk).
            AskPerson: as `PackKeys.opener`.
            TryLater: the store's errors.
        """
        cached = self._cache.get(chunk.digest)
        if cached is not None:
            self._cache.move_to_end(chunk.digest)
            return cached
        return self._keep(chunk, self._fetch(chunk))

    def chunks(self, wanted: Sequence[Chunk]) -> Generator[bytes]:
        """The plain bytes of many of its chunks, in order, verified; fetched together and ahead of their use.

        To be closed by whoever does not read it to its end.

        Raises:
            RefuseContent, AskPerson, TryLater: as `chunk`.
        """
        times = Counter(chunk.digest for chunk in wanted)
        # what is wanted more than once, such as a chunk of zeros, stays in the cache
        once = [self._frame(chunk) for chunk in wanted if times[chunk.digest] == 1]
        with closing(read_ahead(self._store, once)) as coming:
            for chunk in wanted:
                if times[chunk.digest] == 1:
                    yield self._open(chunk, self._route(chunk), next(coming))
                else:
                    yield self.chunk(chunk)

    def read_on(self, ahead: Sequence[Chunk]) -> None:
        """Fetch the first `READ_ON_BYTES` of `ahead` together, for a reader who is going to want them one by one.

        Raises:
            RefuseContent, AskPerson, TryLater: as `chunk`.
        """
        if ahead[0].digest in self._cache:
            return
        ends = accumulate(chunk.size_bytes for chunk in ahead)
        run = [chunk for chunk, _ in zip(ahead, takewhile(lambda end: end <= READ_ON_BYTES, ends), strict=False)]
        self._opener(self._route(ahead[0]))  # before anything is read: without a key it would be of no use
        with closing(self.chunks(run)) as coming:
            for chunk, data in zip(run, coming, strict=True):
                if chunk.digest not in self._cache:
                    self._keep(chunk, data)

    def layout(self, entry: FileEntry) -> Layout:
        """The layout of one of its files; opaque where its header is refused today.

        Raises:
            RefuseContent, AskPerson, TryLater: as `chunk`.
        """
        if entry.digest not in self._layouts:
            with self.open(entry) as stream:
                try:
                    found = parse(stream)
                except AskPerson as error:
                    if error.code != "model-file-hostile":
                        raise
                    found = opaque_layout(entry.size_bytes)
            self._layouts[entry.digest] = found
        return self._layouts[entry.digest]

    def open(self, entry: FileEntry) -> io.BufferedReader:
        """One of its files as a seekable stream; nothing is written to the disk, and memory is bounded.

        Reading it raises what `chunk` raises.
        """
        chunks = [self.manifest.chunks[index] for index in entry.chunks]
        return io.BufferedReader(_FileOfChunks(self, entry.path, chunks), _STREAM_BUFFER_BYTES)

    def chunks_of(self, variant: Variant) -> dict[str, Chunk]:
        """The chunks of one of its variants, by digest."""
        indexes = dict.fromkeys(index for entry in variant.files for index in entry.chunks)
        return {self.manifest.chunks[index].digest: self.manifest.chunks[index] for index in indexes}

    def _keep(self, chunk: Chunk, data: bytes) -> bytes:
        self._cache[chunk.digest] = data
        self._cached_bytes += len(data)
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return data

    def _route(self, chunk: Chunk) -> Route:
        route = self._routes.get(chunk.digest)
        if route is None:
            detail = f"no route to chunk {chunk.digest}"
            raise RefuseContent(
                "manifest-mismatch", model=self.manifest.model, version=self.manifest.version, detail=detail
            )
        return route

    def _frame(self, chunk: Chunk) -> PlannedFrame:
        route = self._route(chunk)
        pack = self.manifest.packs[route.pack].digest
        return PlannedFrame(pack, route.frame, route.offset, route.length_bytes, route.codec, route.chunk)

    def _fetch(self, chunk: Chunk) -> bytes:
        route = self._route(chunk)
        self._opener(route)  # before anything is read: without a key it would be of no use
        path = paths.pack_path(self.manifest.packs[route.pack].digest)
        return self._open(chunk, route, self._store.get_range(path, route.offset, route.length_bytes))

    def _opener(self, route: Route) -> PackOpener:
        if route.pack not in self._openers:
            self._openers[route.pack] = self._keys.opener(self.manifest.packs[route.pack])
        return self._openers[route.pack]

    def _open(self, chunk: Chunk, route: Route, sealed: Octets) -> bytes:
        coded = self._opener(route).open(route.frame, sealed)
        data = decode_delta(route.codec, coded, b"", chunk.size_bytes)
        found = digest_bytes(data)
        if found != chunk.digest:
            raise RefuseContent("chunk-mismatch", chunk=chunk.digest, found=found)
        return data


class _FileOfChunks(io.RawIOBase):
    """A file that is made of chunks, read where it is asked for."""

    def __init__(self, baseline: Baseline, name: str, chunks: Sequence[Chunk]) -> None:
        self.name = name
        self._baseline = baseline
        self._chunks = chunks
        self._ends = list(accumulate(chunk.size_bytes for chunk in chunks))
        self._size_bytes = self._ends[-1] if self._ends else 0
        self._position = 0
        self._next = 0  # the chunk that a reader from the beginning comes to

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # io's own protocol: any writable buffer
        number = bisect_right(self._ends, self._position)
        if number == len(self._ends) or not view:
            return 0
        if number == self._next:
            self._baseline.read_on(self._chunks[number : number + _READ_ON_CHUNKS])
            self._next += 1
        start = self._ends[number] - self._chunks[number].size_bytes
        piece = self._baseline.chunk(self._chunks[number])[self._position - start :][: len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
