"""Pack keys for device classes: HPKE (RFC 9180), base mode, single shot (`docs/formats/key-wrap.md`).

Two KEMs: `x25519` is DHKEM(X25519, HKDF-SHA256); `mlkem768-x25519` is the hybrid of ML-KEM-768 and X25519 known as
X-Wing, which holds as long as either of the two does. Both with HKDF-SHA256 and AES-256-GCM.

A wrap proves nothing about who made it: anyone can seal to a public key. That it came from the publisher is known from
the signed manifest that carries it.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Generic, Literal, TypeVar

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from modelota.content.suites import suite_named
from modelota.errors import AskPerson, OurBug, RefuseContent
from modelota.spec.enrolment import ClassKey
from modelota.spec.manifest import KeyWrap, Pack

Kem = Literal["x25519", "mlkem768-x25519"]
ARCHIVE: Final = "archive"  # the recipient that is no device class: the publisher's offline archive key
PURPOSE: Final = b"modelota pack key, format 1"

_Private = TypeVar("_Private", X25519PrivateKey, hpke.MLKEM768X25519PrivateKey)
_Public = TypeVar("_Public", X25519PublicKey, hpke.MLKEM768X25519PublicKey)
_SHARE_BYTES: Final = 32  # an X25519 public key, private key, or ephemeral share
_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_SEED_BYTES: Final = 64


class _Kem(ABC, Generic[_Private, _Public]):
    """One KEM: its key lengths, and raw bytes to and from the keys that `cryptography` takes."""

    private_bytes: Final = 32

    def __init__(self, name: Kem, kem: hpke.KEM, public_bytes: int) -> None:
        self.name: Final = name
        self.public_bytes: Final = public_bytes
        self.enc_bytes: Final = kem.enc_length()
        self._suite: Final = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

    def seal(self, secret: bytes, public: bytes, info: bytes) -> bytes:
        return self._suite.encrypt(secret, self._load_public(public), info)

    def open(self, sealed: bytes, private: bytes, info: bytes) -> bytes:
        return self._suite.decrypt(sealed, self._load_private(private), info)

    @abstractmethod
    def public_of(self, private: bytes) -> bytes: ...

    @abstractmethod
    def _load_private(self, private: bytes) -> _Private: ...

    @abstractmethod
    def _load_public(self, public: bytes) -> _Public: ...


class _X25519(_Kem[X25519PrivateKey, X25519PublicKey]):
    def public_of(self, private: bytes) -> bytes:
        return self._load_private(private).public_key().public_bytes_raw()

    def _load_private(self, private: bytes) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(private)

    def _load_public(self, public: bytes) -> X25519PublicKey:
        return X25519PublicKey.from_public_bytes(public)


class _Hybrid(_Kem[hpke.MLKEM768X25519PrivateKey, hpke.MLKEM768X25519PublicKey]):
    def public_of(self, private: bytes) -> bytes:
        lattice, curve = self._expand(private)
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def _load_private(self, private: bytes) -> hpke.MLKEM768X25519PrivateKey:
        return hpke.MLKEM768X25519PrivateKey(*self._expand(private))

    def _load_public(self, public: bytes) -> hpke.MLKEM768X25519PublicKey:
        lattice = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        curve = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:])
        return hpke.MLKEM768X25519PublicKey(lattice, curve)

    @staticmethod
    def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        # draft-connolly-cfrg-xwing-kem, section 5.2: both keys come from one seed of 32 bytes
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _SHARE_BYTES)
        lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        return lattice, X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])


# strongest first: the order in which a device that has keys for several prefers them
_KEMS: Final[Mapping[str, _X25519 | _Hybrid]] = MappingProxyType(
    {
        kem.name: kem
        for kem in (
            _Hybrid("mlkem768-x25519", hpke.KEM.MLKEM768_X25519, _MLKEM_PUBLIC_BYTES + _SHARE_BYTES),
            _X25519("x25519", hpke.KEM.X25519, _SHARE_BYTES),
        )
    }
)
KEMS: Final[tuple[str, ...]] = tuple(_KEMS)


def generate_private(kem: str) -> bytes:
    """A fresh private key: 32 bytes for either KEM (an X25519 scalar; the seed of a hybrid key pair).

    Raises:
        AskPerson: `argument-invalid`: no such KEM.
    """
    return secrets.token_bytes(_kem(kem).private_bytes)


def public_of(kem: str, private: bytes) -> bytes:
    """The public key that belongs to `private`: 32 bytes, or 1216 for the hybrid (ML-KEM-768, then X25519).

    Raises:
        AskPerson: `argument-invalid`: no such KEM, or a private key of the wrong length.
    """
    found = _kem(kem)
    _check_length("private key", private, found.private_bytes)
    return found.public_of(private)


def wrap(pack_key: bytes, *, kem: str, public: bytes, recipient: str, epoch: int, pack_digest: str) -> KeyWrap:
    """Seal a pack key to one recipient, bound to recipient, epoch and pack.

    Args:
        pack_key: the key.
        kem: `x25519` or `mlkem768-x25519`.
        public: the recipient's public key, as `public_of` returns it.
        recipient: name of a device class, or `ARCHIVE`.
        epoch: of the recipient's key, from 1.
        pack_digest: BLAKE3 of the closed pack, hexadecimal.

    Raises:
        AskPerson: `argument-invalid`: no such KEM, or a public key that is none.
    """
    found = _kem(kem)
    _check_length("public key", public, found.public_bytes)
    try:
        sealed = found.seal(pack_key, public, _info(found.name, recipient, epoch, pack_digest))
    except (ValueError, UnsupportedAlgorithm) as error:  # a point of low order, or an OpenSSL without ML-KEM
        raise AskPerson("argument-invalid", argument="public key", detail=str(error)[:200]) from error
    return KeyWrap(recipient=recipient, epoch=epoch, kem=found.name, sealed=sealed)


def unwrap(wrap: KeyWrap, private: bytes, pack_digest: str) -> bytes:
    """Open a wrap with the recipient's private key.

    Raises:
        RefuseContent: `pack-invalid`: it does not open: another key, recipient, epoch or pack, or changed bytes.
        AskPerson: `argument-invalid`: a private key of the wrong length.
    """
    found = _kem(wrap.kem)
    _check_length("private key", private, found.private_bytes)
    try:
        return found.open(wrap.sealed, private, _info(found.name, wrap.recipient, wrap.epoch, pack_digest))
    except (InvalidTag, ValueError, UnsupportedAlgorithm) as error:
        detail = f"key for {wrap.recipient} epoch {wrap.epoch} does not open"
        raise RefuseContent("pack-invalid", pack=pack_digest, detail=detail) from error


def pack_key(pack: Pack, device_class: str, keys: Sequence[ClassKey]) -> bytes:
    """The key of `pack`, opened with whichever key of the device class fits.

    Of several that fit, the newest epoch is taken, and within it the hybrid KEM.

    Args:
        pack: from the manifest.
        device_class: of this device.
        keys: the class's private keys, any order.

    Raises:
        RefuseContent: `pack-key-missing` with the newest epoch that would have been needed, or None if the pack is not
            for this class at all; `pack-invalid` (the wrap does not open, or holds no key of the pack's suite);
            `document-needs-newer` (no such suite).
        AskPerson: `argument-invalid`: a private key of the wrong length.
    """
    ours = [wrap for wrap in pack.wraps if wrap.recipient == device_class]
    fitting = [(wrap, key) for wrap in ours for key in keys if (wrap.epoch, wrap.kem) == (key.epoch, key.kem)]
    if not fitting:
        epoch = max((wrap.epoch for wrap in ours), default=None)
        raise RefuseContent("pack-key-missing", device_class=device_class, epoch=epoch)
    found, key = max(fitting, key=lambda pair: (pair[0].epoch, -KEMS.index(pair[0].kem)))
    opened = unwrap(found, key.private, pack.digest)
    if len(opened) != suite_named(pack.suite).key_bytes:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"key of {len(opened)} bytes for {pack.suite}")
    return opened


def _kem(name: str) -> _X25519 | _Hybrid:
    found = _KEMS.get(name)
    if found is None:
        raise AskPerson("argument-invalid", argument="kem", detail=ascii(name)[:80])
    return found


def _check_length(argument: str, value: bytes, size_bytes: int) -> None:
    if len(value) != size_bytes:
        raise AskPerson("argument-invalid", argument=argument, detail=f"{len(value)} bytes, not {size_bytes}")


def _info(kem: str, recipient: str, epoch: int, pack_digest: str) -> bytes:
    """Five fields, each after its length in two bytes, so that no two different inputs give the same bytes."""
    try:
        fields = (PURPOSE, kem.encode(), recipient.encode(), struct.pack(">Q", epoch), bytes.fromhex(pack_digest))
        return b"".join(struct.pack(">H", len(field)) + field for field in fields)
    except (struct.error, ValueError) as error:
        raise OurBug("invariant-broken", detail=f"wrap for {recipient[:80]!r} epoch {epoch}") from error
