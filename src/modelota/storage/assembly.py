"""Assembly: the files of a slot from staged frames, chunk by chunk, verified when written and as a whole.

The partial slot lies in staging until it is complete. Each pack's chunks are written and flushed before the staged pack
goes, so every chunk is always in staging or in the partial slot, and the disk never holds both copies of everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from modelota import faults
from modelota.content.digest import digest_bytes, digest_file
from modelota.content.local_seal import FRAME_BYTES, sealed_size
from modelota.errors import RefuseContent
from modelota.spec import names
from modelota.spec.limits import CHUNK_MAX_BYTES
from modelota.spec.manifest import FileEntry, Manifest, Variant
from modelota.spec.offer import Plan, PlannedFrame
from modelota.storage.cloning import Run, WantedChunk, differing, find_runs
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging


class Assembly:
    """Assembles `variant` of `manifest` below `directory` (which becomes the slot).

    Args:
        directory: the partial slot.
        manifest: the release.
        variant: one of its variants.
        disk: the writer.
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: Variant, disk: Disk) -> None:
        self._directory = directory
        self._manifest = manifest
        self._variant = variant
        self._disk = disk
        self._places = _places(manifest, variant)

    def _path(self, path: str) -> Path:
        return self._directory / "files" / names.safe_path(path)

    def has(self, chunk: int) -> bool:
        """Whether the partial slot holds the chunk, verified, everywhere it belongs."""
        expected = self._manifest.chunks[chunk]
        for path, offset in self._places.get(chunk, ()):
            plain = self._read_back(path, offset, expected.size_bytes)
            if plain is None or digest_bytes(plain) != expected.digest:
                return False
        return chunk in self._places

    def _read_back(self, path: str, offset: int, size_bytes: int) -> bytes | None:
        """Plain bytes that were written before; None when they are not there."""
        try:
            descriptor = os.open(self._path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            with disk_errors(self._path(path)):
                return os.pread(descriptor, size_bytes, offset)
        finally:
            os.close(descriptor)

    def missing(self, plan: Plan, staging: Staging) -> tuple[PlannedFrame, ...]:
        """The planned frames whose chunk is neither staged nor written."""
        return tuple(frame for frame in plan.frames if not staging.has(frame) and not self.has(frame.chunk))

    def reserve(self, plan: Plan, size_bytes: int) -> None:
        """Have blocks set aside for the first `size_bytes` that `write` will write, so that a full disk shows now.

        Raises:
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        left = size_bytes
        for index in (*plan.local_chunks, *(frame.chunk for frame in plan.frames)):
            for path, offset in self._places.get(index, ()):
                if left <= 0:
                    return
                target = self._path(path)
                self._disk.make_directory(target.parent)
                descriptor = self._disk.open_file(target, kind="slot file")
                try:
                    self._disk.reserve(descriptor, offset, self._manifest.chunks[index].size_bytes, target)
                finally:
                    os.close(descriptor)
                left -= self._manifest.chunks[index].size_bytes

    def write(
        self, plan: Plan, staging: Staging, on_progress: Callable[[int], None], sources: Sources | None = None
    ) -> None:
        """Write every chunk to its places, pack by pack, and drop each staged pack once its chunks are durable.

        Args:
            plan: says which frames there are; its frames are in reading order.
            staging: holds them, verified again as they are opened.
            on_progress: called with the plain bytes of each chunk written.
            sources: gives the chunks that the device holds already.

        Raises:
            RefuseContent: `pack-tampered`, `chunk-mismatch`.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        self._disk.make_directory(self._directory / "files")
        self._allow_writing()
        self._write_local(plan, sources, on_progress)
        for pack, frames in groupby(plan.frames, key=lambda frame: frame.pack):
            written: set[str] = set()
            for frame, plain in staging.opened(list(frames)):
                if plain is not None:
                    written |= self._write_chunk(frame.chunk, plain)
                elif not self.has(frame.chunk):
                    staging.chunk(frame)  # says what is wrong with it
                    raise RefuseContent("pack-tampered", pack=pack, frame=frame.frame)
                on_progress(self._manifest.chunks[frame.chunk].size_bytes)
            self._settle(written)
            staging.remove_pack(pack)

    def _write_local(self, plan: Plan, sources: Sources | None, on_progress: Callable[[int], None]) -> None:
        """Copy what the device holds already."""
        shared = self._share_local(plan, sources) if sources is not None else set()
        written = set(shared)
        for index in plan.local_chunks:
            chunk = self._manifest.chunks[index]
            if not self.has(index):
                plain = sources.read(chunk.digest) if sources is not None else None
                if plain is None:
                    raise RefuseContent("chunk-mismatch", chunk=chunk.digest, found=None)
                written |= self._write_chunk(index, plain, shared)
            on_progress(chunk.size_bytes)
        self._settle(written)

    def _share_local(self, plan: Plan, sources: Sources) -> set[str]:
        """Share blocks with other slots where the file system can; whatever is not right afterwards is written."""
        local = set(plan.local_chunks)
        block_bytes = os.statvfs(self._directory).f_bsize
        shared: set[str] = set()
        for file in self._variant.files:
            wanted: list[WantedChunk] = []
            offset = 0
            for index in file.chunks:
                chunk = self._manifest.chunks[index]
                if index in local:
                    wanted.append(WantedChunk(offset, chunk.size_bytes, sources.plain_places(chunk.digest)))
                offset += chunk.size_bytes
            runs = find_runs(wanted, block_bytes)
            if runs and not self._share(file, runs, shared):
                break
        return shared

    def _share(self, file: FileEntry, runs: Sequence[Run], shared: set[str]) -> bool:
        """Share the runs of one file; False when that is not possible here, and then not for other files either."""
        target = self._path(file.path)
        self._disk.make_directory(target.parent)
        descriptor = self._disk.open_file(target, kind="slot file")
        try:
            for run in runs:
                place = (descriptor, run.offset, target)
                if not self._disk.clone_range(run.source, run.source_offset, run.size_bytes, *place):
                    return False
                shared.add(file.path)
        finally:
            os.close(descriptor)
        return True

    def _write_chunk(self, chunk: int, plain: bytes, shared: Collection[str] = ()) -> set[str]:
        for path, offset in self._places[chunk]:
            target = self._path(path)
            self._disk.make_directory(target.parent)
            descriptor = self._disk.open_file(target, kind="slot file")
            try:
                with disk_errors(target):
                    faults.point("deploy.chunk")
                for start, piece in self._to_write(path, offset, plain, shared):
                    self._disk.write_at(descriptor, start, piece, target)
            finally:
                os.close(descriptor)
        return {path for path, _ in self._places[chunk]}

    def _to_write(
        self, path: str, offset: int, plain: bytes, shared: Collection[str]
    ) -> Iterable[tuple[int, bytes | memoryview]]:
        if path not in shared:
            return ((offset, plain),)
        found = self._read_back(path, offset, len(plain)) or b""
        return differing(found, plain, offset, os.statvfs(self._directory).f_bsize)

    def _allow_writing(self) -> None:
        """Undo the read-only modes that an interrupted `finish` left: the files are checked again anyway."""
        for folder, _, files in os.walk(self._directory):
            self._disk.set_mode(Path(folder), 0o700)
            for file in files:
                self._disk.set_mode(Path(folder) / file, 0o600)

    def _settle(self, paths: set[str]) -> None:
        """Flush files, and their names: a new file whose name is lost is lost with everything in it."""
        for path in paths:
            self._sync(path)
        for folder in {self._path(path).parent for path in paths}:
            self._disk.sync_directory(folder)

    def _sync(self, path: str) -> None:
        descriptor = self._disk.open_file(self._path(path))
        try:
            self._disk.sync(descriptor, self._path(path))
        finally:
            os.close(descriptor)

    def finish(self, on_progress: Callable[[int], None]) -> None:
        """Check the files as a whole, make them read-only, make the slot's own directories, and flush.

        Args:
            on_progress: called with the bytes of each file checked.

        Raises:
            RefuseContent: `file-mismatch`: a finished file is not what the manifest says.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        for file in self._variant.files:
            target = self._path(file.path)
            self._end_file(file)
            with disk_errors(target):
                faults.point("deploy.file")
                found, size_bytes = self._digest(file)
            if (found, size_bytes) != (file.digest, file.size_bytes):
                raise RefuseContent("file-mismatch", path=file.path, expected=file.digest, found=found)
            self._disk.set_mode(target, 0o444)
            on_progress(file.size_bytes)
        for own in ("cache", "log"):
            self._disk.make_directory(self._directory / own)
        for folder in _folders(self._directory / "files"):
            self._disk.set_mode(folder, 0o555)
            self._disk.sync_directory(folder)
        self._disk.sync_directory(self._directory)
        with disk_errors(self._directory):
            faults.point("slot.seal")

    def _end_file(self, file: FileEntry) -> None:
        """Give a file its size, and make it durable."""
        target = self._path(file.path)
        self._disk.make_directory(target.parent)
        descriptor = self._disk.open_file(target, kind="slot file")  # an empty file has no chunk that made it
        try:
            with disk_errors(target):
                has_its_size = os.fstat(descriptor).st_size == file.size_bytes
            if not has_its_size:  # to set it again would have the last block written, which may be shared
                self._disk.truncate(descriptor, file.size_bytes, target)
            self._disk.sync(descriptor, target)
        finally:
            os.close(descriptor)

    def is_whole(self) -> bool:
        """Whether every file is there and what the manifest says.

        Raises:
            TryLater: `disk-error`.
        """
        for file in self._variant.files:
            target = self._path(file.path)
            if not target.is_file():
                return False
            with disk_errors(target):
                try:
                    if self._digest(file) != (file.digest, file.size_bytes):
                        return False
                except RefuseContent:
                    return False
        return True

    def _digest(self, file: FileEntry) -> tuple[str, int]:
        """Digest and size of a file's plain bytes as they lie on the disk."""
        return digest_file(self._path(file.path))


def _places(manifest: Manifest, variant: Variant) -> dict[int, list[tuple[str, int]]]:
    """Where each chunk goes: file and offset, as often as it occurs."""
    places: dict[int, list[tuple[str, int]]] = {}
    for file in variant.files:
        offset = 0
        for index in file.chunks:
            places.setdefault(index, []).append((file.path, offset))
            offset += manifest.chunks[index].size_bytes
    return places


def _folders(directory: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(directory, topdown=False):
        yield Path(folder)


def peak_space_bytes(manifest: Manifest, plan: Plan, *, kept_bytes: int = 0, sealed: bool = False) -> int:
    """The most bytes that the device needs beyond what it holds now, until everything that follows `plan` is done.

    Staged packs go as soon as their chunks are durable, so the peak is not the sum of both. Sealed chunks of a version
    that then loses its slot are written while that slot is still there.

    Args:
        manifest: of the release.
        plan: to be carried out.
        kept_bytes: what is written to keep the version that loses its slot (`storage.kept.kept_bytes`).
        sealed: the slot will lie sealed on the disk (`storage.sealed_assembly`).
    """
    variant = manifest.variant(plan.variant)
    if sealed:
        steps = _sealed_steps(manifest, variant, plan)
        installed = sum(sealed_size(file.size_bytes) for file in variant.files)
    else:
        steps = _plain_steps(manifest, variant, plan)
        installed = variant.size_bytes
    peak, staged = plan.fetch_bytes, plan.fetch_bytes
    for written, released in steps:
        peak = max(peak, staged + written)
        staged -= released
    return max(peak, installed + kept_bytes)


Steps = list[tuple[int, int]]  # written so far, then how many staged bytes go


def _plain_steps(manifest: Manifest, variant: Variant, plan: Plan) -> Steps:
    """Pack by pack: a pack's chunks are written wherever they belong, then it goes."""
    copies: dict[int, int] = {}
    for file in variant.files:
        for index in file.chunks:
            copies[index] = copies.get(index, 0) + manifest.chunks[index].size_bytes
    written = sum(copies.get(index, 0) for index in plan.local_chunks)
    steps = [(written, 0)]
    for _, frames in groupby(plan.frames, key=lambda frame: frame.pack):
        group = list(frames)
        written += sum(copies.get(frame.chunk, 0) for frame in group)
        steps.append((written, sum(frame.length_bytes for frame in group)))
    return steps


def _sealed_steps(manifest: Manifest, variant: Variant, plan: Plan) -> Steps:
    """File by file: a pack goes once the last byte that needs it is in a frame, at most a chunk and a frame later."""
    before: dict[str, int] = {}
    total = 0
    for file in variant.files:
        before[file.path] = total
        total += sealed_size(file.size_bytes)
    ends: dict[str, int] = {}
    staged: dict[str, int] = {}
    places = _places(manifest, variant)
    for frame in plan.frames:
        staged[frame.pack] = staged.get(frame.pack, 0) + frame.length_bytes
        for path, offset in places.get(frame.chunk, ()):
            end = before[path] + sealed_size(offset + manifest.chunks[frame.chunk].size_bytes)
            ends[frame.pack] = max(ends.get(frame.pack, 0), end)
    later = CHUNK_MAX_BYTES + FRAME_BYTES
    return [(min(end + later, total), staged[pack]) for pack, end in sorted(ends.items(), key=lambda item: item[1])]
