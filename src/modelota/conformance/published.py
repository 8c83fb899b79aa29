"""A published repository as its devices see it, and what its manifests say about packages.

Reads TUF metadata with the reference implementation's data classes and everything else with the standard library.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import blake3
import zstandard
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from modelota.errors import AskPerson

Json = dict[str, Any]

_DOCUMENT_MAX_BYTES: Final = 64 << 20
_ROTATIONS_MAX: Final = 256
_CHUNK, _PACK, _OFFSET, _LENGTH = 0, 1, 3, 4  # fields of a route (docs/formats/manifest.md)


class SignedManifest(NamedTuple):
    """One manifest whose signatures and digest held: its JSON, and the SHA-256 of its canonical bytes."""

    manifest: Json
    sha256: str


class PublishedRepository:
    """A repository as its devices see it; use as a context manager.

    Args:
        url: https, file, or http to loopback.
        root_json: the trusted root metadata.

    Raises:
        AskPerson: `argument-invalid`: it cannot be read, or its signatures do not hold.
    """

    def __init__(self, url: str, root_json: Path) -> None:
        self.url: Final = url if "://" in url else Path(url).resolve().as_uri()
        self._root_json = root_json

    def __enter__(self) -> Self:
        try:
            _ = self.signed
        except (OSError, ValueError, RepositoryError, urllib.error.URLError, zstandard.ZstdError) as error:
            detail = f"{type(error).__name__}: {error}"[:300]
            raise AskPerson("argument-invalid", argument="--repository", detail=detail) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def get(self, path: str, limit_bytes: int = _DOCUMENT_MAX_BYTES) -> bytes:
        """At most `limit_bytes` of one file.

        Raises:
            OSError: it cannot be read.
        """
        address = f"{self.url.rstrip('/')}/{path}"
        if urlsplit(address).scheme not in {"file", "http", "https"}:
            raise ValueError(f"not an address of a repository: {self.url}")
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310  the scheme was checked just now
            data: bytes = answer.read(limit_bytes)
        return data

    @property
    def manifests(self) -> list[Json]:
        """Every published manifest."""
        return [each.manifest for each in self.signed]

    @cached_property
    def signed(self) -> list[SignedManifest]:
        """Every published manifest, with signatures and digests verified from the trusted root on."""
        root = self._root()
        timestamp = Metadata[Timestamp].from_bytes(self.get("metadata/timestamp.json"))
        root.verify_delegate(Timestamp.type, timestamp)
        number = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes(self.get(f"metadata/{number}.snapshot.json"))
        root.verify_delegate(Snapshot.type, snapshot)
        targets = self._targets("targets", snapshot.signed)
        root.verify_delegate(Targets.type, targets)
        found: list[SignedManifest] = []
        delegations = targets.signed.delegations
        for name in delegations.roles or {} if delegations is not None else {}:
            role = self._targets(name, snapshot.signed)
            targets.verify_delegate(name, role)
            for path, file in role.signed.targets.items():
                if path.endswith("/manifest.json.zst"):
                    found.append(self._manifest(path, file.hashes["sha256"]))
        return found

    def _root(self) -> Metadata[Root]:
        root = Metadata[Root].from_bytes(self._root_json.read_bytes())
        for _ in range(_ROTATIONS_MAX):
            try:
                data = self.get(f"metadata/{root.signed.version + 1}.root.json")
            except (OSError, urllib.error.URLError):
                break
            newer = Metadata[Root].from_bytes(data)
            root.verify_delegate(Root.type, newer)
            newer.verify_delegate(Root.type, newer)
            root = newer
        return root

    def _targets(self, role: str, snapshot: Snapshot) -> Metadata[Targets]:
        number = snapshot.meta[f"{role}.json"].version
        return Metadata[Targets].from_bytes(self.get(f"metadata/{number}.{role}.json"))

    def _manifest(self, path: str, sha256: str) -> SignedManifest:
        parent, _, name = path.rpartition("/")
        data = self.get(f"targets/{parent}/{sha256}.{name}")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{path} is not what was signed")
        plain = zstandard.ZstdDecompressor().stream_reader(data).read(_DOCUMENT_MAX_BYTES)
        return SignedManifest(json.loads(plain), hashlib.sha256(plain).hexdigest())

    def broken_packs(self) -> list[str]:
        """Packs that a manifest names and that are not there, or not with the size and BLAKE3 that it names."""
        named = {pack["digest"]: pack["size_bytes"] for manifest in self.manifests for pack in manifest["packs"]}
        broken = []
        for digest, size_bytes in sorted(named.items()):
            try:
                data = self.get(f"packs/{digest[:2]}/{digest}", size_bytes + 1)
            except (OSError, urllib.error.URLError):
                data = b""
            if len(data) != size_bytes or blake3.blake3(data).hexdigest() != digest:
                broken.append(digest)
        return broken


def variant_of(manifest: Json, name: str) -> Json | None:
    """The variant called `name`."""
    return next((variant for variant in manifest["variants"] if variant["name"] == name), None)


def package_of(variant: Json, mode: str, base_version: str | None = None) -> Json | None:
    """The variant's package of one mode, from one base."""
    found = (each for each in variant["packages"] if each["mode"] == mode and each.get("base_version") == base_version)
    return next(found, None)


def sealed_bytes(package: Json) -> int:
    """What a device fetches for the whole package: the sum of its sealed frames, added up here."""
    return sum(int(route[_LENGTH]) for route in package["routes"])


def outside_packs(manifest: Json, package: Json) -> list[list[Any]]:
    """Routes of the package that leave the pack they name."""
    packs = manifest["packs"]
    return [route for route in package["routes"] if route[_OFFSET] + route[_LENGTH] > packs[route[_PACK]]["size_bytes"]]


def chunk_digests(manifest: Json, variant: Json) -> set[str]:
    """Digests of the chunks that the variant's files are made of."""
    return {manifest["chunks"][index][0] for file in variant["files"] for index in file["chunks"]}


def lacking_bytes(manifest: Json, variant: Json, known: set[str]) -> int:
    """Sealed size of the variant's chunks that are not among `known`: what an incremental package has to hold."""
    full = package_of(variant, "full")
    if full is None:
        return 0
    chunks = manifest["chunks"]
    return sum(int(route[_LENGTH]) for route in full["routes"] if chunks[route[_CHUNK]][0] not in known)
