"""Manifests that were read from the repository before, in the publisher's workspace.

Publishing looks through every admitted manifest, and none of them ever changes. Nothing here is trusted: whoever takes
a manifest out compares it with the digest that was signed, as if it had come from the repository.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Final

from modelota.spec.limits import MANIFEST_SEALED_MAX_BYTES, MIB

DIRECTORY: Final = "cache/manifests"
TOTAL_MAX_BYTES: Final = 512 * MIB


class ManifestCache:
    """Keeps manifests below `directory`, as long as they take no more than `TOTAL_MAX_BYTES`.

    A cache that cannot be read or written is an empty one: nothing here raises.

    Args:
        directory: of its own; made when the first manifest comes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._size_bytes = 0
        with contextlib.suppress(OSError):
            self._size_bytes = sum(path.stat().st_size for path in directory.iterdir())

    def get(self, digest: str) -> bytes | None:
        """The manifest file whose SHA-256 should be `digest`, or None."""
        if not digest.isalnum():  # a name that leads elsewhere
            return None
        with contextlib.suppress(OSError), (self._directory / digest).open("rb") as file:
            return file.read(MANIFEST_SEALED_MAX_BYTES + 1)
        return None

    def put(self, digest: str, data: bytes) -> None:
        """Keep the manifest file `data`, in place of one that was damaged."""
        if self._size_bytes + len(data) > TOTAL_MAX_BYTES:
            return
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = self._directory / f".{secrets.token_hex(8)}"
            try:
                partial.touch(mode=0o600, exist_ok=False)
                partial.write_bytes(data)
                partial.replace(self._directory / digest)
            finally:
                partial.unlink(missing_ok=True)
            self._size_bytes += len(data)
