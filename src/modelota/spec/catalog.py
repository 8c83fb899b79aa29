"""Catalog and control: which releases are admitted, and the on-call brake (`docs/formats/catalog.md`).

The catalog is signed offline by `<model>-releases`, the control online by `<model>-control`. A control can only
take away: pause, withdraw, slow down. A device uses the intersection.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from modelota.errors import RefuseContent
from modelota.spec import names
from modelota.spec.document import Document
from modelota.spec.limits import RELEASES_MAX
from modelota.spec.manifest import Bytes, DigestText, Kind, Localised, ModelName, Time
from modelota.spec.version import Version


class CatalogRelease(msgspec.Struct, frozen=True, kw_only=True):
    """One admitted release.

    Attributes:
        version: its number.
        manifest_digest: SHA-256 of the manifest's canonical JSON, decompressed.
        manifest_bytes: length of that JSON.
        released_at: when it was admitted.
        kind: feature, fix or security.
        urgent: whether its publisher asks not to wait; allowed for security only.
        fixes: error codes that this release fixes.
        agent_min_version: the oldest agent that can use it.
    """

    version: str
    manifest_digest: DigestText
    manifest_bytes: Bytes
    released_at: Time
    kind: Kind
    urgent: bool = False
    fixes: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    agent_min_version: str = "0.1.0"


class Catalog(Document, kw_only=True, frozen=True):
    """The admitted releases of one model, oldest first."""

    NAME: ClassVar[str] = "catalog"

    model: ModelName
    title: Localised = msgspec.field(default_factory=dict)
    releases: Annotated[tuple[CatalogRelease, ...], Meta(max_length=RELEASES_MAX)]
    recommended: str | None = None
    end_of_service: Time | None = None

    def release(self, version: str) -> CatalogRelease | None:
        """The entry of `version`, or None."""
        return next((release for release in self.releases if release.version == version), None)

    def check(self) -> None:
        """Check order, uniqueness and references.

        Raises:
            RefuseContent: `document-invalid`.
            AskPerson: `version-invalid`.
        """
        versions = [Version.parse(release.version) for release in self.releases]
        if sorted(set(versions)) != versions:
            raise RefuseContent("document-invalid", document=self.NAME, detail="releases are not in ascending order")
        if not names.is_model(self.model):
            raise RefuseContent("document-invalid", document=self.NAME, detail="model name")
        if self.recommended is not None and self.release(self.recommended) is None:
            raise RefuseContent("document-invalid", document=self.NAME, detail="recommended version is not admitted")
        if any(release.urgent and release.kind != "security" for release in self.releases):
            raise RefuseContent("document-invalid", document=self.NAME, detail="urgency is for security releases only")


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A release that must not be offered any more, with a catalogued reason code.

    A *revoked* one has a flaw that its user must know of: going back to it takes a decision that names the reason.
    """

    version: str
    reason: Annotated[str, Meta(max_length=64, pattern=r"^[a-z][a-z0-9-]*$")]
    revoked: bool = False


class Control(Document, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The brake: it can only pause, withdraw or slow admitted releases. Unknown fields are refused, not ignored."""

    NAME: ClassVar[str] = "control"

    model: ModelName
    paused: bool = False
    withdrawn: Annotated[tuple[Withdrawal, ...], Meta(max_length=RELEASES_MAX)] = ()
    slow_percent: Annotated[int, Meta(ge=0, le=100)] = 100

    def withdrawal(self, version: str) -> Withdrawal | None:
        """The withdrawal of `version`, or None."""
        return next((entry for entry in self.withdrawn if entry.version == version), None)
