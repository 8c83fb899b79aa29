"""The examples on the publisher's format pages are what the code reads."""

import re
from pathlib import Path

import msgspec
import pytest

from modelota.repository.description import parse_description
from modelota.spec.catalog import Catalog, Control
from modelota.spec.document import read
from modelota.spec.enrolment import parse_enrolment
from modelota.spec.limits import CATALOG_MAX_BYTES, CONTROL_MAX_BYTES, MANIFEST_MAX_BYTES
from modelota.spec.manifest import Manifest, Package


def _blocks(root: Path, page: str, language: str) -> list[str]:
    text = (root / "docs" / "formats" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_release_description(repository_root: Path) -> None:
    """The example is a valid description, and the table of fields names every field."""
    (example,) = _blocks(repository_root, "release-description.md", "toml")
    description = parse_description(example.encode(), "release.toml")
    assert [variant.name for variant in description.variants] == ["q8", "q4"]
    text = (repository_root / "docs/formats/release-description.md").read_text(encoding="utf-8")
    for field in msgspec.structs.fields(type(description)):
        assert f"| `{field.name}" in text


def test_the_manifest(repository_root: Path) -> None:
    """The example, its digests filled in, is a consistent manifest, and the page names every field of a release."""
    (example,) = _blocks(repository_root, "manifest.md", "json")
    filled = re.sub(r'"([0-9a-f]{4})…"', lambda match: f'"{match[1] * 16}"', example).replace('"q83v…"', '"q83v"')
    manifest = read(filled.replace('"ASNF…"', '"ASNF"').encode(), Manifest, MANIFEST_MAX_BYTES, strict=True)
    manifest.check()
    text = (repository_root / "docs/formats/manifest.md").read_text(encoding="utf-8")
    for field in msgspec.structs.fields(Package):
        assert f"`{field.name}`" in text
    assert set(msgspec.json.decode(filled)) == {field.encode_name for field in msgspec.structs.fields(Manifest)}


@pytest.mark.parametrize(
    ("number", "kind", "limit"), [(0, Catalog, CATALOG_MAX_BYTES), (1, Control, CONTROL_MAX_BYTES)]
)
def test_catalog_and_control(repository_root: Path, number: int, kind: type[Catalog | Control], limit: int) -> None:
    """Both examples are valid and complete."""
    example = _blocks(repository_root, "catalog.md", "json")[number]
    document = read(example.encode(), kind, limit, strict=True)
    if isinstance(document, Catalog):
        document.check()
    assert set(msgspec.json.decode(example)) == {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_enrolment_file(repository_root: Path) -> None:
    """The example is a valid enrolment file."""
    (example,) = _blocks(repository_root, "enrolment.md", "toml")
    assert parse_enrolment(example.encode(), "enroll.toml").device_model == "hub-3"
