"""Identity and description of an installed release: plain data that the machine, the storage and the engine share."""

from __future__ import annotations

import msgspec

from modelota.errors import RefuseContent
from modelota.spec import names
from modelota.spec.manifest import AtRest, Bytes, DigestText, Manifest, Name, RuntimeUse, Variant
from modelota.spec.selftest import SelfTests
from modelota.spec.version import Version


class SlotId(msgspec.Struct, frozen=True, order=True):
    """Identity of an installed release within its model."""

    version: str
    variant: Name

    @property
    def name(self) -> str:
        """Directory name: `<version>+<variant>`."""
        return f"{self.version}+{self.variant}"

    @classmethod
    def parse(cls, name: str) -> SlotId:
        """Read a directory name back.

        Raises:
            AskPerson: `version-invalid`.
            RefuseContent: `unsafe-path`.
        """
        version, _, variant = name.partition("+")
        if not names.is_name(variant):
            raise RefuseContent("unsafe-path", path=ascii(name)[:200])
        return cls(str(Version.parse(version)), variant)


class SlotFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a slot and what it must be (BLAKE3)."""

    path: str
    size_bytes: Bytes
    digest: DigestText


class SlotDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent keeps about an installed slot: enough to verify and run it without the repository."""

    model: str
    slot: SlotId
    manifest_digest: DigestText
    files: tuple[SlotFile, ...]
    runtime: RuntimeUse
    self_tests: SelfTests
    permissions: tuple[str, ...] = ()
    memory_bytes: Bytes = 0
    user_data_schema: int = 1
    at_rest: AtRest = "plain"

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(file.size_bytes for file in self.files)


def describe(
    manifest: Manifest, manifest_digest: str, variant: Variant, *, at_rest: AtRest | None = None
) -> SlotDescription:
    """The description of the slot that `variant` of `manifest` becomes; `at_rest` None is what the manifest says."""
    return SlotDescription(
        model=manifest.model,
        slot=SlotId(manifest.version, variant.name),
        manifest_digest=manifest_digest,
        files=tuple(SlotFile(path=file.path, size_bytes=file.size_bytes, digest=file.digest) for file in variant.files),
        runtime=variant.runtime,
        self_tests=variant.self_tests,
        permissions=manifest.permissions,
        memory_bytes=variant.requires.memory_bytes,
        user_data_schema=manifest.user_data_schema,
        at_rest=manifest.at_rest if at_rest is None else at_rest,
    )
