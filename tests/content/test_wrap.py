"""`modelota.content.wrap`, with a second reader written from `docs/formats/key-wrap.md` and RFC 9180."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from modelota.content.wrap import KEMS, generate_private, pack_key, public_of, unwrap, wrap
from modelota.errors import AskPerson, OurBug, RefuseContent
from modelota.spec.enrolment import ClassKey
from modelota.spec.manifest import KeyWrap, Pack

DIGEST = "ab" * 32
KEY = bytes(range(64, 96))
every_kem = pytest.mark.parametrize("kem", KEMS)


def made(kem: str, private: bytes, key: bytes = KEY, recipient: str = "acme-hub", epoch: int = 3) -> KeyWrap:
    public = public_of(kem, private)
    return wrap(key, kem=kem, public=public, recipient=recipient, epoch=epoch, pack_digest=DIGEST)


def refused(code: str, call: Callable[..., object], *args: object) -> RefuseContent:
    with pytest.raises(RefuseContent) as caught:
        call(*args)
    assert caught.value.code == code, caught.value
    return caught.value


# -- a second reader -------------------------------------------------------------------------------------------------


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    assert length <= 32
    return hmac.digest(prk, info + b"\1", hashlib.sha256)[:length]


def labelled_extract(suite_id: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + material, hashlib.sha256)


def labelled_expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite_id + label + info, length)


def x25519_secret(private: bytes, enc: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(private)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    prk = labelled_extract(b"KEM\0\x20", b"", b"eae_prk", shared)
    return labelled_expand(b"KEM\0\x20", prk, b"shared_secret", enc + key.public_key().public_bytes_raw(), 32)


def hybrid_secret(seed: bytes, enc: bytes) -> bytes:
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = X25519PrivateKey.from_private_bytes(expanded[64:])
    share = enc[1088:]
    parts = (
        lattice.decapsulate(enc[:1088]),
        curve.exchange(X25519PublicKey.from_public_bytes(share)),
        share,
        curve.public_key().public_bytes_raw(),
        bytes.fromhex("5c2e2f2f5e5c"),
    )
    return hashlib.sha3_256(b"".join(parts)).digest()


def second_reader(kem: str, private: bytes, sealed: bytes, fields: tuple[bytes, ...]) -> bytes:
    info = b"".join(struct.pack(">H", len(field)) + field for field in fields)
    kem_id, enc_bytes, secret_of = {
        "x25519": (b"\0\x20", 32, x25519_secret),
        "mlkem768-x25519": (b"\x64\x7a", 1120, hybrid_secret),
    }[kem]
    suite_id = b"HPKE" + kem_id + b"\0\1" + b"\0\2"
    context = b"\0"
    context += labelled_extract(suite_id, b"", b"psk_id_hash", b"") + labelled_extract(
        suite_id, b"", b"info_hash", info
    )
    secret = labelled_extract(suite_id, secret_of(private, sealed[:enc_bytes]), b"secret", b"")
    key = labelled_expand(suite_id, secret, b"key", context, 32)
    nonce = labelled_expand(suite_id, secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, sealed[enc_bytes:], b"")


def fields_of(kem: str, recipient: str, epoch: int, pack_digest: str) -> tuple[bytes, ...]:
    return (
        b"modelota pack key, format 1",
        kem.encode(),
        recipient.encode(),
        struct.pack(">Q", epoch),
        bytes.fromhex(pack_digest),
    )


@every_kem
def test_second_reader_opens(kem: str) -> None:
    """A reader written from the page and RFC 9180 alone opens wraps of both KEMs."""
    private = generate_private(kem)
    sealed = made(kem, private).sealed
    assert second_reader(kem, private, sealed, fields_of(kem, "acme-hub", 3, DIGEST)) == KEY


@every_kem
def test_golden_wraps(kem: str, golden: Any) -> None:
    """Golden wraps still open, in both readers, and the golden key pair still belongs together."""
    case = golden(f"wrap-{kem}")
    private, key = bytes.fromhex(case["private"]), bytes.fromhex(case["pack_key"])
    found = KeyWrap(recipient=case["recipient"], epoch=case["epoch"], kem=kem, sealed=bytes.fromhex(case["sealed"]))
    assert public_of(kem, private).hex() == case["public"]
    assert unwrap(found, private, case["pack_digest"]) == key
    fields = fields_of(kem, case["recipient"], case["epoch"], case["pack_digest"])
    assert b"".join(struct.pack(">H", len(field)) + field for field in fields).hex() == case["info"]
    assert second_reader(kem, private, found.sealed, fields) == key


def test_the_worked_example(doc_blocks: Any) -> None:
    """The example on the page opens, and its info is the one that opens it."""
    public, info, sealed = (bytes.fromhex(block) for block in doc_blocks("key-wrap.md"))
    private = bytes(range(32))
    assert public_of("x25519", private) == public
    assert unwrap(KeyWrap(recipient="acme-hub", epoch=3, kem="x25519", sealed=sealed), private, DIGEST) == KEY
    fields = fields_of("x25519", "acme-hub", 3, DIGEST)
    assert b"".join(struct.pack(">H", len(field)) + field for field in fields) == info


def test_hybrid_key_pair_is_x_wings() -> None:
    """The key pair of X-Wing's first test vector (draft-connolly-cfrg-xwing-kem, appendix C) is made from its seed."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = public_of("mlkem768-x25519", seed).hex()
    assert len(public) == 2 * 1216
    assert public.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")
    assert public.endswith("859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534")


