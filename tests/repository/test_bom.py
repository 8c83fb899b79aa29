"""The ML-BOM of a release: what it says, and that it keeps the rules of CycloneDX 1.6 (`bom-1.6.schema.json`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelota.errors import RefuseContent
from modelota.repository.bom import bill_of_materials
from modelota.repository.history import history
from modelota.repository.workspace import Workspace

# The rules of the schema for the objects that we write: required keys, and all that may be there.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "bom": (
        {"bomFormat", "specVersion"},
        {"$schema", "serialNumber", "version", "metadata", "components", "dependencies"},
    ),
    "metadata": (set(), {"timestamp", "component"}),
    "component": (
        {"type", "name"},
        {
            *("bom-ref", "manufacturer", "group", "version", "hashes", "licenses", "pedigree", "externalReferences"),
            *("components", "releaseNotes", "modelCard", "properties"),
        },
    ),
    "modelCard": (set(), {"modelParameters", "properties"}),
    "modelParameters": (set(), {"modelArchitecture", "datasets"}),
    "datasets": ({"type"}, {"name"}),
    "pedigree": (set(), {"ancestors", "commits", "notes"}),
    "commits": (set(), {"uid"}),
    "manufacturer": (set(), {"name"}),
    "externalReferences": ({"url", "type"}, {"hashes"}),
    "hashes": ({"alg", "content"}, set()),
    "licenses": ({"license"}, set()),
    "properties": ({"name"}, {"value"}),
    "releaseNotes": ({"type"}, {"timestamp", "notes"}),
    "notes": ({"text"}, {"locale"}),
    "text": ({"content"}, set()),
    "dependencies": ({"ref"}, {"dependsOn"}),
}
SAME = {"components": "component", "ancestors": "component"}
VALUES = {
    "bomFormat": r"CycloneDX",
    "specVersion": r"1\.6",
    "serialNumber": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "alg": r"BLAKE3|SHA-256",
    "locale": r"[a-z]{2}(-[A-Z]{2})?",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}
HASH = r"[0-9a-f]{64}"


def mistakes(value: dict[str, Any], kind: str = "bom") -> Iterator[str]:
    """What of `value` the schema does not allow."""
    required, more = RULES[kind]
    yield from (f"{kind} lacks {key}" for key in sorted(required - set(value)))
    yield from (f"{kind} has {key}" for key in sorted(set(value) - required - more))
    for key, inner in value.items():
        if key in VALUES and re.fullmatch(VALUES[key], str(inner)) is None:
            yield f"{kind}.{key}: {inner}"
        if kind == "component" and key == "type" and inner not in {"machine-learning-model", "file"}:
            yield f"component.type: {inner}"
        if kind == "hashes" and key == "content" and re.fullmatch(HASH, inner) is None:
            yield f"hash: {inner}"
        for each in inner if isinstance(inner, list) else [inner]:
            if key == "license":
                yield from [] if (set(each) in ({"id"}, {"name"})) else [f"license: {each}"]
            elif isinstance(each, dict):
                yield from mistakes(each, SAME.get(key, key))


def references(value: object) -> Iterator[str]:
    """Every `bom-ref` in `value`."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(inner)
    if isinstance(value, dict) and "bom-ref" in value:
        yield value["bom-ref"]


@pytest.fixture
def sold(press: Any, shop: Workspace, family: Path) -> Workspace:
    """Three releases of real models, the second fully described."""
    files = {"1.1.1": "assistant-q4.gguf", "1.1.2": "assistant-q4.gguf", "2.1.1": "assistant-q4.gguf"}
    places = {version: str(family / version / file) for version, file in files.items()}
    for version, place in places.items():
        provenance = {
            "base_model": "acme/base 3",
            "code_revision": "9f3c2ab" if version == "1.1.2" else "of the first day",
            "data": "tales, 2026-10",
            "responsible": "assistant team",
            "tools": "trainer 4",
        }
        variants = [
            {
                "name": "q4",
                "files": [{"source": place, "path": "model.gguf"}, {"source": "empty", "path": "empty.txt"}],
                "runtime": {"name": "llama.cpp", "entry": "model.gguf"},
            }
        ]
        (press.directory / "empty").write_bytes(b"")
        press.publish(shop, press.describe(version, variants=variants, provenance=provenance, fixes=["M-1"]))
    return shop


