"""Assembly of a slot that lies sealed on the disk (`at_rest = "sealed"`): its plain bytes are in memory only.

A sealed file has a frame for each MiB, and chunks end anywhere, so each file is written from its start to its end. A
staged pack goes as soon as no byte that is still to be written needs it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from modelota import faults
from modelota.content.digest import Digester
from modelota.content.local_seal import SealedReader
from modelota.errors import RefuseContent
from modelota.spec.manifest import FileEntry, Manifest, Variant
from modelota.spec.offer import Plan, PlannedFrame
from modelota.storage.assembly import Assembly
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.sealed_file import GrowingFile, object_id, read_sealed
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging, check_chunk

Place = tuple[int, int]  # number of the file, plain offset in it


class SealedAssembly(Assembly):
    """Assembles `variant` of `manifest` below `directory`, sealed. Peak memory: a few chunks and two frames.

    Args:
        directory: the partial slot.
        manifest: the release.
        variant: one of its variants.
        disk: the writer.
        secret: of the slot.
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: Variant, disk: Disk, secret: bytes) -> None:
        super().__init__(directory, manifest, variant, disk)
        self._secret = secret
        self._files = {file.path: file for file in variant.files}

    def _read_back(self, path: str, offset: int, size_bytes: int) -> bytes | None:
        file = self._files[path]
        return read_sealed(self._path(path), self._secret, file.digest, file.size_bytes, offset, size_bytes)

    def write(
        self, plan: Plan, staging: Staging, on_progress: Callable[[int], None], sources: Sources | None = None
    ) -> None:
        """Write file after file; parameters and errors as `Assembly.write`."""
        self._disk.make_directory(self._directory / "files")
        self._allow_writing()
        frames = {frame.chunk: frame for frame in plan.frames}
        waiting = deque(sorted((end, pack) for pack, end in self._ends(plan.frames).items()))
        for number, file in enumerate(self._variant.files):
            growing = GrowingFile(self._path(file.path), file, self._secret, self._disk)
            try:
                for plain, size_bytes in self._chunks_from(growing.position, file, frames, staging, sources):
                    with disk_errors(growing.path):
                        faults.point("deploy.chunk")
                    growing.write(plain)
                    on_progress(size_bytes)
                    if waiting and waiting[0][0] <= (number, growing.position):
                        growing.sync()
                        self._disk.sync_directory(growing.path.parent)  # a new file's name, too
                    self._release(waiting, (number, growing.position), staging)
                growing.end()
                self._disk.sync_directory(growing.path.parent)
            finally:
                growing.close()
            self._release(waiting, (number, file.size_bytes), staging)

    def _ends(self, frames: Iterable[PlannedFrame]) -> dict[str, Place]:
        """The place up to which each pack is needed."""
        numbers = {file.path: number for number, file in enumerate(self._variant.files)}
        ends: dict[str, Place] = {}
        for frame in frames:
            size_bytes = self._manifest.chunks[frame.chunk].size_bytes
            for path, offset in self._places[frame.chunk]:
                ends[frame.pack] = max(ends.get(frame.pack, (0, 0)), (numbers[path], offset + size_bytes))
        return ends

    def _release(self, waiting: deque[tuple[Place, str]], reached: Place, staging: Staging) -> None:
        while waiting and waiting[0][0] <= reached:
            staging.remove_pack(waiting.popleft()[1])

    def _chunks_from(
        self,
        position: int,
        file: FileEntry,
        frames: dict[int, PlannedFrame],
        staging: Staging,
        sources: Sources | None,
    ) -> Iterable[tuple[memoryview, int]]:
        """The plain bytes of `file` from `position` on, chunk by chunk, and how long each chunk is."""
        wanted: list[tuple[int, int]] = []  # chunk, and how much of its start is written already
        offset = 0
        for index in file.chunks:
            size_bytes = self._manifest.chunks[index].size_bytes
            if offset + size_bytes > position:
                wanted.append((index, max(0, position - offset)))
            offset += size_bytes
        opened = staging.opened([frames[index] for index, _ in wanted if index in frames])
        for index, written in wanted:
            plain = next(opened)[1] if index in frames else self._held(index, sources)
            if plain is None:
                plain = self._written(index)
            if plain is None:
                raise self._refusal(index, frames, staging)
            yield memoryview(plain)[written:], len(plain)

    def _held(self, index: int, sources: Sources | None) -> bytes | None:
        return sources.read(self._manifest.chunks[index].digest) if sources is not None else None

    def _written(self, index: int) -> bytes | None:
        """A chunk whose staged pack is gone, from where it was written: behind a frame that was damaged meanwhile."""
        chunk = self._manifest.chunks[index]
        for path, offset in self._places[index]:
            plain = self._read_back(path, offset, chunk.size_bytes)
            if plain is not None:
                try:
                    check_chunk(chunk, plain)
                except RefuseContent:
                    continue
                return plain
        return None

    def _refusal(self, index: int, frames: dict[int, PlannedFrame], staging: Staging) -> RefuseContent:
        frame = frames.get(index)
        if frame is None:
            return RefuseContent("chunk-mismatch", chunk=self._manifest.chunks[index].digest, found=None)
        staging.chunk(frame)  # says what is wrong with it
        return RefuseContent("pack-tampered", pack=frame.pack, frame=frame.frame)

    def _end_file(self, file: FileEntry) -> None:
        """Nothing is left to do: `write` ends each file, and one that it did not end does not open."""

    def _digest(self, file: FileEntry) -> tuple[str, int]:
        digester = Digester()
        name = object_id(file.digest)
        descriptor = os.open(self._path(file.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            for plain in SealedReader(descriptor, self._secret, name, file.size_bytes).frames():
                digester.update(plain)
        except RefuseContent as error:
            raise RefuseContent("file-mismatch", path=file.path, expected=file.digest, found=None) from error
        finally:
            os.close(descriptor)
        return digester.hexdigest(), digester.size_bytes
