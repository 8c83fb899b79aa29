"""Ledger entries that are no files: keyring entries, dconf keys, access control entries.

Each is named by a scheme and a name in the ledger's `path`: `keyring:<service>/<account>`, `dconf:/<key>`,
`acl:user:<number>:<rwx>:/<path>`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from modelota.agent.cleaning.acl import AclEntry, named, read_acl, without, write_acl
from modelota.agent.cleaning.reach import attributes_of, directory_of
from modelota.content.digest import digest_bytes

COMMAND_TIMEOUT_S: Final = 10.0
OUTPUT_MAX_CHARS: Final = 64 * 1024

State = Literal["ours", "changed", "gone", "unknown"]
Run = Callable[[Sequence[str]], str | None]


def run_command(argv: Sequence[str]) -> str | None:
    """The output of a program of the system; None when there is no such program, or it failed."""
    program = shutil.which(argv[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  a program found on PATH, with arguments of our own
            [program, *argv[1:]], capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout[:OUTPUT_MAX_CHARS] if done.returncode == 0 else None


class Entries(Protocol):
    """Entries of one scheme."""

    def state(self, name: str, digest: str | None) -> State:
        """Whether the entry is there and is what the agent made."""
        ...

    def remove(self, name: str) -> bool:
        """Remove the entry; False when that failed."""
        ...


class KeyringEntries:
    """Entries of the system's keyring; only those of this program's own service are ever ours."""

    SERVICE: Final = "modelota"

    def state(self, name: str, digest: str | None) -> State:
        """As `Entries.state`."""
        import keyring  # noqa: PLC0415  it looks for desktop services, which only this needs
        from keyring.errors import KeyringError  # noqa: PLC0415  as above

        service, _, account = name.partition("/")
        if service != self.SERVICE:
            return "changed"
        try:
            found = keyring.get_password(service, account)
        except (KeyringError, RuntimeError):
            return "unknown"
        if found is None:
            return "gone"
        return "ours" if digest is None or digest == digest_bytes(found.encode()) else "changed"

    def remove(self, name: str) -> bool:
        """As `Entries.remove`."""
        import keyring  # noqa: PLC0415  as above
        from keyring.errors import KeyringError  # noqa: PLC0415  as above

        service, _, account = name.partition("/")
        try:
            keyring.delete_password(service, account)
        except (KeyringError, RuntimeError):
            return False
        return True


class DconfEntries:
    """Keys of the user's dconf database (dconf(1)); the digest is that of the value as text."""

    def __init__(self, run: Run = run_command) -> None:
        self._run = run

    def state(self, name: str, digest: str | None) -> State:
        """As `Entries.state`."""
        value = self._run(["dconf", "read", name])
        if value is None:
            return "unknown"
        if not value.strip():
            return "gone"
        return "ours" if digest == digest_bytes(value.strip().encode()) else "changed"

    def remove(self, name: str) -> bool:
        """As `Entries.remove`."""
        return self._run(["dconf", "reset", name]) is not None


class AclEntries:
    """Entries that permit a user or a group something on a file of someone else's, a device node say."""

    _NAME: Final = re.compile(r"(user|group):([0-9]{1,10}):([r-][w-][x-]):(/.*)", re.DOTALL | re.ASCII)

    def state(self, name: str, digest: str | None) -> State:  # noqa: ARG002  an entry has no content but its name
        """As `Entries.state`."""
        parsed = self._parsed(name)
        if parsed is None:
            return "changed"
        entry, path = parsed
        try:
            with directory_of(path) as (directory, last), attributes_of(directory, last) as file:
                entries = read_acl(file)
        except FileNotFoundError:
            return "gone"
        except OSError:
            return "unknown"
        if entry in entries:
            return "ours"
        return "changed" if any((each.tag, each.number) == (entry.tag, entry.number) for each in entries) else "gone"

    def remove(self, name: str) -> bool:
        """As `Entries.remove`."""
        parsed = self._parsed(name)
        if parsed is None:
            return False
        entry, path = parsed
        try:
            with directory_of(path) as (directory, last), attributes_of(directory, last) as file:
                write_acl(file, without(read_acl(file), entry))
        except OSError:
            return False
        return True

    def _parsed(self, name: str) -> tuple[AclEntry, str] | None:
        match = self._NAME.fullmatch(name)
        if match is None:
            return None
        permissions = sum(bit for bit, letter in zip((4, 2, 1), match[3], strict=True) if letter != "-")
        return named(match[1], int(match[2]), permissions), match[4]


def all_entries() -> Mapping[str, Entries]:
    """The entries of this system, by scheme."""
    return {"keyring": KeyringEntries(), "dconf": DconfEntries(), "acl": AclEntries()}


def split_scheme(path: str) -> tuple[str, str] | None:
    """Scheme and name of a ledger path that is no file; None for a file's."""
    scheme, colon, name = path.partition(":")
    return (scheme, name) if colon and scheme in {"keyring", "dconf", "acl"} else None
