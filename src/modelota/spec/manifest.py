"""The manifest: the signed description of a release (`docs/formats/manifest.md`).

One manifest per version; a release is a set of variants over one table of chunks and one table of packs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from modelota.errors import RefuseContent
from modelota.spec import limits, names
from modelota.spec.document import Document
from modelota.spec.selftest import SelfTests
from modelota.spec.structure import FileStructure
from modelota.spec.version import Version

DigestText = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, Meta(max_length=129, pattern=r"^[a-z0-9._-]+/[a-z0-9._-]+$")]
Name = Annotated[str, Meta(max_length=limits.NAME_MAX_CHARS, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Text = Annotated[str, Meta(max_length=limits.TEXT_MAX_CHARS)]
Localised = Annotated[dict[Literal["zh-CN", "en"], Text], Meta(max_length=2)]
Bytes = Annotated[int, Meta(ge=0)]
Index = Annotated[int, Meta(ge=0)]

Mode = Literal["full", "incremental", "differential"]
Kind = Literal["feature", "fix", "security"]
DELTA_PREFIX = "delta-"  # of the codecs that need a base chunk; the operation follows

Permission = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Accelerator = Literal["nvidia", "amd", "intel", "npu"]
AtRest = Literal["plain", "sealed"]


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A unit of content: BLAKE3 digest of its plain bytes, and how many they are (1 … `CHUNK_MAX_BYTES`)."""

    digest: DigestText
    size_bytes: Annotated[int, Meta(ge=1, le=limits.CHUNK_MAX_BYTES)]


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file: where it goes below the slot, and which chunks, in order, make it.

    Attributes:
        path: relative, checked by `names.safe_path`.
        size_bytes: sum of the chunks' sizes.
        digest: BLAKE3 of the whole file.
        chunks: indexes into the manifest's chunk table.
    """

    path: str
    size_bytes: Annotated[int, Meta(ge=0, le=limits.FILE_MAX_BYTES)]
    digest: DigestText
    chunks: tuple[Index, ...]


class Route(msgspec.Struct, frozen=True, array_like=True):
    """One way to get a chunk: frame `frame` of pack `pack`, at `offset`, `length_bytes` sealed, coded with `codec`.

    Attributes:
        chunk: index into the chunk table.
        pack: index into the pack table.
        frame: number of the frame in its pack, from 0.
        offset: where the sealed frame starts in the pack.
        length_bytes: of the sealed frame, tag included.
        codec: how the opened frame becomes the chunk: `raw`, `zstd`, or `delta-<operation>` against `base`.
        base: index into the package's table of base chunks; for deltas only.
    """

    chunk: Index
    pack: Index
    frame: Index
    offset: Bytes
    length_bytes: Annotated[int, Meta(ge=16, le=limits.CHUNK_MAX_BYTES + 65_536)]
    codec: Annotated[str, Meta(max_length=32)]
    base: Index | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What is transferred to reach the variant in one mode.

    A `full` package has a route to every chunk of the variant. An `incremental` one has routes to the chunks that its
    base lacks, none of them a delta. A `differential` one may have deltas against chunks of its base.

    Attributes:
        mode: full, incremental or differential.
        size_bytes: sum of its sealed frames.
        routes: ways to get chunks.
        base_version: the release it starts from; None for a full one.
        base_variant: the variant of that release.
        bases: chunks of the base that deltas are decoded against.
    """

    mode: Mode
    size_bytes: Bytes
    routes: tuple[Route, ...]
    base_version: str | None = None
    base_variant: Name | None = None
    bases: Annotated[tuple[Chunk, ...], Meta(max_length=limits.CHUNKS_MAX)] = ()


