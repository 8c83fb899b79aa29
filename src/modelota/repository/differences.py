"""What a differential package holds: deltas between chunks of a release and of a baseline, in packs of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelota.content.chunking import read_exactly
from modelota.content.delta import BASELESS
from modelota.content.digest import digest_bytes
from modelota.content.suites import TAG_BYTES
from modelota.errors import AskPerson
from modelota.repository.baseline import Baseline
from modelota.repository.build import OnPack, Packer, Placed
from modelota.repository.description import SourceVariant
from modelota.repository.encoding import DeltaJob, Encoders, code_delta
from modelota.repository.pairing import MappedFile, Partner, pair_chunks
from modelota.repository.scan import Progress, ScannedFile
from modelota.repository.tables import PlannedRoute
from modelota.spec.manifest import DELTA_PREFIX, Chunk, FileEntry, Pack, Variant

WORTH_BYTES: Final = 64  # a delta that saves less costs more in the manifest, and a base chunk to be read


@dataclass
class Draft:
    """A differential package that nobody has decided on yet; its packs wait in the staging directory.

    Attributes:
        routes: to every chunk that the base lacks.
        packs: sealed deltas: file and description of each.
        dropped: deltas that did not decode to what they should.
    """

    routes: tuple[PlannedRoute, ...] = ()
    packs: list[tuple[Path, Pack]] = field(default_factory=list)
    dropped: int = 0

    def discard(self) -> None:
        """Remove its packs."""
        for path, _ in self.packs:
            path.unlink(missing_ok=True)


class Differences:
    """Codes chunks against baselines.

    Args:
        placed: where each chunk lies by itself, by digest.
        deltas: published deltas, by the digests of chunk and base.
        encoders: code them.
        new_packer: makes a packer for deltas.
    """

    def __init__(
        self,
        placed: Mapping[str, Placed],
        deltas: Mapping[tuple[str, str], Placed],
        encoders: Encoders,
        new_packer: Callable[[OnPack], Packer],
    ) -> None:
        self._placed = placed
        self._deltas = dict(deltas)
        self._encoders = encoders
        self._new_packer = new_packer

    def code(
        self,
        target: Sequence[MappedFile],
        lacking: Sequence[PlannedRoute],
        baseline: Baseline,
        base: Variant,
        on_bytes: Progress,
    ) -> Draft:
        """Find the shortest coding of every chunk that the base lacks.

        Holds a few chunks per worker and what is read ahead in memory, whatever the sizes of the variants.

        Args:
            target: files of the new variant.
            lacking: its chunks that are not the base's, as they lie by themselves.
            baseline: the older release.
            base: its variant.
            on_bytes: called with numbers of bytes that add up to the target's size.

        Raises:
            AskPerson: `model-changed`, `model-unreadable`, `no-space`, `permission-denied`; as `Baseline.chunk`.
            RefuseContent: as `Baseline.chunk`.
            TryLater: `worker-crashed`, `disk-error`; the store's errors.
        """
        partners = pair_chunks(target, map_base(baseline, base)) if lacking else {}
        wanted = {
            chunk.digest: partners[chunk.digest]
            for chunk, placed, _ in lacking
            if chunk.digest in partners and placed.length_bytes > WORTH_BYTES + TAG_BYTES
        }
        draft = Draft()
        try:
            made = self._code_new(target, wanted, baseline, draft, on_bytes)
        except BaseException:
            draft.discard()
            raise
        draft.routes = tuple(self._shortest(route, wanted.get(route.chunk.digest), made) for route in lacking)
        return draft

    def keep(self, draft: Draft) -> None:
        """Note that the draft's deltas are going to be published, so that other packages use them, too."""
        for chunk, placed, base in draft.routes:
            if base is not None:
                self._deltas[chunk.digest, base.digest] = placed

    def _code_new(
        self,
        target: Sequence[MappedFile],
        wanted: Mapping[str, Partner],
        baseline: Baseline,
        draft: Draft,
        on_bytes: Progress,
    ) -> Mapping[str, Placed]:
        def hold(path: Path, pack: Pack) -> None:
            draft.packs.append((path.rename(path.with_name(pack.digest)), pack))

        pending = {
            digest: partner for digest, partner in wanted.items() if (digest, partner.base.digest) not in self._deltas
        }
        places = dict(_places(target, pending, on_bytes))

        def jobs() -> Iterator[DeltaJob]:
            with closing(baseline.chunks([pending[digest].base for digest in places])) as bases:
                for (digest, (file, start, size_bytes)), base in zip(places.items(), bases, strict=True):
                    data = file.read(start, size_bytes)
                    if digest_bytes(data) != digest:
                        raise AskPerson("model-changed", path=file.path)
                    on_bytes(size_bytes)
                    yield DeltaJob(data, base, pending[digest].kind)

        work_bytes = sum(size_bytes for _, _, size_bytes in places.values())
        with self._new_packer(hold) as packer:
            results = self._encoders.run(code_delta, jobs(), work_bytes)
            for digest, coded in zip(places, results, strict=True):
                if coded is None:
                    draft.dropped += 1
                elif self._is_worth(digest, coded.operation, coded.data):
                    packer.add(digest, DELTA_PREFIX + coded.operation, coded.data)
        return packer.placed

    def _is_worth(self, digest: str, operation: str, coded: bytes) -> bool:
        """Whether a delta is kept."""
        saved_bytes = self._placed[digest].length_bytes - TAG_BYTES - len(coded)
        return operation not in BASELESS and saved_bytes > WORTH_BYTES

    def _shortest(self, route: PlannedRoute, partner: Partner | None, made: Mapping[str, Placed]) -> PlannedRoute:
        if partner is None:
            return route
        placed = made.get(route.chunk.digest) or self._deltas.get((route.chunk.digest, partner.base.digest))
        if placed is None or placed.length_bytes >= route.placed.length_bytes:
            return route
        return PlannedRoute(route.chunk, placed, partner.base)


