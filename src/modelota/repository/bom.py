"""A release as a CycloneDX 1.6 ML-BOM (ECMA-424): the machine-readable history of clause 6.2-a, for other tools.

Everything in it is from signed manifests, so the same release always gives the same document but for the address of the
repository that it was read from. Its serial number follows from the manifest's digest.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from modelota.delivery import paths
from modelota.errors import RefuseContent
from modelota.repository.history import open_model
from modelota.repository.model_facts import ModelFacts, facts_of
from modelota.repository.published import Published
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import CatalogRelease
from modelota.spec.manifest import Manifest, Variant
from modelota.spec.version import Version

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_REVISION: Final = re.compile(r"[0-9a-f]{7,64}", re.ASCII)
# SPDX identifiers as model cards write them, in lower case; anything else is a licence by its name.
_SPDX: Final = {
    name.lower(): name
    for name in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "Unlicense", "CC0-1.0", "CC-BY-4.0",
        "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "GPL-2.0-only", "GPL-3.0-only",
        "LGPL-3.0-only", "AGPL-3.0-only", "MulanPSL-2.0", "EPL-2.0", "ODbL-1.0",
    )
}  # fmt: skip
Json = dict[str, Any]


def bill_of_materials(
    where: Workspace | str, version: str | None = None, model: str | None = None, *, root: bytes | None = None
) -> Json:
    """The ML-BOM of one release, as plain data for JSON.

    Args:
        where: a workspace, or the URL of a public repository.
        version: which release; None is the newest.
        model: which; None is the only one there is.
        root: trusted root metadata; None as for `status`.

    Raises:
        RefuseContent: `release-not-admitted`; as `history`.
        AskPerson, TryLater: as `history`.
    """
    published, model = open_model(where, model, root)
    catalog = published.catalog(model)
    newest = catalog.releases[-1] if catalog.releases else None
    release = newest if version is None else catalog.release(version)
    if release is None:
        raise RefuseContent("release-not-admitted", model=model, version=version)
    manifest = published.manifest(model, release)
    ancestors: list[tuple[CatalogRelease, Manifest]] = []
    following = manifest.predecessor
    while following is not None and (older := catalog.release(following)) is not None:
        ancestors.append((older, published.manifest(model, older)))
        following = ancestors[-1][1].predecessor
    url = where.config.url if isinstance(where, Workspace) else where
    return _document(release, manifest, ancestors, _published_manifest(published, manifest, url))


def _document(
    release: CatalogRelease, manifest: Manifest, ancestors: list[tuple[CatalogRelease, Manifest]], reference: Json
) -> Json:
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:modelota:manifest:sha256:{release.manifest_digest}")
    component = _model(release, manifest, ancestors, reference)
    variants = [_variant(manifest, variant, component["bom-ref"]) for variant in manifest.variants]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": manifest.released_at, "component": component},
        "components": variants,
        "dependencies": [{"ref": component["bom-ref"], "dependsOn": [variant["bom-ref"] for variant in variants]}],
    }


def _model(
    release: CatalogRelease, manifest: Manifest, ancestors: list[tuple[CatalogRelease, Manifest]], reference: Json
) -> Json:
    provenance = manifest.provenance
    facts = [facts_of(variant.structure) for variant in manifest.variants]
    licence = provenance.licence or next((each.licence for each in facts if each.licence), "")
    pedigree: Json = {"ancestors": [_named(manifest.model, older) for older, _ in ancestors]}
    origins = [each.provenance.base_model for each in (manifest, *(older for _, older in ancestors))]
    pedigree["ancestors"] += [
        {"type": "machine-learning-model", "name": origin} for origin in dict.fromkeys(filter(None, origins))
    ]
    if _REVISION.fullmatch(provenance.code_revision):
        pedigree["commits"] = [{"uid": provenance.code_revision}]
    elif provenance.code_revision:
        pedigree["notes"] = provenance.code_revision
    told = {
        "kind": manifest.kind,
        "tools": provenance.tools,
        "test-report:sha256": manifest.test_report,
        "user-data-schema": manifest.user_data_schema,
        "device-models": ", ".join(manifest.device_models),
        "interfaces": ", ".join(f"{interface.name}/{interface.version}" for interface in manifest.interfaces),
        "fixes": ", ".join(release.fixes),
    }
    component = _named(manifest.model, release)
    component["properties"] += _properties(told)
    component |= {
        "bom-ref": f"{manifest.model}@{manifest.version}",
        "pedigree": {key: value for key, value in pedigree.items() if value},
        "externalReferences": [reference],
        "releaseNotes": _notes(manifest),
        # what variants differ in, their quantisation first of all, is in their own cards
        "modelCard": _card(ModelFacts(architecture=facts[0].architecture), provenance.data),
    }
    if provenance.responsible:
        component["manufacturer"] = {"name": provenance.responsible}
    if licence:
        component["licenses"] = [_licence(licence)]
    return component


def _named(model: str, release: CatalogRelease) -> Json:
    vendor, _, product = model.partition("/")
    return {
        "type": "machine-learning-model",
        "group": vendor,
        "name": product,
        "version": release.version,
        "properties": _properties({"manifest:sha256": release.manifest_digest}),
    }


def _variant(manifest: Manifest, variant: Variant, parent: str) -> Json:
    reference = f"{parent}/{variant.name}"
    facts = facts_of(variant.structure)
    component: Json = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": variant.name,
        "version": manifest.version,
        "modelCard": _card(facts, ""),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}/{file.path}",
                "name": file.path,
                "hashes": [{"alg": "BLAKE3", "content": file.digest}],
                "properties": _properties({"size-bytes": file.size_bytes}),
            }
            for file in variant.files
        ],
        "properties": _properties({"runtime": variant.runtime.name, "entry": variant.runtime.entry}),
    }
    if facts.licence:
        component["licenses"] = [_licence(facts.licence)]
    return component


def _card(facts: ModelFacts, data: str) -> Json:
    parameters: Json = {"modelArchitecture": facts.architecture} if facts.architecture else {}
    if data:
        parameters["datasets"] = [{"type": "dataset", "name": data}]
    told = {
        "parameters": facts.parameters or None,
        "quantisation": facts.quantisation,
        "context-tokens": facts.context_tokens,
        "chat-template": "yes" if facts.chat_template else None,
    }
    card = {"modelParameters": parameters, "properties": _properties(told)}
    return {key: value for key, value in card.items() if value}


def _notes(manifest: Manifest) -> Json:
    step = "major"
    if manifest.predecessor is not None:
        new, old = Version.parse(manifest.version), Version.parse(manifest.predecessor)
        step = "major" if new.major > old.major else "minor" if new.minor > old.minor else "patch"
    notes = [{"locale": language, "text": {"content": text}} for language, text in sorted(manifest.notes.items())]
    return {"type": step, "timestamp": manifest.released_at, "notes": notes}


def _licence(text: str) -> Json:
    known = _SPDX.get(text.lower())
    return {"license": {"id": known} if known is not None else {"name": text}}


def _published_manifest(published: Published, manifest: Manifest, url: str) -> Json:
    target = paths.manifest_target(manifest.model, manifest.version)
    digest = published.role(paths.releases_role(manifest.model)).targets[target].hashes["sha256"]
    return {
        "type": "distribution",
        "url": f"{url.rstrip('/')}/{paths.target_path(target, digest)}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _properties(told: dict[str, Any]) -> list[Json]:
    """Name-value pairs of what CycloneDX has no field for; empty ones are left out."""
    return [
        {"name": f"modelota:{name}", "value": str(value)} for name, value in told.items() if value not in ("", None)
    ]
