"""A second installer: rebuilds variants from what a device has and one package, as the formats' pages say."""

from __future__ import annotations

from modelota.content.delta import decode_delta
from modelota.content.digest import digest_bytes
from modelota.content.pack import PackOpener
from modelota.content.wrap import pack_key
from modelota.delivery.stores import open_store
from modelota.repository.enrolment import read_enrolment
from modelota.repository.workspace import Workspace
from modelota.spec.enrolment import ClassKey
from modelota.spec.manifest import Manifest, Package, Variant

Chunks = dict[str, bytes]  # by digest


class Installer:
    """A device of class `car` with no other knowledge than manifests.

    Args:
        workspace: whose repository is read.
        keys: of the class; None takes those in its enrolment file.
    """

    def __init__(self, workspace: Workspace, keys: tuple[ClassKey, ...] | None = None) -> None:
        self._store = open_store(workspace.repository_url)
        self._keys = keys or read_enrolment(workspace, "car").keys

    def chunks(self, manifest: Manifest, package: Package, have: Chunks) -> Chunks:
        """What the package brings to a device that has `have`; each chunk is checked."""
        found = {}
        for route in package.routes:
            pack, chunk = manifest.packs[route.pack], manifest.chunks[route.chunk]
            sealed = self._store.get_range(f"packs/{pack.digest[:2]}/{pack.digest}", route.offset, route.length_bytes)
            opener = PackOpener(pack_key(pack, "car", self._keys), pack.suite, pack.frames, pack.digest)
            base = have[package.bases[route.base].digest] if route.base is not None else b""
            if route.base is not None:
                assert len(base) == package.bases[route.base].size_bytes
            operation = route.codec.removeprefix("delta-")
            data = decode_delta(operation, opener.open(route.frame, sealed), base, chunk.size_bytes)
            assert digest_bytes(data) == chunk.digest
            found[chunk.digest] = data
        return found

    def full(self, manifest: Manifest, variant: Variant) -> Chunks:
        """All chunks of a variant."""
        package = variant.package("full")
        assert package is not None
        return self.chunks(manifest, package, {})

    def files(self, manifest: Manifest, variant: Variant, have: Chunks) -> dict[str, bytes]:
        """The variant's files, made of chunks that are there; each is checked."""
        found = {}
        for entry in variant.files:
            found[entry.path] = b"".join(have[manifest.chunks[index].digest] for index in entry.chunks)
            assert digest_bytes(found[entry.path]) == entry.digest
        return found

    def check(self, manifest: Manifest, *others: Manifest) -> int:
        """Rebuild every variant by every one of its packages, from exactly the base that the package names.

        Returns:
            how many packages have a base.
        """
        releases = {other.version: other for other in others}
        count = 0
        for variant in manifest.variants:
            wanted = self.files(manifest, variant, self.full(manifest, variant))
            for package in variant.packages:
                if package.mode == "full":
                    continue
                assert package.base_version is not None
                assert package.base_variant is not None
                base = releases[package.base_version]
                have = self.full(base, base.variant(package.base_variant))
                needed = {manifest.chunks[index].digest for entry in variant.files for index in entry.chunks}
                brought = self.chunks(manifest, package, have)
                assert set(brought) == needed - set(have)
                assert self.files(manifest, variant, have | brought) == wanted
                assert package.size_bytes == sum(route.length_bytes for route in package.routes)
                count += 1
        return count