def map_target(variant: SourceVariant, scanned: Mapping[Path, ScannedFile]) -> tuple[MappedFile, ...]:
    """The files of a new variant; reading them raises `model-unreadable`."""
    found = []
    for path, place in variant.files:
        file = scanned[place]
        found.append(MappedFile(path, file.layout, file.chunks, _reader_of(place), file.spans))
    return tuple(found)


def map_base(baseline: Baseline, variant: Variant) -> tuple[MappedFile, ...]:
    """The files of a baseline's variant; reads their headers.

    Raises:
        as `Baseline.chunk`.
    """
    found = []
    for entry in variant.files:
        chunks: tuple[Chunk, ...] = tuple(baseline.manifest.chunks[index] for index in entry.chunks)
        found.append(MappedFile(entry.path, baseline.layout(entry), chunks, _reader_of_base(baseline, entry)))
    return tuple(found)


def _reader_of(place: Path) -> Callable[[int, int], bytes]:
    def read(offset: int, size_bytes: int) -> bytes:
        try:
            with place.open("rb", buffering=0) as stream:
                stream.seek(offset)
                return read_exactly(stream, size_bytes)
        except OSError as error:
            detail = error.strerror or type(error).__name__
            raise AskPerson("model-unreadable", path=str(place), detail=detail) from error

    return read


def _reader_of_base(baseline: Baseline, entry: FileEntry) -> Callable[[int, int], bytes]:
    def read(offset: int, size_bytes: int) -> bytes:
        with baseline.open(entry) as stream:
            stream.seek(offset)
            return read_exactly(stream, size_bytes)

    return read


def _places(
    target: Sequence[MappedFile], pending: Mapping[str, Partner], on_bytes: Progress
) -> Iterator[tuple[str, tuple[MappedFile, int, int]]]:
    """Where each pending chunk lies first, in reading order; what need not be read counts as done."""
    seen: set[str] = set()
    for file in target:
        for chunk, start in zip(file.chunks, file.starts, strict=True):
            if chunk.digest in pending and chunk.digest not in seen:
                seen.add(chunk.digest)
                yield chunk.digest, (file, start, chunk.size_bytes)
            else:
                on_bytes(chunk.size_bytes)
