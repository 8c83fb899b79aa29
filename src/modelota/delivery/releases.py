"""Which releases of a model a device may be offered: catalog and control from the repository, evaluated purely."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from modelota.delivery import paths
from modelota.delivery.trust import TrustClient
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.spec import document, limits, names
from modelota.spec.catalog import Catalog, CatalogRelease, Control
from modelota.spec.manifest import Manifest
from modelota.spec.version import Version

_READ_BYTES: Final = 256 * limits.KIB
_WINDOW_MAX_BYTES: Final = 8 * limits.MIB  # memory a hostile frame may ask for; zstd's default levels stay below


class ModelDocuments(NamedTuple):
    """The two signed documents about a model.

    Attributes:
        catalog: what is admitted.
        control: what is taken away from it again.
        stale_since: when the first piece of metadata behind them expired; None if all is fresh.
    """

    catalog: Catalog
    control: Control
    stale_since: datetime | None = None


class LoadedManifest(NamedTuple):
    """A verified manifest, its SHA-256, which the catalog names, and the bytes that digest is of."""

    manifest: Manifest
    digest: str
    body: bytes


class Candidate(NamedTuple):
    """A release that is newer than the installed one.

    Attributes:
        release: its entry in the catalog.
        reason: why it is left out, or None if it may be offered.
    """

    release: CatalogRelease
    reason: ModelotaError | None

    @property
    def version(self) -> str:
        """Number of the release."""
        return self.release.version


def load_documents(client: TrustClient, model: str) -> ModelDocuments:
    """Load catalog and control of `model`; `client` was refreshed.

    Raises:
        RefuseContent: `model-not-in-repository`; `control-exceeds-authority` (a field that a control may not have);
            `document-invalid`, `document-too-large`, `document-needs-newer`; others as `TrustClient.target`.
        TryLater: as `TrustClient.target`.
    """
    if not names.is_model(model) or client.target_info(paths.catalog_target(model)) is None:
        raise RefuseContent("model-not-in-repository", model=model)
    data = client.target(paths.catalog_target(model), limits.CATALOG_MAX_BYTES)
    catalog = document.read(data, Catalog, limits.CATALOG_MAX_BYTES)
    _same_model(catalog.model, model, Catalog.NAME)
    try:
        catalog.check()
    except AskPerson as error:
        raise RefuseContent("document-invalid", document=Catalog.NAME, detail=str(error)[:200]) from error
    control = read_control(client.target(paths.control_target(model), limits.CONTROL_MAX_BYTES), model)
    return ModelDocuments(catalog, control, client.stale_since)


def read_control(data: bytes, model: str) -> Control:
    """Read a control; it may pause, withdraw and slow down, and nothing else.

    Raises:
        RefuseContent: `control-exceeds-authority`, `document-invalid`, `document-too-large`, `document-needs-newer`.
    """
    try:
        control = document.read(data, Control, limits.CONTROL_MAX_BYTES, strict=True)
    except RefuseContent as error:
        excess = _unknown_field(data) if error.code == "document-invalid" else None
        if excess is None:
            raise
        raise RefuseContent("control-exceeds-authority", model=model, detail=excess) from error
    _same_model(control.model, model, Control.NAME)
    return control


def _unknown_field(data: bytes) -> str | None:
    """The first field that `Control` does not have; None if the trouble is another."""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    known = document.known_fields(Control)
    if not isinstance(value, dict):
        return None
    entries = value.get("withdrawn")
    entries = entries if isinstance(entries, list) else []
    inner = [f"withdrawn.{key}" for entry in entries if isinstance(entry, dict) for key in entry]
    found = [*value, *inner]
    return next((str(name)[:100] for name in found if name not in known), None)


def _same_model(found: str, model: str, kind: str) -> None:
    if found != model:
        raise RefuseContent("document-invalid", document=kind, detail=f"it is about {found}")


def load_manifest(client: TrustClient, documents: ModelDocuments, version: str) -> LoadedManifest:
    """Load the manifest of an admitted release and check it against the catalog.

    Raises:
        RefuseContent: `release-not-admitted`; `manifest-mismatch` (not the bytes, model or version that the catalog
            names, or inconsistent in itself); `unsafe-path`; `document-*`; others as `TrustClient.target`.
        TryLater: as `TrustClient.target`.
    """
    model = documents.catalog.model
    release = documents.catalog.release(version)
    if release is None:
        raise RefuseContent("release-not-admitted", model=model, version=version)
    packed = client.target(paths.manifest_target(model, version), limits.MANIFEST_SEALED_MAX_BYTES)
    return open_manifest(packed, model, release)


def open_manifest(packed: bytes, model: str, release: CatalogRelease) -> LoadedManifest:
    """Decompress a manifest, and check it against the catalog's entry and in itself.

    Raises:
        RefuseContent: `document-too-large`, `document-invalid`, `document-needs-newer`, `manifest-mismatch`,
            `unsafe-path`.
    """
    version = release.version
    data = _decompress(packed, min(limits.MANIFEST_MAX_BYTES, release.manifest_bytes))
    digest = hashlib.sha256(data).hexdigest()
    if digest != release.manifest_digest or len(data) != release.manifest_bytes:
        raise RefuseContent("manifest-mismatch", model=model, version=version, detail="digest")
    manifest = document.read(data, Manifest, limits.MANIFEST_MAX_BYTES)
    if (manifest.model, manifest.version) != (model, version):
        detail = f"it is about {manifest.model} {manifest.version}"
        raise RefuseContent("manifest-mismatch", model=model, version=version, detail=detail)
    try:
        manifest.check()
    except AskPerson as error:
        raise RefuseContent("manifest-mismatch", model=model, version=version, detail=str(error)[:200]) from error
    return LoadedManifest(manifest, digest, data)


def _decompress(packed: bytes, limit_bytes: int) -> bytes:
    """Decompress one zstd frame of at most `limit_bytes`, stopping with the first piece past them."""
    data = bytearray()
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX_BYTES).stream_reader(packed)
        while piece := reader.read(_READ_BYTES):
            data += piece
            if len(data) > limit_bytes:
                raise RefuseContent(
                    "document-too-large", document=Manifest.NAME, limit_bytes=limit_bytes, found_bytes=len(data)
                )
    except zstandard.ZstdError as error:
        raise RefuseContent("document-invalid", document=Manifest.NAME, detail=str(error)[:200]) from error
    return bytes(data)


def candidates(
    catalog: Catalog,
    control: Control,
    *,
    installed: str | None,
    failed: Collection[str],
    agent_version: str,
    seed: bytes | None = None,
) -> tuple[Candidate, ...]:
    """All admitted releases newer than `installed`, newest first, each with the reason if it may not be offered.

    Pure. A control can only take away; what it says about releases that are not admitted has no effect.

    Args:
        catalog: checked (`Catalog.check`).
        control: of the same model.
        installed: version in use, or None.
        failed: versions that were tried on this device and went back.
        agent_version: dotted numbers.
        seed: this device's own random bytes, which say when its turn comes in a staged rollout; None: at once.
    """
    floor = None if installed is None else Version.parse(installed)
    newer = [entry for entry in catalog.releases if floor is None or Version.parse(entry.version) > floor]
    staged = _staged(catalog, control, seed)
    return tuple(Candidate(entry, _refusal(entry, control, failed, agent_version, staged)) for entry in reversed(newer))


def lot(seed: bytes, model: str, version: str) -> float:
    """When a device's turn comes in the rollout of a release: once more than this many percent are to have it.

    The device works it out for itself from random bytes that never leave it, so nobody learns which devices were first.
    For each release it is another, so none is always the first.
    """
    drawn = hashlib.sha256(b"\0".join([seed, model.encode(), version.encode()])).digest()
    return 100 * int.from_bytes(drawn[:6]) / 2**48


def _staged(catalog: Catalog, control: Control, seed: bytes | None) -> str | None:
    """The newest release, when it is staged and this device's turn has not come; older ones are for all."""
    newest = next((entry for entry in reversed(catalog.releases) if control.withdrawal(entry.version) is None), None)
    if newest is None or seed is None or lot(seed, catalog.model, newest.version) < control.slow_percent:
        return None
    return newest.version


def _refusal(
    release: CatalogRelease, control: Control, failed: Collection[str], agent_version: str, staged: str | None
) -> ModelotaError | None:
    withdrawal = control.withdrawal(release.version)
    if withdrawal is not None:
        reason = withdrawal.reason
        return RefuseContent("release-withdrawn", model=control.model, version=release.version, reason=reason)
    if control.paused:
        return TryLater("releases-paused", model=control.model, version=release.version)
    if release.version == staged:
        return TryLater("release-staged", model=control.model, version=release.version)
    if release.version in failed:
        return AskPerson("release-failed-here", model=control.model, version=release.version)
    if _numbers(agent_version) < _numbers(release.agent_min_version):
        return AskPerson(
            "requirement-not-met", requirement="agent", need=release.agent_min_version, found=agent_version
        )
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """Dotted numbers for comparison. A suffix such as `rc1` or `+local` ends them; trailing zeros do not count."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            numbers.append(int(digits[:9]))
        if digits != part:
            break
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
