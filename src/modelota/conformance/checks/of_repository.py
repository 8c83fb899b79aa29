"""What a published repository shows by itself: signatures, versions, contents, and that its packs look random.

Reads TUF metadata with the reference implementation's data classes and everything else with the standard library.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import zstandard
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from modelota.conformance.readings import low_entropy_blocks
from modelota.conformance.row import Examination
from modelota.errors import AskPerson

Json = dict[str, Any]

_DOCUMENT_MAX_BYTES: Final = 64 << 20
_PACK_SAMPLE_BYTES: Final = 4 << 20
_PACKS_MAX: Final = 32
_ROTATIONS_MAX: Final = 256
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


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
            _ = self.manifests
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

    @cached_property
    def manifests(self) -> list[Json]:
        """Every published manifest, with signatures and digests verified from the trusted root on."""
        root = self._root()
        timestamp = Metadata[Timestamp].from_bytes(self.get("metadata/timestamp.json"))
        root.verify_delegate(Timestamp.type, timestamp)
        number = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes(self.get(f"metadata/{number}.snapshot.json"))
        root.verify_delegate(Snapshot.type, snapshot)
        targets = self._targets("targets", snapshot.signed)
        root.verify_delegate(Targets.type, targets)
        found: list[Json] = []
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

    def _manifest(self, path: str, sha256: str) -> Json:
        parent, _, name = path.rpartition("/")
        data = self.get(f"targets/{parent}/{sha256}.{name}")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{path} is not what was signed")
        plain = zstandard.ZstdDecompressor().stream_reader(data).read(_DOCUMENT_MAX_BYTES)
        manifest: Json = json.loads(plain)
        return manifest


def sealed(repository: PublishedRepository) -> Examination:
    """5.2.2-a: packs look random all over, every pack names an authenticated cipher, and the address is a safe one."""
    seen = Examination()
    packs = {pack["digest"]: pack for manifest in repository.manifests for pack in manifest["packs"]}
    low_blocks, lowest_bits = 0, 8.0
    for digest in sorted(packs)[:_PACKS_MAX]:
        _, low, lowest = low_entropy_blocks(repository.get(f"packs/{digest[:2]}/{digest}", _PACK_SAMPLE_BYTES))
        low_blocks, lowest_bits = low_blocks + low, min(lowest_bits, lowest)
    seen.at_most("blocks-that-do-not-look-random", low_blocks, 0, "1")
    seen.evidence["looked_at"] = {"packs": min(len(packs), _PACKS_MAX), "lowest_bits_per_byte": round(lowest_bits, 4)}
    suites = sorted({pack["suite"] for pack in packs.values()})
    seen.claim("authenticated-encryption", set(suites) <= {"aes-256-gcm", "chacha20-poly1305", "sm4-gcm"}, suites)
    address = urlsplit(repository.url)
    safe = address.scheme in {"https", "file"} or address.hostname in _LOOPBACK
    seen.claim("safe-address", safe, address.scheme)
    return seen


def numbered(repository: PublishedRepository) -> Examination:
    """6.1-a: every published version is three positive numbers."""
    seen = Examination()
    versions = [manifest["version"] for manifest in repository.manifests]
    wrong = [text for text in versions if not re.fullmatch(r"[1-9][0-9]*\.[1-9][0-9]*\.[1-9][0-9]*", text)]
    seen.at_most("malformed-versions", len(wrong), 0, "1")
    seen.evidence["versions"] = versions
    return seen


def unique(repository: PublishedRepository) -> Examination:
    """6.1-c: no version is there twice, and no content under two versions of a model."""
    seen = Examination()
    names = [(manifest["model"], manifest["version"]) for manifest in repository.manifests]
    seen.claim("each-version-once", len(names) == len(set(names)), [f"{model} {version}" for model, version in names])
    contents: dict[str, list[str]] = {}
    for manifest in repository.manifests:
        files = [sorted((f["path"], f["digest"]) for f in variant["files"]) for variant in manifest["variants"]]
        identity = hashlib.sha256(json.dumps([manifest["model"], sorted(files)]).encode()).hexdigest()
        contents.setdefault(identity, []).append(manifest["version"])
    twice = [versions for versions in contents.values() if len(versions) > 1]
    seen.at_most("contents-under-two-versions", len(twice), 0, "1")
    return seen


REPOSITORY_CHECKS: Final[Mapping[str, Callable[[PublishedRepository], Examination]]] = {
    "5.2.2-a": sealed,
    "6.1-a": numbered,
    "6.1-c": unique,
}
