"""Where releases come from: the lineage of a model, machine-readable (clause 6.2-a)."""

from __future__ import annotations

import msgspec

from modelota.delivery.stores import open_store
from modelota.errors import RefuseContent
from modelota.repository.published import Published, load_published
from modelota.repository.status import first_root
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import CatalogRelease, Control
from modelota.spec.manifest import Interface, Provenance


class RecordedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a variant: path, size, BLAKE3."""

    path: str
    size_bytes: int
    digest: str


class RecordedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One variant and its files."""

    name: str
    runtime: str
    files: tuple[RecordedFile, ...]


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One release, as its signed manifest tells it.

    Attributes:
        manifest_digest: SHA-256 of the manifest's canonical JSON.
        withdrawn: reason code, or None.
        others: names as in the manifest.
    """

    model: str
    version: str
    predecessor: str | None
    released_at: str
    kind: str
    urgent: bool
    notes: dict[str, str]
    device_models: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    provenance: Provenance
    fixes: tuple[str, ...]
    manifest_digest: str
    withdrawn: str | None
    variants: tuple[RecordedVariant, ...]


def history(
    where: Workspace | str, model: str | None = None, *, version: str | None = None, root: bytes | None = None
) -> tuple[ReleaseRecord, ...]:
    """All releases of a model from the first on.

    Args:
        where: a workspace, or the URL of a public repository.
        model: which; None is the only one there is.
        version: only this release.
        root: trusted root metadata; None as for `status`.

    Raises:
        AskPerson: `argument-invalid`, `not-a-repository`, `permission-denied`.
        RefuseContent: `model-not-in-repository`, `release-not-admitted`; the repository is damaged or not one.
        TryLater: the store's errors.
    """
    published, model = open_model(where, model, root)
    catalog = published.catalog(model)
    releases = [release for release in catalog.releases if version in {None, release.version}]
    if version is not None and not releases:
        raise RefuseContent("release-not-admitted", model=model, version=version)
    control = published.control(model)
    return tuple(_record(published, model, release, control) for release in releases)


def open_model(where: Workspace | str, model: str | None, root: bytes | None) -> tuple[Published, str]:
    """The repository and the name of the model in it that is asked for; arguments and errors as `history`."""
    if isinstance(where, Workspace):
        store = open_store(where.repository_url)
        published = load_published(store, root or where.trusted_root(), floor=where.seen().snapshot)
        model = where.require_model(model)
    else:
        store = open_store(where)
        published = load_published(store, root or first_root(store))
    models = published.models()
    if model is None and len(models) == 1:
        model = models[0]
    if model is None or model not in models:
        raise RefuseContent("model-not-in-repository", model=model)
    return published, model


def _record(published: Published, model: str, release: CatalogRelease, control: Control) -> ReleaseRecord:
    manifest = published.manifest(model, release)
    withdrawal = control.withdrawal(release.version)
    return ReleaseRecord(
        model=model,
        version=manifest.version,
        predecessor=manifest.predecessor,
        released_at=manifest.released_at,
        kind=manifest.kind,
        urgent=release.urgent,
        notes={str(language): text for language, text in manifest.notes.items()},
        device_models=manifest.device_models,
        interfaces=manifest.interfaces,
        provenance=manifest.provenance,
        fixes=release.fixes,
        manifest_digest=release.manifest_digest,
        withdrawn=withdrawal.reason if withdrawal is not None else None,
        variants=tuple(
            RecordedVariant(
                name=variant.name,
                runtime=variant.runtime.name,
                files=tuple(
                    RecordedFile(path=file.path, size_bytes=file.size_bytes, digest=file.digest)
                    for file in variant.files
                ),
            )
            for variant in manifest.variants
        ),
    )