# -- the contract ----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(KEMS),
    st.sampled_from([16, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z"),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_round_trip(kem: str, key: bytes, recipient: str, epoch: int, pack_digest: str) -> None:
    """Any key for any recipient, epoch and pack comes back, also after a journey through a manifest's JSON."""
    private = generate_private(kem)
    found = wrap(
        key, kem=kem, public=public_of(kem, private), recipient=recipient, epoch=epoch, pack_digest=pack_digest
    )
    again = msgspec.json.decode(msgspec.json.encode(found), type=KeyWrap)
    assert again == found
    assert unwrap(again, private, pack_digest) == key


@every_kem
def test_bound_to_everything(kem: str) -> None:
    """Another recipient, epoch, pack, private key or KEM does not open it."""
    private = generate_private(kem)
    found = made(kem, private)
    other_kem = next(name for name in KEMS if name != kem)
    assert unwrap(found, private, DIGEST) == KEY
    for changes in ({"recipient": "acme-car"}, {"epoch": 4}, {"kem": other_kem}, {"recipient": "archive"}):
        refused("pack-invalid", unwrap, msgspec.structs.replace(found, **changes), private, DIGEST)
    refused("pack-invalid", unwrap, found, private, "ac" * 32)
    refused("pack-invalid", unwrap, found, generate_private(kem), DIGEST)


def test_every_flipped_bit_is_refused() -> None:
    """Each bit of a wrap matters, X25519's unused top bit of the share included."""
    private = generate_private("x25519")
    found = made("x25519", private)
    for bit in range(8 * len(found.sealed)):
        changed = bytearray(found.sealed)
        changed[bit // 8] ^= 1 << bit % 8
        refused("pack-invalid", unwrap, msgspec.structs.replace(found, sealed=bytes(changed)), private, DIGEST)


@every_kem
def test_changed_and_cut_wraps(kem: str) -> None:
    """A changed byte in each part, and every kind of cut, is refused with the same code."""
    private = generate_private(kem)
    found = made(kem, private)
    size = len(found.sealed)
    for place in range(0, size, max(1, size // 60)):
        changed = bytearray(found.sealed)
        changed[place] ^= 0x10
        refused("pack-invalid", unwrap, msgspec.structs.replace(found, sealed=bytes(changed)), private, DIGEST)
        refused("pack-invalid", unwrap, msgspec.structs.replace(found, sealed=found.sealed[:place]), private, DIGEST)
    refused("pack-invalid", unwrap, msgspec.structs.replace(found, sealed=found.sealed + b"\0"), private, DIGEST)
    zeros = msgspec.structs.replace(found, sealed=bytes(size))  # a share of low order
    refused("pack-invalid", unwrap, zeros, private, DIGEST)


@every_kem
def test_bad_keys_ask_a_person(kem: str) -> None:
    """Keys of the wrong length, a public key of low order, and an unknown KEM are wrong input, not damage."""
    private = generate_private(kem)
    public = public_of(kem, private)
    good = {"kem": kem, "public": public, "recipient": "r", "epoch": 1, "pack_digest": DIGEST}
    for changes in ({"public": public[1:]}, {"public": public[:-32] + bytes(32)}, {"kem": "rsa"}, {"public": b""}):
        with pytest.raises(AskPerson, match="argument-invalid"):
            wrap(KEY, **(good | changes))
    with pytest.raises(AskPerson, match="argument-invalid"):
        unwrap(made(kem, private), private[1:], DIGEST)
    with pytest.raises(AskPerson, match="argument-invalid"):
        public_of(kem, b"")
    with pytest.raises(AskPerson, match="argument-invalid"):
        generate_private("rsa")


def test_impossible_bindings_are_our_bug() -> None:
    """A digest that is none, or an epoch that does not fit, is never sealed."""
    public = public_of("x25519", generate_private("x25519"))
    for epoch, pack_digest in ((1, "xyz"), (-1, DIGEST), (2**64, DIGEST)):
        with pytest.raises(OurBug):
            wrap(KEY, kem="x25519", public=public, recipient="r", epoch=epoch, pack_digest=pack_digest)


# -- finding the key of a pack ---------------------------------------------------------------------------------------


def packed(*wraps: KeyWrap, suite: str = "aes-256-gcm") -> Pack:
    return Pack(digest=DIGEST, size_bytes=100, frames=1, suite=suite, wraps=wraps)


def test_finds_the_newest_and_strongest() -> None:
    """Of the wraps that fit, the newest epoch wins, then the hybrid; what is for others is left alone."""
    old, new, hybrid = generate_private("x25519"), generate_private("x25519"), generate_private("mlkem768-x25519")
    keys = [
        ClassKey(epoch=1, kem="x25519", private=old),
        ClassKey(epoch=2, kem="x25519", private=new),
        ClassKey(epoch=2, kem="mlkem768-x25519", private=hybrid),
    ]
    one = made("x25519", old, b"1" * 32, epoch=1)
    two = made("x25519", new, b"2" * 32, epoch=2)
    three = made("mlkem768-x25519", hybrid, b"3" * 32, epoch=2)
    others = made("x25519", new, b"4" * 32, recipient="archive", epoch=9)
    assert pack_key(packed(others, one), "acme-hub", keys) == b"1" * 32
    assert pack_key(packed(one, two, others), "acme-hub", keys) == b"2" * 32
    assert pack_key(packed(one, two, three), "acme-hub", keys) == b"3" * 32
    assert pack_key(packed(three, two, one), "acme-hub", keys[:2]) == b"2" * 32


def test_missing_keys_are_named() -> None:
    """A pack for a later epoch, another KEM or other classes is refused, with the epoch that would be needed."""
    private = generate_private("x25519")
    keys = [ClassKey(epoch=1, kem="x25519", private=private)]
    later = made("x25519", private, epoch=2)
    hybrid = made("mlkem768-x25519", private, epoch=1)
    for found, epoch in ((packed(later), 2), (packed(hybrid), 1), (packed(hybrid, later), 2)):
        error = refused("pack-key-missing", pack_key, found, "acme-hub", keys)
        assert error.params == {"device_class": "acme-hub", "epoch": epoch}
    assert refused("pack-key-missing", pack_key, packed(later), "car", keys).params["epoch"] is None
    refused("pack-key-missing", pack_key, packed(later), "acme-hub", [])


def test_opened_keys_must_fit_the_suite() -> None:
    """A wrap that opens to a key of the wrong length is refused before the key is used."""
    private = generate_private("x25519")
    keys = [ClassKey(epoch=3, kem="x25519", private=private)]
    assert pack_key(packed(made("x25519", private, bytes(16)), suite="sm4-gcm"), "acme-hub", keys) == bytes(16)
    for size, suite in ((32, "sm4-gcm"), (16, "aes-256-gcm"), (0, "aes-256-gcm"), (33, "chacha20-poly1305")):
        wrong = packed(made("x25519", private, bytes(size)), suite=suite)
        refused("pack-invalid", pack_key, wrong, "acme-hub", keys)


def test_a_wrap_that_does_not_open_is_refused() -> None:
    """A wrap for our epoch made with another key is an error, not a reason to try others."""
    private = generate_private("x25519")
    keys = [ClassKey(epoch=3, kem="x25519", private=private)]
    foreign = made("x25519", generate_private("x25519"))
    refused("pack-invalid", pack_key, packed(foreign), "acme-hub", keys)
