"""`modelota.content.suites`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content.suites import SUITES, TAG_BYTES, Suite, TagMismatchError, suite_named, suite_numbered
from modelota.errors import OurBug, RefuseContent

suites = st.sampled_from(list(SUITES.values()))
NONCE = bytes(12)


@given(suites, st.binary(max_size=500), st.binary(max_size=100), st.binary(min_size=12, max_size=12))
def test_round_trip(suite: Suite, data: bytes, aad: bytes, nonce: bytes) -> None:
    """What was sealed opens to itself, with any kind of buffer, and is one tag longer."""
    key = suite.new_key()
    sealed = suite.seal(key, nonce, memoryview(data), aad)
    assert len(sealed) == len(data) + TAG_BYTES
    assert suite.open(key, nonce, sealed, aad) == data
    assert suite.open(key, nonce, bytearray(sealed), aad) == data
    assert suite.open(key, nonce, memoryview(sealed), aad) == data


@given(suites, st.sampled_from(["key", "nonce", "sealed", "aad", "cut", "short"]), st.integers(min_value=0))
def test_anything_else_does_not_open(suite: Suite, what: str, where: int) -> None:
    """Another key, nonce, associated data, ciphertext, tag or length is refused."""
    key, aad = suite.new_key(), b"associated"
    parts = {"key": key, "nonce": NONCE, "sealed": suite.seal(key, NONCE, b"plain", aad), "aad": aad}
    if what == "cut":
        parts["sealed"] = parts["sealed"][:-1]
    elif what == "short":
        parts["sealed"] = parts["sealed"][: where % TAG_BYTES]
    else:
        changed = bytearray(parts[what])
        bit = where % (8 * len(changed))
        changed[bit // 8] ^= 1 << bit % 8
        parts[what] = bytes(changed)
    with pytest.raises(TagMismatchError) as caught:
        suite.open(**parts)
    assert not caught.value.args


def test_sm4_gcm_known_answer() -> None:
    """SM4-GCM, which is put together here, agrees with RFC 8998, appendix A.1."""
    suite = SUITES["sm4-gcm"]
    key = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    nonce = bytes.fromhex("00001234567800000000ABCD")
    aad = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
    plain = bytes.fromhex("".join(digit * 16 for digit in "ABCDEFEA"))
    sealed = bytes.fromhex(
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
        "83DE3541E4C2B58177E065A9BF7B62EC"
    )
    assert suite.seal(key, nonce, plain, aad) == sealed
    assert suite.open(key, nonce, sealed, aad) == plain


def test_numbers_and_names_are_frozen() -> None:
    """The numbers in binary formats and the key lengths never change meaning."""
    assert {(suite.number, name, suite.key_bytes) for name, suite in SUITES.items()} == {
        (1, "aes-256-gcm", 32),
        (2, "chacha20-poly1305", 32),
        (3, "sm4-gcm", 16),
    }
    assert all(suite_named(name) is suite_numbered(suite.number) is suite for name, suite in SUITES.items())


def test_unknown_suites_need_a_newer_version() -> None:
    """A name or number from the future is refused as such, with a bounded, printable detail."""
    with pytest.raises(RefuseContent) as caught:
        suite_named("ascon\n" * 100)
    assert caught.value.code == "document-needs-newer"
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
    with pytest.raises(RefuseContent, match="suite 4"):
        suite_numbered(4)


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_wrong_lengths_are_our_bug(suite: Suite) -> None:
    """A key or nonce of the wrong length never reaches the algorithm."""
    with pytest.raises(OurBug):
        suite.seal(bytes(suite.key_bytes - 1), NONCE, b"", b"")
    with pytest.raises(OurBug):
        suite.open(suite.new_key(), bytes(16), bytes(16), b"")


def test_keys_are_fresh() -> None:
    """Two keys are never the same."""
    for suite in SUITES.values():
        assert len({suite.new_key() for _ in range(100)}) == 100
