"""What a notifier has on the screen, remembered for the one that follows it in the same session.

An agent that is restarted starts its notifier anew. What the one before showed is still there, and has to go when it is
answered. The file lies in the session's runtime directory, which goes with the session; it may be lost at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

_MAX_BYTES: Final = 256 * 1024


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The notification service that shows it (`DesktopBus.place`), and numbers by ids of notices."""

    place: str
    shown: dict[int, int]


class ScreenMemory:
    """The file.

    Args:
        directory: the session's runtime directory (XDG Base Directory Specification), or None: nothing is remembered.
        name: of the file.
    """

    def __init__(self, directory: Path | None, name: str) -> None:
        self._path = None if directory is None else directory / f"{name}.json"

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str] = os.environ) -> ScreenMemory:
        """In this session's runtime directory."""
        directory = environ.get("XDG_RUNTIME_DIR", "")
        return cls(Path(directory) if directory.startswith("/") else None, name)

    def load(self, place: str) -> dict[int, int]:
        """Numbers by ids of notices, of what the service at `place` shows; empty when it is another one than then."""
        if self._path is None:
            return {}
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                kept = msgspec.json.decode(file.read(_MAX_BYTES), type=_Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}
        return dict(kept.shown) if kept.place == place else {}

    def keep(self, place: str, shown: Mapping[int, int]) -> None:
        """Remember what is shown; where that can't be written, it is not remembered."""
        if self._path is None:
            return
        data = msgspec.json.encode(_Kept(place=place, shown=dict(shown)))
        temporary = self._path.with_suffix(".tmp")
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.rename(self._path)
