"""Assembly: the files of a slot from staged frames, chunk by chunk, verified when written and as a whole.

The partial slot lies in staging until it is complete. Each pack's chunks are written and flushed before the staged pack
goes, so every chunk is always in staging or in the partial slot, and the disk never holds both copies of everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from modelota import faults
from modelota.content.digest import digest_file
from modelota.errors import RefuseContent
from modelota.spec import names
from modelota.spec.manifest import Manifest, Variant
from modelota.spec.offer import Plan, PlannedFrame
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging, check_chunk


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
            try:
                descriptor = os.open(self._path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                return False
            try:
                with disk_errors(self._path(path)):
                    plain = os.pread(descriptor, expected.size_bytes, offset)
                check_chunk(expected, plain)
            except RefuseContent:
                return False
            finally:
                os.close(descriptor)
        return chunk in self._places

    def missing(self, plan: Plan, staging: Staging) -> tuple[PlannedFrame, ...]:
        """The planned frames whose chunk is neither staged nor written."""
        return tuple(frame for frame in plan.frames if not staging.has(frame) and not self.has(frame.chunk))

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
            for path in written:
                self._sync(path)
            staging.remove_pack(pack)

    def _write_local(self, plan: Plan, sources: Sources | None, on_progress: Callable[[int], None]) -> None:
        """Copy what the device holds already."""
        written: set[str] = set()
        for index in plan.local_chunks:
            chunk = self._manifest.chunks[index]
            if not self.has(index):
                plain = sources.read(chunk.digest) if sources is not None else None
                if plain is None:
                    raise RefuseContent("chunk-mismatch", chunk=chunk.digest, found=None)
                written |= self._write_chunk(index, plain)
            on_progress(chunk.size_bytes)
        for path in written:
            self._sync(path)

    def _write_chunk(self, chunk: int, plain: bytes) -> set[str]:
        for path, offset in self._places[chunk]:
            target = self._path(path)
            self._disk.make_directory(target.parent)
            descriptor = self._disk.open_file(target, kind="slot file")
            try:
                with disk_errors(target):
                    faults.point("deploy.chunk")
                self._disk.write_at(descriptor, offset, plain, target)
            finally:
                os.close(descriptor)
        return {path for path, _ in self._places[chunk]}

    def _allow_writing(self) -> None:
        """Undo the read-only modes that an interrupted `finish` left: the files are checked again anyway."""
        for folder, _, files in os.walk(self._directory):
            self._disk.set_mode(Path(folder), 0o700)
            for file in files:
                self._disk.set_mode(Path(folder) / file, 0o600)

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
            self._disk.make_directory(target.parent)
            descriptor = self._disk.open_file(target, kind="slot file")  # an empty file has no chunk that made it
            try:
                self._disk.truncate(descriptor, file.size_bytes, target)
                self._disk.sync(descriptor, target)
            finally:
                os.close(descriptor)
            with disk_errors(target):
                faults.point("deploy.file")
                found, size_bytes = digest_file(target)
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


def peak_space_bytes(manifest: Manifest, plan: Plan) -> int:
    """The most bytes that staging and the partial slot hold together while `plan` is carried out.

    Staged packs go as soon as their chunks are durable, so the peak is not the sum of both.
    """
    variant = manifest.variant(plan.variant)
    copies: dict[int, int] = {}
    for file in variant.files:
        for index in file.chunks:
            copies[index] = copies.get(index, 0) + manifest.chunks[index].size_bytes
    staged = plan.fetch_bytes
    written = sum(copies.get(index, 0) for index in plan.local_chunks)
    peak = staged + written
    for _, frames in groupby(plan.frames, key=lambda frame: frame.pack):
        group = list(frames)
        written += sum(copies.get(frame.chunk, 0) for frame in group)
        peak = max(peak, staged + written)
        staged -= sum(frame.length_bytes for frame in group)
    return max(peak, variant.size_bytes)
