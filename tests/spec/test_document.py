"""Signed documents: formats, critical fields, limits, canonical bytes (design decision 13)."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import RefuseContent
from modelota.spec.catalog import Catalog, Control
from modelota.spec.document import canonical, digest_of, known_fields, read
from modelota.spec.manifest import Manifest

CONTROL = {"format": 1, "model": "a/b", "paused": True}


def code(data: bytes, kind: type = Control, limit_bytes: int = 10_000, **options: bool) -> str:
    """The code with which `data` is refused."""
    with pytest.raises(RefuseContent) as caught:
        read(data, kind, limit_bytes, **options)
    return caught.value.code


def test_newer_formats_and_unknown_critical_fields_are_refused() -> None:
    """A reader refuses a higher format, and a field it must understand and does not, saying which."""
    assert code(json.dumps({**CONTROL, "format": 2}).encode()) == "document-needs-newer"
    catalog = {"format": 1, "model": "a/b", "releases": [], "critical": ["releases.quantum"]}
    with pytest.raises(RefuseContent) as caught:
        read(json.dumps(catalog).encode(), Catalog, 10_000)
    assert caught.value.params["field"] == "releases.quantum"


def test_unknown_fields_are_ignored_unless_strict() -> None:
    """An additive field of a newer publisher does not disturb an older reader; a strict reader refuses it."""
    data = json.dumps({"format": 1, "model": "a/b", "releases": [], "later": 1}).encode()
    assert read(data, Catalog, 10_000).model == "a/b"
    assert code(data, Catalog, strict=True) == "document-invalid"


def test_known_critical_fields_pass() -> None:
    """A critical field that this reader knows is no obstacle."""
    data = json.dumps({"format": 1, "model": "a/b", "releases": [], "critical": ["releases.urgent"]}).encode()
    assert read(data, Catalog, 10_000).critical == ("releases.urgent",)
    assert "variants.self_tests.functional.check.values" in known_fields(Manifest)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe{}",
        b'{"format": "1"}',
        b'{"format": 1}',
        b'{"format": 1, "model": 3}',
        b"[" * 5000,
    ],
)
def test_what_is_not_the_document_is_refused(data: bytes) -> None:
    """Broken JSON, wrong types and missing fields are invalid, never a crash."""
    assert code(data) == "document-invalid"


def test_size_limit() -> None:
    """A document above its limit is refused before it is parsed."""
    assert code(json.dumps(CONTROL).encode(), limit_bytes=10) == "document-too-large"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(data: bytes) -> None:
    """Any bytes are a document or a refusal."""
    try:
        read(data, Manifest, 1000)
    except RefuseContent as error:
        assert error.code.startswith("document-")


def test_canonical_bytes_do_not_depend_on_order() -> None:
    """Two ways to write one value have one digest."""
    assert canonical({"b": 1, "a": [1, 2]}) == b'{"a":[1,2],"b":1}'
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    control = read(json.dumps(CONTROL).encode(), Control, 1000)
    assert msgspec.json.decode(canonical(control), type=Control) == control