class KeyWrap(msgspec.Struct, frozen=True, kw_only=True):
    """A pack key for one recipient: HPKE (RFC 9180) base mode, single shot.

    Attributes:
        recipient: name of a device class, or `archive`.
        epoch: of the recipient's key.
        kem: `x25519` or `mlkem768-x25519`.
        sealed: encapsulation and ciphertext, as `cryptography`'s `Suite.encrypt` returns them, base64.
    """

    recipient: Name
    epoch: Annotated[int, Meta(ge=1)]
    kem: Literal["x25519", "mlkem768-x25519"]
    sealed: bytes


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable file of sealed frames, at `packs/<first two digits>/<digest>`.

    Attributes:
        digest: BLAKE3 of the whole file.
        size_bytes: of the whole file.
        frames: how many.
        suite: of its frames: `aes-256-gcm`, `chacha20-poly1305` or `sm4-gcm`.
        wraps: its key, once per recipient.
    """

    digest: DigestText
    size_bytes: Annotated[int, Meta(ge=1, le=limits.PACK_MAX_BYTES)]
    frames: Annotated[int, Meta(ge=1, le=limits.FRAMES_MAX)]
    suite: Literal["aes-256-gcm", "chacha20-poly1305", "sm4-gcm"]
    wraps: Annotated[tuple[KeyWrap, ...], Meta(min_length=1, max_length=1024)]


class OsRange(msgspec.Struct, frozen=True, kw_only=True):
    """One operating-system family (`linux`, `windows`, `macos`, `android`) and the versions of it, inclusive."""

    family: Name
    min_version: str | None = None
    max_version: str | None = None


class Compute(msgspec.Struct, frozen=True, kw_only=True):
    """Processors the release needs.

    Attributes:
        cores: usable ones.
        features: by their Linux names (`avx2`, `asimd`).
        architectures: `x86_64`, `aarch64`; empty: any.
        min_gops: giga-operations per second of the compute benchmark; 0: no demand.
        min_memory_gb_s: gigabytes (10⁹) per second of its memory part; 0: no demand.
        accelerators: kinds of which one is needed; empty: no demand.
    """

    cores: Annotated[int, Meta(ge=1)] = 1
    features: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    architectures: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    min_gops: Annotated[float, Meta(ge=0, le=1e9)] = 0
    min_memory_gb_s: Annotated[float, Meta(ge=0, le=1e9)] = 0
    accelerators: Annotated[tuple[Accelerator, ...], Meta(max_length=4)] = ()


class Requires(msgspec.Struct, frozen=True, kw_only=True):
    """What a device must have. Memory and storage in bytes; versions are dotted numbers, inclusive minimums."""

    compute: Compute = Compute()
    memory_bytes: Bytes = 0
    storage_bytes: Bytes = 0
    os: Annotated[tuple[OsRange, ...], Meta(max_length=32)] = ()
    agent_min_version: str = "0.1.0"
    runtime_min_version: str | None = None


class RuntimeUse(msgspec.Struct, frozen=True, kw_only=True):
    """How the variant is run.

    Attributes:
        name: entry point in `modelota.runtimes`.
        entry: path of the file that the runtime opens.
        adapters: paths of LoRA adapters loaded with it.
        context_tokens: context to allocate; None leaves it to the runtime.
        profile: for the `command` runtime: the name of a command in the *device's* configuration. A manifest never
            carries a command line.
    """

    name: Name
    entry: str
    adapters: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    profile: Name | None = None


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """A core interface that applications rely on (clause 6.4-a), for example `chat` at contract version 1."""

    name: Name
    version: Annotated[int, Meta(ge=1)] = 1


class Urgency(msgspec.Struct, frozen=True, kw_only=True):
    """Why a security release should not wait (clause 5.1-d)."""

    reason: Localised


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the release comes from (clause 6.2-a); empty fields were not given by its publisher.

    `licence` is an SPDX expression or a name.
    """

    base_model: Text = ""
    licence: Text = ""
    data: Text = ""
    code_revision: Text = ""
    tools: Text = ""
    responsible: Text = ""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One form of the release; identity on a device is model, version, variant.

    `structure` is what its files are made of, where their formats say so: what the next release is compared with. A
    device has no use for it.
    """

    name: Name
    files: Annotated[tuple[FileEntry, ...], Meta(min_length=1, max_length=limits.FILES_MAX)]
    runtime: RuntimeUse
    requires: Requires
    self_tests: SelfTests
    packages: Annotated[tuple[Package, ...], Meta(min_length=1, max_length=64)]
    structure: Annotated[tuple[FileStructure, ...], Meta(max_length=limits.FILES_MAX)] = ()

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def package(self, mode: Mode, base_version: str | None = None) -> Package | None:
        """The package of `mode` (from `base_version`, for one that has a base), or None."""
        return next(
            (
                package
                for package in self.packages
                if package.mode == mode and base_version in {None, package.base_version}
            ),
            None,
        )


class Manifest(Document, kw_only=True, frozen=True):
    """The signed description of one release.

    `user_data_schema` numbers the layout of the user's data that applications of this version write: going back across
    a change of it restores the data of before (requirement 6.3-c). `at_rest` is `sealed` when the deployed version must
    not lie on the disk in plain text (requirement 7.1.2-b). `test_report` is the SHA-256 of the report that its
    publisher archived (clause 6.2-b), None where a release was only tried out.
    """

    NAME: ClassVar[str] = "manifest"

    model: ModelName
    version: str
    predecessor: str | None = None
    released_at: Time
    kind: Kind
    urgency: Urgency | None = None
    notes: Localised
    permissions: Annotated[tuple[Permission, ...], Meta(max_length=64)] = ()
    device_models: Annotated[tuple[str, ...], Meta(max_length=4096)] = ()
    interfaces: Annotated[tuple[Interface, ...], Meta(max_length=64)] = ()
    user_data_schema: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    at_rest: AtRest = "plain"
    provenance: Provenance = Provenance()
    test_report: DigestText | None = None
    chunks: Annotated[tuple[Chunk, ...], Meta(max_length=limits.CHUNKS_MAX)]
    packs: Annotated[tuple[Pack, ...], Meta(max_length=65_536)]
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1, max_length=limits.VARIANTS_MAX)]

    def variant(self, name: str) -> Variant:
        """The variant called `name`.

        Raises:
            RefuseContent: `manifest-mismatch`.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise self._wrong(f"no variant {name}")

    def check(self) -> None:
        """Check what types cannot say: indexes, sums, names, uniqueness, and that every chunk has a route.

        Raises:
            RefuseContent: `manifest-mismatch` or `unsafe-path`.
            AskPerson: `version-invalid`.
        """
        Version.parse(self.version)
        if self.predecessor is not None:
            Version.parse(self.predecessor)
        if not names.is_model(self.model):
            raise self._wrong("model name")
        if self.urgency is not None and self.kind != "security":
            raise self._wrong("urgency is for security releases only")
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise self._wrong("variant names repeat")
        if len({chunk.digest for chunk in self.chunks}) != len(self.chunks):
            raise self._wrong("chunks repeat")
        for variant in self.variants:
            self._check_files(variant)
            self._check_packages(variant)

    def _wrong(self, detail: str) -> RefuseContent:
        return RefuseContent("manifest-mismatch", model=self.model, version=self.version, detail=detail)

    def _check_files(self, variant: Variant) -> None:
        paths: set[str] = set()
        parents: set[str] = set()
        for file in variant.files:
            path = names.safe_path(file.path)
            folded = str(path).casefold()
            if folded in paths:
                raise self._wrong(f"path repeats: {file.path}")
            paths.add(folded)
            parents.update(str(parent).casefold() for parent in path.parents)
            if any(index >= len(self.chunks) for index in file.chunks):
                raise self._wrong(f"chunk index out of range in {file.path}")
            if sum(self.chunks[index].size_bytes for index in file.chunks) != file.size_bytes:
                raise self._wrong(f"chunks do not add up in {file.path}")
        if paths & parents:
            raise self._wrong("a file is also a directory")
        used = {variant.runtime.entry, *variant.runtime.adapters}
        if not used <= {file.path for file in variant.files}:
            raise self._wrong(f"runtime names a file that is not there: {sorted(used)}")

    def _check_base(self, package: Package, within: bool) -> None:  # noqa: FBT001  a finding, not a mode
        if not within:
            raise self._wrong(f"{package.mode} package holds chunks that the variant does not need")
        if (package.mode == "full") != (package.base_version is None) or (
            (package.base_version is None) != (package.base_variant is None)
        ):
            raise self._wrong(f"{package.mode} package and its base")
        if package.base_version is not None:
            Version.parse(package.base_version)
        for route in package.routes:
            if (route.base is None) == route.codec.startswith(DELTA_PREFIX):
                raise self._wrong("delta without its base, or the reverse")
            if route.base is not None and route.base >= len(package.bases):
                raise self._wrong("base out of range")
            if route.base is not None and package.mode != "differential":
                raise self._wrong(f"a delta in a {package.mode} package")

    def _check_packages(self, variant: Variant) -> None:
        needed = {index for file in variant.files for index in file.chunks}
        for package in variant.packages:
            for route in package.routes:
                if route.chunk >= len(self.chunks) or route.pack >= len(self.packs):
                    raise self._wrong("route out of range")
                pack = self.packs[route.pack]
                if route.frame >= pack.frames or route.offset + route.length_bytes > pack.size_bytes:
                    raise self._wrong("route leaves its pack")
            reached = {route.chunk for route in package.routes}
            if package.mode == "full" and reached != needed:
                raise self._wrong("full package does not hold exactly the variant's chunks")
            self._check_base(package, reached <= needed)
            if sum(route.length_bytes for route in package.routes) != package.size_bytes:
                raise self._wrong("package size does not add up")
