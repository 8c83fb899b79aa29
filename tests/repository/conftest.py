"""A printing press for repositories: small workspaces, model files and descriptions."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.clock import Clock, iso
from modelota.delivery.releases import LoadedManifest, ModelDocuments, load_documents, load_manifest
from modelota.delivery.stores import open_store
from modelota.delivery.trust import TrustClient, TrustState
from modelota.errors import ModelotaError
from modelota.repository import keys, toml
from modelota.repository.candidate import find_candidate
from modelota.repository.founding import InitReport, init
from modelota.repository.manifest_cache import DIRECTORY, ManifestCache
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.published import load_published
from modelota.repository.report import PublishReport
from modelota.repository.scan import scan_sources
from modelota.repository.trial import content_of, keep_report, predecessors, promises_of
from modelota.repository.workspace import Workspace
from modelota.spec.test_report import SuiteRecord, TestReport
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
NOTES = {"zh-CN": "首个版本。", "en": "First release."}


class Memory:
    """A device's memory of a repository."""

    def __init__(self) -> None:
        self.state: TrustState | None = None

    def load(self) -> TrustState | None:
        return self.state

    def save(self, state: TrustState) -> None:
        self.state = state


@dataclass
class Device:
    """What a device sees: one memory over many refreshes."""

    url: str
    anchor: bytes
    cache: Path
    clock: Clock
    memory: Memory = field(default_factory=Memory)

    def refresh(self) -> TrustClient:
        client = TrustClient(open_store(self.url), self.cache, self.memory, self.clock, anchor=self.anchor)
        client.refresh()
        return client

    def documents(self, model: str = MODEL) -> ModelDocuments:
        return load_documents(self.refresh(), model)

    def manifest(self, version: str, model: str = MODEL) -> LoadedManifest:
        client = self.refresh()
        return load_manifest(client, load_documents(client, model), version)

    def versions(self, model: str = MODEL) -> list[str]:
        """Admitted versions, each with its manifest and packs checked to be there."""
        client = self.refresh()
        documents = load_documents(client, model)
        store = open_store(self.url)
        for release in documents.catalog.releases:
            for pack in load_manifest(client, documents, release.version).manifest.packs:
                assert store.size(f"packs/{pack.digest[:2]}/{pack.digest}") == pack.size_bytes
        return [release.version for release in documents.catalog.releases]


class Press:
    """Makes workspaces and releases below one directory."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.directory = directory
        self.clock = clock
        self.passphrases = Passphrases(environ={"MODELOTA_PASSPHRASE": "correct horse"})

    def init(self, name: str = "repo", **options: Any) -> InitReport:
        options = {"models": [MODEL], "classes": ["car"]} | options
        return init(self.directory / name, clock=self.clock, passphrases=self.passphrases, **options)

    def file(self, name: str, size_bytes: int = 20_000, *, seed: int = 0) -> Path:
        """A model file of reproducible bytes."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{name} {seed}").randbytes(size_bytes))
        return path

    def table(self, version: str, **changes: Any) -> dict[str, Any]:
        """A description as plain data, with one variant of one file."""
        table: dict[str, Any] = {
            "format": 1,
            "model": MODEL,
            "version": version,
            "kind": "fix",
            "notes": NOTES,
            "interfaces": [{"name": "chat", "version": 1}],
            "self_tests": {"performance": {"max_first_token_s": 60.0}},
            "variants": [
                {
                    "name": "q8",
                    "files": [{"source": f"{version}.bin", "path": "model.bin"}],
                    "runtime": {"name": "command", "entry": "model.bin", "profile": "default"},
                }
            ],
        }
        return table | changes

    def describe(self, version: str, **changes: Any) -> Path:
        """Write a description, and the model file it names unless it is there."""
        if not (self.directory / f"{version}.bin").exists():
            self.file(f"{version}.bin")
        path = self.directory / f"{version}.toml"
        path.write_text(toml.render(self.table(version, **changes)), encoding="utf-8")
        return path

    def publish(self, workspace: Workspace, source: Path | str, **options: Any) -> PublishReport:
        """Publish a description, or the plain release of a version."""
        path = self.describe(source) if isinstance(source, str) else source
        self.vouch(workspace, path)
        return publish(workspace, path, clock=self.clock, passphrases=self.passphrases, **options)

    def vouch(self, workspace: Workspace, path: Path) -> None:
        """Write the report of tests that passed, as `repo test` does, where the release can be read at all."""
        with suppress(ModelotaError):
            published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
            published.cache = ManifestCache(workspace.path / DIRECTORY)
            candidate = find_candidate(workspace, published, path, version=None, model=None)
            candidate.scanned = scan_sources(candidate.variants, lambda _: None)
            passed = SuiteRecord(variant="q8", suite="own", verdict="passed", record={"results": []})
            report = TestReport(
                model=candidate.description.model,
                version=candidate.description.version,
                content=content_of(candidate),
                tests=promises_of(candidate),
                predecessors=tuple(manifest.version for manifest in predecessors(published, candidate)),
                suites=(passed,),
                machine={},
                made_with="0",
                made_at=iso(self.clock.now()),
            )
            keep_report(workspace, report)

    def device(self, workspace: Workspace, name: str = "device", anchor: bytes | None = None) -> Device:
        url = workspace.repository_url
        return Device(url, anchor or workspace.trusted_root(), self.directory / f"cache-{name}", self.clock)


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing passphrases need not be expensive in tests."""
    monkeypatch.setattr(keys, "SCRYPT_COST", 2)


@pytest.fixture(scope="session")
def new_press() -> type[Press]:
    """For fixtures that outlive one test."""
    return Press


@pytest.fixture
def press(tmp_path: Path, clock: ManualClock) -> Press:
    """A press in a temporary directory."""
    return Press(tmp_path, clock)


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh workspace that others are copied from, because making one flushes dozens of files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "SCRYPT_COST", 2)
        return Press(tmp_path_factory.mktemp("master"), ManualClock()).init().workspace


@pytest.fixture
def shop(press: Press, master: Workspace) -> Workspace:
    """A workspace with encrypted keys, one model `acme/assistant`, one class `car`."""
    path = press.directory / "repo"
    shutil.copytree(master.path, path)
    return Workspace(path, master.config).save(msgspec.structs.replace(master.config, url=(path / "public").as_uri()))
