"""Import: the description of a release, drafted from a model that others made (`docs/formats/release-description.md`).

The description names the files where they lie. They are copied by nobody before they are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from modelota.content.formats.registry import parse
from modelota.errors import AskPerson
from modelota.repository.description import SourceFile, VariantDescription
from modelota.repository.drafting import Findings, new_release
from modelota.repository.model_facts import ModelFacts, facts_of
from modelota.repository.model_places import FoundModel, Kind, find_model, parts_of
from modelota.repository.structure import (
    CONFIGURATION_MAX_BYTES,
    CONFIGURATIONS,
    structure_of_configuration,
    structure_of_layout,
)
from modelota.repository.workspace import Workspace
from modelota.spec import names
from modelota.spec.limits import VARIANTS_MAX
from modelota.spec.manifest import Requires, RuntimeUse
from modelota.spec.structure import FileStructure

_CONTEXT_DRAFT_TOKENS: Final = 8192  # to allocate; what a model was made for may be far more than a device has


@dataclass(frozen=True)
class ImportedVariant:
    """A variant of the draft: its name, how many bytes its files have, what they say."""

    name: str
    size_bytes: int
    facts: ModelFacts


@dataclass(frozen=True)
class ImportReport:
    """What was imported: the description that was written, and what it was drafted from."""

    description: Path
    kind: Kind
    name: str
    variants: tuple[ImportedVariant, ...]


def import_release(
    workspace: Workspace,
    source: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    model: str | None = None,
    directory: Path | None = None,
) -> ImportReport:
    """Write the description of a release of the model in `source`, filled in with what its files say.

    Args:
        workspace: the publisher's.
        source: as `find_model`.
        name: which model of an Ollama store.
        version: of the release; None is the next patch.
        model: of the workspace; may be left out if it has only one.
        directory: where to create `<version>/release.toml`; None is the current directory.

    Raises:
        AskPerson: `import-refused`, `import-choice`, `model-unreadable`, `model-file-hostile`; as `new_release`.
        RefuseContent: `unsafe-path`; as `new_release`.
        TryLater: as `new_release`.
    """
    found = find_model(source, name)
    structures = {path: known for path, place in found.files.items() if (known := _read(path, place)) is not None}
    pairs = [_with_facts(variant, found, structures) for variant in _variants(found, structures)]
    first = pairs[0][1].facts
    provenance = {
        "base_model": found.card.base_model or first.base_model,
        "licence": first.licence or found.card.licence,
        "data": found.card.data,
    }
    findings = Findings(
        lines=tuple(line for _, imported in pairs for line in _lines(imported)),
        provenance={field: text for field, text in provenance.items() if text},
        variants=tuple(variant for variant, _ in pairs),
    )
    path = new_release(workspace, version, model=model, directory=directory, findings=findings)
    return ImportReport(path, found.kind, found.name, tuple(imported for _, imported in pairs))


def _read(path: str, place: Path) -> FileStructure | None:
    """What the file says, or None; a model file that contradicts itself is refused rather than left opaque."""
    lower = path.lower()
    if lower.endswith((".gguf", ".safetensors")):
        try:
            layout = parse(place)
        except OSError as error:
            detail = error.strerror or type(error).__name__
            raise AskPerson("model-unreadable", path=str(place), detail=detail) from error
        if not layout.format.startswith(("gguf", "safetensors")):
            raise AskPerson("import-refused", path=str(place), detail="header-unreadable")
        return structure_of_layout(path, layout)
    if path in CONFIGURATIONS:
        if place.stat().st_size > CONFIGURATION_MAX_BYTES:
            raise AskPerson("import-refused", path=str(place), detail="json-too-large")
        known = structure_of_configuration(path, place)
        if known is None:
            raise AskPerson("import-refused", path=str(place), detail="json-invalid")
        return known
    if lower.endswith("chat_template.jinja"):
        return FileStructure(path=path, format="text")
    return None


def _variants(found: FoundModel, structures: Mapping[str, FileStructure]) -> list[VariantDescription]:
    """One variant for each GGUF model, with what all of them share; else one of all files."""
    kinds: dict[str, list[list[str]]] = {"model": [], "adapter": [], "mmproj": []}
    for parts in parts_of(found.files):
        kinds[_role(structures[parts[0]])].append(parts)
    own = {path for parts in kinds["model"] for path in parts}
    shared = [path for path in found.files if path not in own]
    if any(path.endswith(".safetensors") for path in shared):
        if own:
            raise AskPerson("import-refused", path=str(found.files[min(own)]), detail="mixed-forms")
        return [_command_variant(found)]
    if not own:
        raise AskPerson("import-refused", path=str(next(iter(found.files.values()))), detail="adapter-alone")
    if len(kinds["model"]) > VARIANTS_MAX:
        raise AskPerson("import-refused", path=str(found.files[min(own)]), detail="too-many-files")
    adapters = tuple(parts[0] for parts in kinds["adapter"])
    variants: dict[str, VariantDescription] = {}
    for parts in kinds["model"]:
        facts = facts_of([structures[path] for path in parts])
        called = facts.quantisation if names.is_name(facts.quantisation) else "default"
        name = called if called not in variants else f"{called}-{len(variants) + 1}"
        tokens = min(facts.context_tokens, _CONTEXT_DRAFT_TOKENS) if facts.context_tokens else None
        use = RuntimeUse(name="llama.cpp", entry=parts[0], adapters=adapters, context_tokens=tokens)
        variants[name] = _described(name, found, [*parts, *shared], use)
    return list(variants.values())


def _role(file: FileStructure) -> str:
    told = file.values.get("general.type")
    if told == "mmproj" or file.values.get("general.architecture") == "clip":  # the latter before there was the former
        return "mmproj"
    return "adapter" if told == "adapter" else "model"


def _command_variant(found: FoundModel) -> VariantDescription:
    weights = sorted(path for path in found.files if path.endswith(".safetensors"))
    # the device's owner decides what a command does; a repository only names it
    entry = "config.json" if "config.json" in found.files else weights[0]
    use = RuntimeUse(name="command", entry=entry, profile="default")
    return _described("default", found, list(found.files), use)


def _described(name: str, found: FoundModel, paths: list[str], use: RuntimeUse) -> VariantDescription:
    files = tuple(SourceFile(source=_told(found.files[path]), path=path) for path in sorted(paths))
    size_bytes = sum(found.files[path].stat().st_size for path in paths)
    # at least: the weights are in memory as they are on the disk, and the context comes on top
    needs = Requires(memory_bytes=size_bytes, storage_bytes=size_bytes)
    return VariantDescription(name=name, files=files, runtime=use, requires=needs)


def _told(place: Path) -> str:
    text = str(place)
    if not text.isprintable() or len(text) > 4096:  # a name that is not UTF-8 has no form in TOML
        raise AskPerson("import-refused", path=ascii(text)[:200], detail="name-unusable")
    return text


def _with_facts(
    variant: VariantDescription, found: FoundModel, structures: Mapping[str, FileStructure]
) -> tuple[VariantDescription, ImportedVariant]:
    adapters = set(variant.runtime.adapters)
    paths = [file.path or "" for file in variant.files]
    known = [structures[path] for path in paths if path in structures and path not in adapters]
    known.sort(key=lambda file: file.path != variant.runtime.entry)
    facts = facts_of(known)
    if found.card.chat_template and not facts.chat_template:
        facts = msgspec.structs.replace(facts, chat_template=True)
    return variant, ImportedVariant(variant.name, variant.requires.storage_bytes if variant.requires else 0, facts)


def _lines(variant: ImportedVariant) -> list[str]:
    facts = variant.facts
    told = {
        "architecture": facts.architecture,
        "quantisation": facts.quantisation,
        "parameters": facts.parameters,
        "licence": facts.licence,
        "context_tokens": facts.context_tokens,
        "chat template": "yes" if facts.chat_template else "no",
        "base model": facts.base_model,
    }
    return [f"{variant.name}: {key}: {value}" for key, value in told.items() if value]