def test_what_it_says(sold: Workspace) -> None:
    """Model, card, lineage, licence, files with their hashes and the signed manifest, all as the manifest has them."""
    found = bill_of_materials(sold, "1.1.2")
    record = history(sold, version="1.1.2")[0]
    model = found["metadata"]["component"]
    assert (model["group"], model["name"], model["version"]) == ("acme", "assistant", "1.1.2")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["manufacturer"] == {"name": "assistant team"}
    assert model["modelCard"]["modelParameters"] == {
        "modelArchitecture": "llama",
        "datasets": [{"type": "dataset", "name": "tales, 2026-10"}],
    }
    ancestors = model["pedigree"]["ancestors"]
    assert [(each["name"], each.get("version")) for each in ancestors] == [
        ("assistant", "1.1.1"),
        ("acme/base 3", None),
    ]
    assert model["pedigree"]["commits"] == [{"uid": "9f3c2ab"}]
    told = {each["name"]: each["value"] for each in model["properties"]}
    assert told["modelota:manifest:sha256"] == record.manifest_digest
    assert (told["modelota:tools"], told["modelota:fixes"]) == ("trainer 4", "M-1")
    (variant,) = found["components"]
    hashes = {each["name"]: each["hashes"][0]["content"] for each in variant["components"]}
    assert hashes == {file.path: file.digest for file in record.variants[0].files}
    (reference,) = model["externalReferences"]
    assert reference["url"].endswith(f"{reference['hashes'][0]['content']}.manifest.json.zst")
    assert reference["url"].startswith(sold.config.url)
    newest = bill_of_materials(sold)["metadata"]["component"]
    assert [each.get("version") for each in newest["pedigree"]["ancestors"]] == ["1.1.2", "1.1.1", None]
    assert [
        bill_of_materials(sold, each)["metadata"]["component"]["releaseNotes"]["type"]
        for each in ("1.1.1", "1.1.2", "2.1.1")
    ] == [
        "major",
        "patch",
        "major",
    ]
    assert bill_of_materials(sold, "1.1.1")["metadata"]["component"]["pedigree"]["notes"] == "of the first day"


def test_it_keeps_the_rules_of_cyclonedx(sold: Workspace) -> None:
    """No key that the schema does not know, none missing, every value of the right form, every reference unique."""
    for version in ("1.1.1", "1.1.2", "2.1.1"):
        found = json.loads(json.dumps(bill_of_materials(sold, version)))
        assert list(mistakes(found)) == []
        names = list(references(found))
        assert len(names) == len(set(names)) == 4
        for dependency in found["dependencies"]:
            assert {dependency["ref"], *dependency["dependsOn"]} <= set(names)


def test_the_schema_itself(sold: Workspace) -> None:
    """Where the CycloneDX project's validator is installed, it finds nothing either."""
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    check = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str
    found = bill_of_materials(sold)
    assert check(json.dumps(found)) is None
    assert check(json.dumps({**found, "serialNumber": "1"})) is not None


def test_its_serial_number_follows_from_the_manifest(sold: Workspace) -> None:
    """The same release gives the same document; another release another number."""
    first, again = bill_of_materials(sold, "1.1.1"), bill_of_materials(sold, "1.1.1")
    assert first == again
    newest = bill_of_materials(sold)
    assert newest == bill_of_materials(sold, "2.1.1")
    assert newest["serialNumber"] != first["serialNumber"]
    public = bill_of_materials(sold.repository_url, "1.1.1", root=sold.trusted_root())
    assert public["serialNumber"] == first["serialNumber"]


def test_releases_that_are_none(shop: Workspace) -> None:
    """An unknown version, and a repository without releases."""
    for version in (None, "1.1.1"):
        with pytest.raises(RefuseContent) as caught:
            bill_of_materials(shop, version)
        assert caught.value.code == "release-not-admitted"


def test_licences_that_spdx_does_not_know(press: Any, shop: Workspace) -> None:
    """They are named, not passed off as an identifier; a bare model of unknown form has an empty card."""
    press.publish(shop, press.describe("1.1.1", provenance={"licence": "Acme Licence 2"}))
    found = bill_of_materials(shop)
    assert found["metadata"]["component"]["licenses"] == [{"license": {"name": "Acme Licence 2"}}]
    assert list(mistakes(found)) == []
    assert found["components"][0]["modelCard"] == {}
