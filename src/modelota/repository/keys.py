"""Private keys of the publisher: one file each, sealed with a passphrase, or plain and marked as for trying out.

A key file is TOML. The private part is sealed with AES-256-GCM under a key that scrypt (RFC 7914) derives from the
passphrase; name, role and public part are associated data, so that a private part cannot be moved to another file.
PKCS#8 encryption was not taken because its key derivation in common libraries is a few thousand rounds of PBKDF2.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta
from securesystemslib.signer import CryptoSigner, SSlibKey

from modelota.errors import AskPerson, ModelotaError
from modelota.repository import toml
from modelota.repository.passphrases import Passphrases
from modelota.spec.limits import KIB

KEY_FILE_MAX_BYTES: Final = 64 * KIB
SUFFIX: Final = ".key.toml"
DEV_SUFFIX: Final = ".dev-key.toml"
SCRYPT_COST: Final = 1 << 17  # 128 MiB and a third of a second per guess; RFC 7914's N, with r = 8 and p = 1
_SCRYPT_COST_MAX: Final = 1 << 20

Algorithm = Literal["ed25519", "x25519", "mlkem768-x25519"]


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A private part under a passphrase."""

    kdf: Literal["scrypt"]
    cost: Annotated[int, Meta(ge=2, le=_SCRYPT_COST_MAX)]
    salt: Annotated[bytes, Meta(min_length=16, max_length=64)]
    aead: Literal["aes-256-gcm"]
    nonce: Annotated[bytes, Meta(min_length=12, max_length=12)]
    data: Annotated[bytes, Meta(min_length=17, max_length=16 * KIB)]


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key pair as it lies in the workspace.

    Attributes:
        format: 1.
        name: of the key, for example `root-1`.
        role: what it is for: a TUF role, or `archive`.
        algorithm: `ed25519` for signing, a KEM for the archive recipient.
        public: raw public part.
        sealed: the private part; exactly one of this and `plain` is there.
        plain: the private part of a key for trying out.
    """

    format: Literal[1]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,159}$")]
    role: Annotated[str, Meta(max_length=160)]
    algorithm: Algorithm
    public: Annotated[bytes, Meta(min_length=32, max_length=8 * KIB)]
    sealed: Sealed | None = None
    plain: bytes | None = None

    @property
    def is_dev(self) -> bool:
        """Whether the private part is readable by anyone who reads the file."""
        return self.plain is not None

    @property
    def file_name(self) -> str:
        """How the file is called."""
        return self.name + (DEV_SUFFIX if self.is_dev else SUFFIX)

    def text(self) -> str:
        """The file's content."""
        head = f"# modelota private key {self.name}. Keep a copy offline; whoever has it acts as {self.role}.\n"
        if self.is_dev:
            head = f"# modelota key {self.name}, FOR TRYING OUT ONLY: the private part below is not encrypted.\n"
        return head + toml.render(msgspec.to_builtins(self))


def make_key(
    name: str,
    role: str,
    *,
    passphrases: Passphrases | None,
    algorithm: Algorithm = "ed25519",
    pair: tuple[bytes, bytes] | None = None,
) -> KeyFile:
    """Make a key file; without `passphrases` it is a plain one for trying out.

    Args:
        name: of the key.
        role: what it is for.
        passphrases: where its passphrase comes from, or None.
        algorithm: of the key.
        pair: private and public raw bytes; None makes a fresh ed25519 pair.

    Raises:
        AskPerson: `passphrase-missing`, `argument-invalid` (the passphrase is too short).
    """
    if pair is None:
        fresh = Ed25519PrivateKey.generate()
        pair = (fresh.private_bytes_raw(), fresh.public_key().public_bytes_raw())
    private, public = pair
    key = KeyFile(format=1, name=name, role=role, algorithm=algorithm, public=public, plain=private)
    if passphrases is None:
        return key
    sealed = _seal(private, passphrases.new(name), _associated(key))
    return msgspec.structs.replace(key, sealed=sealed, plain=None)


def read_key(path: Path) -> KeyFile:
    """Read a key file.

    Raises:
        AskPerson: `not-a-repository` (the file is not a key file), `permission-denied`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(KEY_FILE_MAX_BYTES + 1)
        if len(data) > KEY_FILE_MAX_BYTES:
            raise AskPerson("not-a-repository", path=str(path), detail="key file too large")
        key = msgspec.convert(tomllib.loads(data.decode()), KeyFile)
    except PermissionError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise AskPerson("not-a-repository", path=str(path), detail=str(error)[:200]) from error
    if (key.sealed is None) == (key.plain is None):
        raise AskPerson("not-a-repository", path=str(path), detail="a key has either `sealed` or `plain`")
    return key


def unlock(key: KeyFile, passphrases: Passphrases) -> bytes:
    """The private part of `key`.

    Raises:
        AskPerson: `passphrase-missing`, `key-unlock-failed`.
    """
    if key.plain is not None:
        return key.plain
    assert key.sealed is not None
    derived = _derive(passphrases.existing(key.name), key.sealed.salt, key.sealed.cost)
    try:
        return AESGCM(derived).decrypt(key.sealed.nonce, key.sealed.data, _associated(key))
    except InvalidTag as error:
        raise AskPerson("key-unlock-failed", key=key.name) from error


def public_key(key: KeyFile) -> SSlibKey:
    """The public part as TUF metadata spells it."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.public))


