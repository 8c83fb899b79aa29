"""Where the device class's private keys are kept: the system's keyring where there is one, else a 0600 file.

What that means is said in `docs/threat-model.md`: the file protects against other users of the device, not against
its owner or root; a keyring adds that a copied disk does not hold the keys in the clear.
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Final, Protocol

import msgspec

from modelota.errors import AskPerson
from modelota.spec.enrolment import ClassKey
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout

_SERVICE: Final = "modelota"


class KeyStore(Protocol):
    """Keeps the class keys of one device root."""

    name: str

    def save(self, keys: tuple[ClassKey, ...]) -> None:
        """Keep `keys`, replacing what was kept."""
        ...

    def load(self) -> tuple[ClassKey, ...]:
        """The keys that are kept.

        Raises:
            AskPerson: `not-enrolled`, `root-not-private`, `keyring-unavailable`.
        """
        ...


class FileKeyStore:
    """Keys in `<root>/keys/class-keys.json`, directory 0700, file 0600; wider permissions are refused."""

    name = "file"

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self._path = layout.keys / "class-keys.json"
        self._disk = disk

    def save(self, keys: tuple[ClassKey, ...]) -> None:
        """Write the file."""
        self._disk.make_directory(self._path.parent, mode=0o700)
        self._disk.write_file(self._path, msgspec.json.encode(keys), mode=0o600, kind="class keys")

    def load(self) -> tuple[ClassKey, ...]:
        """Read the file."""
        with disk_errors(self._path):
            try:
                mode = stat.S_IMODE(self._path.lstat().st_mode)
                data = self._path.read_bytes()
            except FileNotFoundError as error:
                raise AskPerson("not-enrolled", path=str(self._path.parent.parent)) from error
        if mode & 0o077:
            raise AskPerson("root-not-private", path=str(self._path), mode=oct(mode))
        return _decode(data, self._path)


def keyring_entry(layout: Layout) -> str:
    """What the ledger calls the keyring's entry of a device root."""
    return f"keyring:{_SERVICE}/{layout.root.resolve()}"


class KeyringKeyStore:
    """Keys in the system's keyring (Secret Service, Keychain, Credential Locker), under the root's path."""

    name = "keyring"

    def __init__(self, layout: Layout) -> None:
        self._account = str(layout.root.resolve())
        self._path = layout.root

    def save(self, keys: tuple[ClassKey, ...]) -> None:
        """Write the keyring entry."""
        import keyring  # noqa: PLC0415  it looks for desktop services, which only this store needs
        from keyring.errors import KeyringError  # noqa: PLC0415  as above

        try:
            keyring.set_password(_SERVICE, self._account, base64.b64encode(msgspec.json.encode(keys)).decode())
        except KeyringError as error:
            raise AskPerson("keyring-unavailable", detail=type(error).__name__) from error

    def load(self) -> tuple[ClassKey, ...]:
        """Read the keyring entry."""
        import keyring  # noqa: PLC0415  as in save
        from keyring.errors import KeyringError  # noqa: PLC0415  as in save

        try:
            found = keyring.get_password(_SERVICE, self._account)
        except KeyringError as error:
            raise AskPerson("keyring-unavailable", detail=type(error).__name__) from error
        if found is None:
            raise AskPerson("not-enrolled", path=str(self._path))
        return _decode(base64.b64decode(found), self._path)


def _decode(data: bytes, path: Path) -> tuple[ClassKey, ...]:
    try:
        return msgspec.json.decode(data, type=tuple[ClassKey, ...])
    except msgspec.MsgspecError as error:
        raise AskPerson("enrolment-invalid", path=str(path), detail=str(error)[:200]) from error


def keyring_works() -> bool:
    """Whether this system has a keyring that keeps secrets for this user without asking for a plain file."""
    import keyring  # noqa: PLC0415  as above
    from keyring.backends.fail import Keyring as NoKeyring  # noqa: PLC0415  as above
    from keyring.errors import KeyringError  # noqa: PLC0415  as above

    backend = keyring.get_keyring()
    if isinstance(backend, NoKeyring) or backend.priority < 1:
        return False
    try:
        keyring.get_password(_SERVICE, "availability")
    except KeyringError:
        return False
    return True


def choose_store(kind: str, layout: Layout, disk: Disk) -> KeyStore:
    """The store that the configuration (`auto`, `file`, `keyring`) means on this system."""
    if kind == "keyring" or (kind == "auto" and keyring_works()):
        return KeyringKeyStore(layout)
    return FileKeyStore(layout, disk)


def store_named(name: str, layout: Layout, disk: Disk) -> KeyStore:
    """The store in which the enrolment put the keys."""
    return KeyringKeyStore(layout) if name == "keyring" else FileKeyStore(layout, disk)
