"""What an engine prints: read from a pipe into a bounded file, its last lines kept at hand for errors."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

LOG_MAX_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 32 * 1024
_READ_BYTES: Final = 64 * 1024


class EngineLog:
    """Pump from an engine's standard output and error to `path`.

    The file is cut at the start and never exceeds `LOG_MAX_BYTES`: when full it starts again with the newest part. It
    is diagnostic output, not state, so it is neither flushed to the disk nor renamed into place. A disk that refuses
    it costs the file, not the engine.
    """

    def __init__(self, path: Path) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._tail = bytearray()
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file: int | None = os.open(path, flags, 0o600)
        except OSError:
            self._file = None

    def start(self) -> None:
        """Begin to pump, once the child holds the writing end; closes ours."""
        os.close(self.writer)
        self.writer = -1
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._pump)

    def tail(self, limit_chars: int) -> str:
        """The last lines, at most `limit_chars`, from the beginning of a line if there is one."""
        text = self._tail.decode("utf-8", "replace").strip()
        if len(text) <= limit_chars:
            return text
        cut = text[-limit_chars:]
        return cut.partition("\n")[2] or cut

    def finish(self) -> None:
        """Read what is left and close. A descendant of the engine that still holds the pipe is not waited for."""
        if self._reader >= 0:
            self._pump()
        self._close()

    def _pump(self) -> None:
        while self._reader >= 0:
            try:
                data = os.read(self._reader, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._close()
                return
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-_TAIL_BYTES]
        if self._file is None:
            return
        try:
            if self._size + len(data) > LOG_MAX_BYTES:
                os.ftruncate(self._file, 0)
                os.lseek(self._file, 0, os.SEEK_SET)
                self._size, data = 0, bytes(self._tail)
            self._size += os.write(self._file, data)
        except OSError:  # a full disk, say: the tail in memory still serves errors
            os.close(self._file)
            self._file = None

    def _close(self) -> None:
        if self._loop is not None and self._reader >= 0:
            self._loop.remove_reader(self._reader)
        for descriptor in (self._reader, self.writer, self._file):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._reader, self.writer, self._file = -1, -1, None