class KeyRing:
    """The signing keys at hand, found by the key ids that metadata names; each is unlocked at most once.

    Args:
        directories: where key files lie; a key that lies in none of them is offline.
        passphrases: opens them.
    """

    def __init__(self, directories: Sequence[Path], passphrases: Passphrases) -> None:
        self._directories = tuple(directories)
        self._passphrases = passphrases
        self._unlocked: dict[str, CryptoSigner] = {}
        self._found: dict[str, KeyFile] | None = None

    @property
    def files(self) -> dict[str, KeyFile]:
        """Signing keys by key id.

        Raises:
            AskPerson: `not-a-repository` (a damaged key file), `permission-denied`.
        """
        if self._found is None:
            self._found = {}
            for path in key_paths(self._directories):
                key = read_key(path)
                if key.algorithm == "ed25519":
                    self._found[public_key(key).keyid] = key
        return self._found

    def add(self, key: KeyFile, private: bytes | None = None) -> SSlibKey:
        """Take in a key that was just made; with its private part it needs no passphrase."""
        public = public_key(key)
        self.files[public.keyid] = key
        plain = private if private is not None else key.plain
        if plain is not None:
            self._unlocked[public.keyid] = CryptoSigner(Ed25519PrivateKey.from_private_bytes(plain), public)
        return public

    def have(self, keyids: Iterable[str]) -> int:
        """How many of `keyids` have their key at hand."""
        return sum(keyid in self.files for keyid in keyids)

    def signers(self, role: str, keyids: Sequence[str], need: int) -> list[CryptoSigner]:
        """Unlock `need` of the keys `keyids` of `role`.

        Keys whose passphrase nobody gives are passed over while others suffice; a wrong passphrase never is.

        Raises:
            AskPerson: `key-missing` (fewer than `need` are at hand), `passphrase-missing`, `key-unlock-failed`.
        """
        at_hand = [keyid for keyid in keyids if keyid in self.files]
        if len(at_hand) < need:
            raise AskPerson("key-missing", role=role, have=len(at_hand), need=need)
        ready = [self._unlocked[keyid] for keyid in at_hand if keyid in self._unlocked][:need]
        missing: ModelotaError | None = None
        for keyid in at_hand:
            if len(ready) == need:
                break
            if keyid in self._unlocked:
                continue
            try:
                ready.append(self._unlock(keyid))
            except AskPerson as error:
                if error.code != "passphrase-missing":
                    raise
                missing = missing or error
        if len(ready) < need:
            assert missing is not None
            raise missing
        return ready

    def _unlock(self, keyid: str) -> CryptoSigner:
        key = self.files[keyid]
        private = Ed25519PrivateKey.from_private_bytes(unlock(key, self._passphrases))
        if private.public_key().public_bytes_raw() != key.public:
            raise AskPerson("key-unlock-failed", key=key.name)
        signer = self._unlocked[keyid] = CryptoSigner(private, public_key(key))
        return signer


def key_paths(directories: Iterable[Path]) -> list[Path]:
    """All key files in `directories`, by name."""
    return sorted(
        path
        for directory in directories
        if directory.is_dir()
        for path in directory.iterdir()
        if path.name.endswith((SUFFIX, DEV_SUFFIX))
    )


def key_name(path: Path) -> str:
    """The key's name by the name of its file."""
    return path.name.removesuffix(SUFFIX).removesuffix(DEV_SUFFIX)


def next_name(prefix: str, taken: Callable[[str], bool]) -> str:
    """The first of `<prefix>-1`, `<prefix>-2`, … that is not taken."""
    number = 1
    while taken(f"{prefix}-{number}"):
        number += 1
    return f"{prefix}-{number}"


def _associated(key: KeyFile) -> bytes:
    return msgspec.json.encode(("modelota key 1", key.name, key.role, key.algorithm, key.public))


def _derive(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase)


def _seal(private: bytes, passphrase: bytes, associated: bytes) -> Sealed:
    salt, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    data = AESGCM(_derive(passphrase, salt, SCRYPT_COST)).encrypt(nonce, private, associated)
    return Sealed(kdf="scrypt", cost=SCRYPT_COST, salt=salt, aead="aes-256-gcm", nonce=nonce, data=data)
