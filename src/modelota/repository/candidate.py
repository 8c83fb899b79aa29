"""A release that someone wants to publish, and everything that speaks against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.repository import rules
from modelota.repository.build import recipients_of, wanted_set
from modelota.repository.description import ReleaseDescription, SourceVariant, find_sources, read_description
from modelota.repository.drafting import describe_model
from modelota.repository.lineage import Known, look_back
from modelota.repository.published import Published
from modelota.repository.scan import Progress, ScannedFile, content_identity, cuts_to_follow, scan_sources
from modelota.repository.steps import Change, Form, Release, changes_between, release_of
from modelota.repository.structure import structure_of
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import Catalog, Control
from modelota.spec.limits import RELEASES_MAX
from modelota.spec.manifest import Manifest
from modelota.spec.version import Version


@dataclass
class Candidate:
    """A described release with what was found out about it.

    Attributes:
        description: what its engineer says.
        variants: with the files found on this disk.
        catalog: of its model, before it is published.
        control: of its model.
        predecessor: the manifest of the release it is made from, or None.
        scanned: the first reading, by file.
        known: what earlier releases tell.
    """

    description: ReleaseDescription
    variants: tuple[SourceVariant, ...]
    catalog: Catalog
    control: Control
    predecessor: Manifest | None = None
    scanned: dict[Path, ScannedFile] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    @property
    def places(self) -> tuple[Path, ...]:
        """Every source file once."""
        return tuple(dict.fromkeys(place for variant in self.variants for _, place in variant.files))

    @property
    def agent_min_version(self) -> str:
        """The oldest agent that can use any variant."""
        return min((variant.requires.agent_min_version for variant in self.variants), key=_numbers)

    def find_predecessor(self, published: Published) -> Iterator[ModelotaError]:
        """Load the predecessor; yields what is wrong with the one that the description names."""
        try:
            self.predecessor = _load_predecessor(
                published, self.description.version, self.description.predecessor, self.catalog, self.control
            )
        except AskPerson as error:
            yield error

    def problems(self) -> Iterator[ModelotaError]:
        """What is wrong with it, as far as that shows without reading the model."""
        yield from rules.version_problems(self.description.version, self.catalog)
        if len(self.catalog.releases) >= RELEASES_MAX:
            yield RefuseContent(
                "document-too-large", document="catalog", limit_bytes=RELEASES_MAX, found_bytes=RELEASES_MAX + 1
            )
        if self.predecessor is not None:
            yield from rules.compatibility_problems(self.description, self.variants, self.predecessor)

    def read(self, published: Published, workspace: Workspace, on_bytes: Progress) -> None:
        """Read the model for the first time, and look for its content in earlier releases.

        Raises:
            AskPerson: `model-unreadable`, `model-changed`, `model-file-hostile`, `description-invalid`.
            RefuseContent, TryLater: as `look_back`.
        """
        self.scanned = scan_sources(self.variants, on_bytes, cuts_to_follow(self.variants, self.predecessor))
        self.known = look_back(
            published,
            self.catalog,
            content=content_identity(self.variants, self.scanned),
            wanted={chunk.digest for file in self.scanned.values() for chunk in file.chunks},
            recipients=wanted_set(recipients_of(workspace.config, self.catalog.model)),
            suite=workspace.config.suite,
        )

    def content_problems(self) -> Iterator[ModelotaError]:
        """A step as large as what changed (clause 6.1-b); one content, one version (clause 6.1-c)."""
        yield from rules.step_problems(self.description.version, self.predecessor, self.changes())
        if self.known.twin is not None and self.known.twin != self.description.version:
            yield RefuseContent("version-content-conflict", version=self.description.version, other=self.known.twin)

    def changes(self) -> list[Change]:
        """What changed since the predecessor, once the model was read; nothing when there is none."""
        if self.predecessor is None:
            return []
        said = self.description
        release = Release(
            said.kind,
            said.interfaces,
            said.permissions,
            said.user_data_schema,
            tuple(
                Form(
                    variant.name,
                    variant.runtime,
                    frozenset(path for path, _ in variant.files),
                    structure_of(variant, self.scanned),
                )
                for variant in self.variants
            ),
        )
        return changes_between(release_of(self.predecessor), release)

    def is_same_as(self, manifest: Manifest) -> bool:
        """Whether `manifest` is this release: same content, same promises; packing and time do not count."""
        said = self.description
        ours = [
            (
                v.name,
                v.runtime,
                v.requires,
                v.self_tests,
                tuple((path, self.scanned[place].digest) for path, place in v.files),
            )
            for v in self.variants
        ]
        theirs = [
            (v.name, v.runtime, v.requires, v.self_tests, tuple((entry.path, entry.digest) for entry in v.files))
            for v in manifest.variants
        ]
        return ours == theirs and all(getattr(said, name) == getattr(manifest, name) for name in _SAID)


# fields that a description and a manifest share
_SAID = (
    "model",
    "version",
    "kind",
    "urgency",
    "notes",
    "permissions",
    "user_data_schema",
    "at_rest",
    "device_models",
    "interfaces",
    "provenance",
)


def find_candidate(
    workspace: Workspace, published: Published, source: Path, *, version: str | None, model: str | None
) -> Candidate:
    """Read the description at `source`, or make one for a bare model, and find its files.

    A bare model that is exactly what the newest release holds gets that release's version, so that publishing it again
    repeats that release instead of refusing it.

    Raises:
        AskPerson: `description-invalid`, `version-invalid`, `self-test-missing`, `model-empty`, `model-unreadable`,
            `argument-invalid` (unknown model; version or model other than the description says; a bare model in a
            workspace that is not for trying out), `version-order`.
        RefuseContent, TryLater: as `Published.manifest`.
    """
    if source.suffix == ".toml" and not source.is_dir():
        return _find_described(workspace, published, source, version=version, model=model)
    name = workspace.require_model(model)
    if not source.exists():
        raise AskPerson("model-unreadable", path=str(source), detail="does not exist")
    if not workspace.config.dev:
        detail = "a workspace with real keys publishes from a release description; `modelota repo new` drafts one"
        raise AskPerson("argument-invalid", argument="source", detail=detail)
    catalog, control = published.catalog(name), published.control(name)
    if version is None and catalog.releases:
        newest = catalog.releases[-1]
        repeated = _derive(published, source, newest.version, catalog, control)
        manifest = published.manifest(name, newest)
        if _same_sizes(repeated, manifest):
            repeated.scanned = scan_sources(repeated.variants, lambda _: None)
            if repeated.is_same_as(manifest):
                return repeated
    chosen = version or str(rules.next_version(catalog))
    Version.parse(chosen)
    return _derive(published, source, chosen, catalog, control)


def _find_described(
    workspace: Workspace, published: Published, source: Path, *, version: str | None, model: str | None
) -> Candidate:
    description = read_description(source)
    for argument, given, said in (("version", version, description.version), ("model", model, description.model)):
        if given is not None and given != said:
            raise AskPerson("argument-invalid", argument=argument, detail=f"{given}; the description says {said}")
    name = workspace.require_model(description.model)
    variants = find_sources(description, source.parent, str(source))
    return Candidate(description, variants, published.catalog(name), published.control(name))


def _derive(published: Published, source: Path, version: str, catalog: Catalog, control: Control) -> Candidate:
    predecessor = _load_predecessor(published, version, None, catalog, control)
    description, directory = describe_model(source, catalog.model, version, predecessor)
    return Candidate(description, find_sources(description, directory, str(source)), catalog, control)


def _same_sizes(candidate: Candidate, manifest: Manifest) -> bool:
    sizes = sorted(file.size_bytes for variant in manifest.variants for file in variant.files)
    return sorted(place.stat().st_size for variant in candidate.variants for _, place in variant.files) == sizes


def _load_predecessor(
    published: Published, version: str, named: str | None, catalog: Catalog, control: Control
) -> Manifest | None:
    found = rules.predecessor_of(version, named, catalog, control)
    release = catalog.release(found) if found is not None else None
    return published.manifest(catalog.model, release) if release is not None else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version, re.ASCII))
