"""Authenticated encryption: the suites that frames are sealed with (`docs/formats/pack.md`).

All three are AEADs with 96-bit nonces and 128-bit tags; a sealed frame is ciphertext, then tag. AES-256-GCM and SM4-GCM
follow NIST SP 800-38D (SM4: GB/T 32907-2016, RFC 8998), ChaCha20-Poly1305 follows RFC 8439.

None of them survives a nonce that is used twice under one key. Whoever calls `Suite.seal` must have made the key for
this one pack or object and must count.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from modelota.content.digest import Octets
from modelota.errors import OurBug, RefuseContent

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
DEFAULT: Final = "aes-256-gcm"


class TagMismatchError(Exception):
    """A tag does not verify: other bytes, key, nonce or associated data. Callers turn it into a coded error."""


class Suite(ABC):
    """One algorithm.

    Attributes:
        name: as manifests spell it.
        number: as binary formats spell it, 1 … 65535.
        key_bytes: length of its keys.
    """

    def __init__(self, name: str, number: int, key_bytes: int) -> None:
        self.name: Final = name
        self.number: Final = number
        self.key_bytes: Final = key_bytes

    def new_key(self) -> bytes:
        """A key from the operating system's random source."""
        return secrets.token_bytes(self.key_bytes)

    def seal(self, key: bytes, nonce: bytes, data: Octets, aad: bytes) -> bytes:
        """Encrypt `data` and authenticate it together with `aad`.

        Args:
            key: `key_bytes` long.
            nonce: 12 bytes, never used before with this key.
            data: the plain bytes.
            aad: associated data; authenticated, not stored.

        Returns:
            Ciphertext and tag: `TAG_BYTES` longer than `data`.

        Raises:
            OurBug: `invariant-broken`: key or nonce have the wrong length.
            RefuseContent: `document-needs-newer`: this build of OpenSSL lacks the algorithm.
        """
        self._check(key, nonce)
        try:
            return self._seal(key, nonce, data, aad)
        except UnsupportedAlgorithm as error:
            raise self._unsupported() from error

    def open(self, key: bytes, nonce: bytes, sealed: Octets, aad: bytes) -> bytes:
        """Verify and decrypt what `seal` returned. Nothing of the plain bytes is returned unless the tag verifies.

        Raises:
            TagMismatchError: the tag does not verify, or `sealed` is too short to hold one.
            OurBug: `invariant-broken`: key or nonce have the wrong length.
            RefuseContent: `document-needs-newer`: this build of OpenSSL lacks the algorithm.
        """
        self._check(key, nonce)
        if memoryview(sealed).nbytes < TAG_BYTES:
            raise TagMismatchError
        try:
            return self._open(key, nonce, sealed, aad)
        except InvalidTag as error:
            raise TagMismatchError from error
        except UnsupportedAlgorithm as error:
            raise self._unsupported() from error

    def _check(self, key: bytes, nonce: bytes) -> None:
        if len(key) != self.key_bytes or len(nonce) != NONCE_BYTES:
            raise OurBug("invariant-broken", detail=f"{self.name}: key {len(key)} bytes, nonce {len(nonce)} bytes")

    def _unsupported(self) -> RefuseContent:
        return RefuseContent("document-needs-newer", document="pack", field=f"suite {self.name}")

    @abstractmethod
    def _seal(self, key: bytes, nonce: bytes, data: Octets, aad: bytes) -> bytes: ...

    @abstractmethod
    def _open(self, key: bytes, nonce: bytes, sealed: Octets, aad: bytes) -> bytes: ...


class _OneShot(Suite):
    """A suite for which `cryptography` has an AEAD class; that class verifies before it returns."""

    def __init__(self, name: str, number: int, aead: type[AESGCM | ChaCha20Poly1305]) -> None:
        super().__init__(name, number, key_bytes=32)
        self._aead = aead

    def _seal(self, key: bytes, nonce: bytes, data: Octets, aad: bytes) -> bytes:
        return self._aead(key).encrypt(nonce, data, aad)

    def _open(self, key: bytes, nonce: bytes, sealed: Octets, aad: bytes) -> bytes:
        return self._aead(key).decrypt(nonce, sealed, aad)


class _Sm4Gcm(Suite):
    """SM4-GCM from the cipher and the mode, because `cryptography` has no AEAD class for it."""

    def _seal(self, key: bytes, nonce: bytes, data: Octets, aad: bytes) -> bytes:
        encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(aad)
        return b"".join((encryptor.update(data), encryptor.finalize(), encryptor.tag))

    def _open(self, key: bytes, nonce: bytes, sealed: Octets, aad: bytes) -> bytes:
        view = memoryview(sealed)
        tag = bytes(view[-TAG_BYTES:])
        decryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(aad)
        plain = decryptor.update(view[:-TAG_BYTES])
        # update() has decrypted but not verified: nothing may leave before finalize(), which checks the tag
        return plain + decryptor.finalize()


SUITES: Final[Mapping[str, Suite]] = MappingProxyType(
    {
        suite.name: suite
        for suite in (
            _OneShot(DEFAULT, 1, AESGCM),
            _OneShot("chacha20-poly1305", 2, ChaCha20Poly1305),
            _Sm4Gcm("sm4-gcm", 3, key_bytes=16),
        )
    }
)


def suite_named(name: str) -> Suite:
    """The suite that a document calls `name`.

    Raises:
        RefuseContent: `document-needs-newer`.
    """
    suite = SUITES.get(name)
    if suite is None:
        raise RefuseContent("document-needs-newer", document="pack", field=f"suite {ascii(name)[:80]}")
    return suite


def suite_numbered(number: int, *, document: str = "pack") -> Suite:
    """The suite that a binary format of kind `document` calls `number`.

    Raises:
        RefuseContent: `document-needs-newer`.
    """
    for suite in SUITES.values():
        if suite.number == number:
            return suite
    raise RefuseContent("document-needs-newer", document=document, field=f"suite {number}")
