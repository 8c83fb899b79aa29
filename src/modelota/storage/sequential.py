"""A file of ours that is written from its start to its end, as a stream."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType

from modelota.errors import OurBug
from modelota.spec.limits import MIB
from modelota.storage.durable import Disk


class SequentialFile(io.RawIOBase):
    """Writes a new file through the writer; `settle` makes it durable.

    Args:
        path: where; a file that lies there is an error.
        disk: the writer.
        kind: for the ledger.

    Raises:
        AskPerson: `no-space`, `permission-denied`.
        TryLater: `disk-error`.
    """

    def __init__(self, path: Path, disk: Disk, *, kind: str) -> None:
        super().__init__()
        self._path = path
        self._disk = disk
        self._offset = 0
        self._descriptor = disk.create_file(path, kind=kind)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Append `data`; returns how many bytes that were. Errors as the class's."""
        if self.closed:  # its descriptor may be that of another file by now
            raise OurBug("invariant-broken", detail=f"write to a closed file: {self._path}")
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # the base class takes any buffer, by no type
        self._disk.write_at(self._descriptor, self._offset, view, self._path)
        self._offset += len(view)
        return len(view)

    def settle(self) -> int:
        """Flush file and name to the disk; returns the file's size in bytes. Errors as the class's."""
        self._disk.sync(self._descriptor, self._path)
        self._disk.sync_directory(self._path.parent)
        return self._offset

    def close(self) -> None:
        """Close the file, flushed or not."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def buffered(self) -> io.BufferedWriter:
        """A buffer in front of it; flush it before `settle`."""
        return io.BufferedWriter(self, buffer_size=MIB)
