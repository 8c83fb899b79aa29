#!/usr/bin/env python3
"""modelota's metadata client behind the command line of the public tuf-conformance suite.

The commands are those of the suite's CLIENT-CLI.md: `init`, `refresh`, `download`. Everything that decides is
`modelota.delivery.trust.TrustClient`; this file maps names and keeps the client's memory in a file. See
`docs/tuf-conformance.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from modelota.clock import SystemClock
from modelota.delivery import paths
from modelota.delivery.objects import ObjectInfo, ObjectStore, Span
from modelota.delivery.stores import ObstoreStore, open_store
from modelota.delivery.trust import TrustClient, TrustState
from modelota.errors import ModelotaError

ANCHOR = "anchor"
MEMORY = "memory"
TARGET_MAX_BYTES = 16 * 1024 * 1024


class FileMemory:
    """A `TrustMemory` in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> TrustState | None:
        if not self._path.exists():
            return None
        return msgspec.json.decode(self._path.read_bytes(), type=TrustState)

    def save(self, state: TrustState) -> None:
        self._path.write_bytes(msgspec.json.encode(state))


class SuiteStore(ObjectStore):
    """The suite's server: metadata and targets below URLs of their own, and role names quoted in the request line.

    The suite asserts that a `/` in a role's name arrives as `%2F`. obstore sends a base URL as it stands, so each
    object is opened under its full address.
    """

    def __init__(self, metadata_url: str, target_url: str) -> None:
        super().__init__(metadata_url)
        self._bases = {paths.METADATA: metadata_url, paths.TARGETS: target_url}

    def _object(self, path: str) -> ObstoreStore:
        kind, _, name = path.partition("/")
        quoted = quote(name, safe="" if kind == paths.METADATA else "/")
        store = open_store(f"{self._bases[kind].rstrip('/')}/{quoted}")
        assert isinstance(store, ObstoreStore)
        return store

    def _read(self, path: str, span: Span | None) -> Iterator[bytes]:
        return self._object(path)._read("", span)

    def _translate(self, error: Exception, path: str) -> ModelotaError | None:
        return self._object(path)._translate(error, "")

    def _aread(self, path: str, span: Span | None) -> AsyncIterator[bytes]:
        raise NotImplementedError("the suite fetches no ranges")

    def _size(self, path: str) -> int:
        raise NotImplementedError("the client asks for no sizes")

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        raise NotImplementedError("web servers do not list")

    def _put(self, path: str, data: bytes | Path, *, create_only: bool) -> None:
        raise NotImplementedError("the suite's server is read-only")

    def _delete(self, path: str) -> None:
        raise NotImplementedError("the suite's server is read-only")


def beside(metadata_dir: Path, name: str) -> Path:
    """A file of ours: the client empties its cache of everything it does not know, so these lie next to it."""
    return metadata_dir.with_name(f"{metadata_dir.name}-{name}")


def init(metadata_dir: Path, trusted_root: Path) -> None:
    """Remember the trust anchor; the suite reads it as `root.json`."""
    data = trusted_root.read_bytes()
    beside(metadata_dir, ANCHOR).write_bytes(data)
    (metadata_dir / "root.json").write_bytes(data)


def connect(metadata_dir: Path, metadata_url: str, target_url: str) -> TrustClient:
    """A client whose cache is the directory that the suite inspects."""
    anchor = beside(metadata_dir, ANCHOR).read_bytes()
    memory = FileMemory(beside(metadata_dir, MEMORY))
    return TrustClient(SuiteStore(metadata_url, target_url), metadata_dir, memory, SystemClock(), anchor=anchor)


def download(client: TrustClient, target: str, directory: Path) -> None:
    """Fetch a target unless the file is there already."""
    info = client.target_info(target)
    if info is None:
        raise LookupError(f"no target {target}")
    file = directory / quote(target, safe="")
    if file.exists():
        data = file.read_bytes()
        if len(data) == info.length_bytes and all(
            hashlib.new(algorithm, data).hexdigest() == digest for algorithm, digest in info.hashes.items()
        ):
            return
    data = client.target(target, TARGET_MAX_BYTES)
    partial = file.with_name(f".{os.getpid()}.part")
    partial.write_bytes(data)
    partial.replace(file)


def main(argv: list[str]) -> int:
    """Run one command; exit status 0 or 1, as the suite wants it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    arguments = parser.parse_args(argv)
    if arguments.command == "init":
        init(arguments.metadata_dir, arguments.trusted_root)
        return 0
    url = arguments.metadata_url
    client = connect(arguments.metadata_dir, url, arguments.target_base_url or url)
    try:
        client.refresh()
        for target in arguments.target_name:
            download(client, target, arguments.target_dir)
    except (ModelotaError, LookupError) as error:
        sys.stderr.write(f"modelota: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
