"""Putting a verified first version into a factory image (`modelota device seed`), without any key of the device.

The image gets a device root with the slot, its pinned manifest and a database; not the class keys, which opened the
packages here, nor anything that this machine measured. On the device `modelota device init` adds the keys, and the
first check offers what is there: it is used only after its owner agreed, it was read as a whole, and its self-tests
passed on that device. Two seeds of one release are equal, byte for byte: all times are the release's.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

import modelota
from modelota.agent.checking import Checker
from modelota.agent.config import read_config
from modelota.agent.enrol import Membership, Seed, check_anchor, keep_seed, read_enrolment
from modelota.agent.installing import Installer
from modelota.agent.journal import Journal
from modelota.agent.offers import build_offer
from modelota.agent.states import Restarted, State
from modelota.clock import Clock, from_iso
from modelota.delivery import planner, releases
from modelota.errors import AskPerson, OurBug, RefuseContent
from modelota.spec.catalog import CatalogRelease
from modelota.spec.enrolment import Enrolment
from modelota.spec.manifest import Manifest, Variant
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger

_WORK: Final = ".seeding"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to put in; None is what the enrolment file names, the only one, or the newest.

    Attributes:
        url: of the repository, or a directory's path.
    """

    url: str | None = None
    model: str | None = None
    version: str | None = None
    variant: str | None = None


class Seeded(msgspec.Struct, frozen=True, kw_only=True):
    """What was put in; `root` as the device will see it."""

    model: str
    version: str
    variant: str
    root: str
    manifest_digest: str
    size_bytes: int


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A verified release and what its catalog says about it."""

    release: CatalogRelease
    loaded: releases.LoadedManifest
    variant: Variant
    title: dict[str, str]

    @property
    def manifest(self) -> Manifest:
        return self.loaded.manifest


class _ReleaseTime:
    """The clock of the image: the time of the release, whenever the image is made."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        return self._moment

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise OurBug("invariant-broken", detail=f"nothing waits {seconds} s while an image is made")


def seed(image: Path, root: Path, class_keys: Path, wanted: Wanted, clock: Clock) -> Seeded:
    """Put a release into the image `image`. Interrupted at any point it can be done again.

    Args:
        image: a directory that becomes the device's `/`.
        root: of the device, as the device will see it.
        class_keys: an enrolment file: anchor, repository, and the keys that open the packages.
        wanted: which release.
        clock: the time, by which metadata expires.

    Raises:
        AskPerson: `argument-invalid` (no such directory; several models or variants; a version that is sealed at
            rest), `already-enrolled`: there is a database at `root`; `enrolment-invalid`, `requirement-not-met`,
            `version-not-kept`, `config-invalid`, `no-space`, `permission-denied`.
        RefuseContent, TryLater: what a check and an installation raise.
    """
    if not image.is_dir():
        raise AskPerson("argument-invalid", argument="--image", detail="not-a-directory")
    if not root.is_absolute() or os.path.normpath(root) != str(root) or root == Path("/"):
        raise AskPerson("argument-invalid", argument="--root", detail=str(root)[:200])
    enrolment = read_enrolment(class_keys)
    check_anchor(enrolment.root)
    seeder = _Seeder(image.resolve(), root, enrolment, wanted, clock)
    return seeder.run()


class _Seeder:
    def __init__(self, image: Path, root: Path, enrolment: Enrolment, wanted: Wanted, clock: Clock) -> None:
        self._root = root
        self._layout = Layout(image / root.relative_to("/"))
        self._work = Layout(self._layout.root / _WORK)
        self._enrolment = enrolment
        self._wanted = wanted
        self._clock = clock
        missing = [path for path in (self._layout.root, *self._layout.root.parents) if not path.exists()]
        self._made = [path for path in reversed(missing) if image in path.parents]
        self._disk = Disk((missing[-1] if missing else self._layout.root,), NoLedger())

    def run(self) -> Seeded:
        layout, disk = self._layout, self._disk
        if layout.database.exists():
            raise AskPerson("already-enrolled", path=str(layout.root))
        disk.make_directory(layout.root)
        for leftover in (self._work.root, layout.root / "models"):  # there is no database, so nobody's
            disk.remove(leftover)
        disk.make_directory(self._work.root)
        journal = Journal(self._work.database, self._clock)
        try:
            found, description = self._install(journal)
            database = self._work.root / "seeded.db"
            self._write_database(database, journal, found, description)
        finally:
            journal.close()
        own, staged = layout.model(description.model), self._work.model(description.model)
        disk.make_directory(own.slots)
        slot = description.slot
        disk.rename(staged.slot(slot.name), own.slot(slot.name), kind="slot")
        released_at = from_iso(found.release.released_at)
        self._set_times(layout.root / "models", released_at)
        disk.rename(database, layout.database, kind="database")
        disk.remove(self._work.root)
        for path in (layout.database, *(made for made in reversed(self._made) if made != layout.root), layout.root):
            disk.set_times(path, _nanoseconds(released_at))
        return Seeded(
            model=description.model,
            version=slot.version,
            variant=slot.variant,
            root=str(self._root),
            manifest_digest=description.manifest_digest,
            size_bytes=description.size_bytes,
        )

    def _install(self, journal: Journal) -> tuple[_Found, SlotDescription]:
        """Fetch, verify and deploy the release into the work directory, as a device does."""
        enrolment, config = self._enrolment, read_config(self._layout.config)
        membership = Membership(
            url=self._wanted.url or enrolment.url,
            models=enrolment.models,
            device_class=enrolment.device_class,
            device_model=enrolment.device_model,
            key_store="none",
            anchor=enrolment.root.encode(),
        )
        checker = Checker(self._work, journal, membership, self._clock, config)
        found = self._find(checker, self._model())
        manifest, digest = found.manifest, found.loaded.digest
        if "sealed" in {manifest.at_rest, config.storage.at_rest}:
            raise AskPerson("argument-invalid", argument="--version", detail="sealed-at-rest")
        journal.keep_manifest(digest, manifest.model, manifest.version, found.loaded.body)
        plan = planner.plan_full(manifest, digest, found.variant.name)
        offer = build_offer(
            manifest,
            plan,
            current=None,
            kept=(),
            failed_before=False,
            storage_share_percent=None,
            stale_since=None,
        )
        offer_digest = journal.keep_offer(offer, plan, estimate_s=None, estimate_is_guess=True)
        installer = Installer(
            self._work,
            journal,
            checker,
            enrolment.keys,
            config,
            Disk((self._work.root,), NoLedger()),
            self._clock,
            device_class=enrolment.device_class,
            offer_digest=offer_digest,
        )
        asyncio.run(installer.fetch(_unreported))
        for step in (installer.verify, installer.deploy):
            if step(_unreported)["missing"]:
                raise RefuseContent("slot-damaged", slot=f"{manifest.version}+{found.variant.name}", path="")
        description = journal.slot(manifest.model, SlotId(manifest.version, found.variant.name))
        if description is None:
            raise OurBug("invariant-broken", detail="a deployed slot that is not registered")
        return found, description

    def _model(self) -> str:
        models = self._enrolment.models
        if self._wanted.model is None and len(models) != 1:
            raise AskPerson("argument-invalid", argument="model", detail="several-models")
        model = self._wanted.model or models[0]
        if model not in models:
            raise AskPerson("enrolment-invalid", path=model, detail="other-seed")
        return model

    def _find(self, checker: Checker, model: str) -> _Found:
        """The release, verified from the anchor on; whether this machine could run it does not matter."""
        checker.client.refresh()
        documents = releases.load_documents(checker.client, model)
        candidates = releases.candidates(
            documents.catalog, documents.control, installed=None, failed=(), agent_version=modelota.__version__
        )
        wanted = self._wanted.version
        chosen = [each for each in candidates if each.version == wanted or (wanted is None and each.reason is None)]
        if not chosen:
            reason = next((each.reason for each in candidates if each.reason is not None), None)
            raise reason or AskPerson("version-not-kept", version=wanted or "")
        if chosen[0].reason is not None:
            raise chosen[0].reason
        loaded = releases.load_manifest(checker.client, documents, chosen[0].version)
        manifest, device_model = loaded.manifest, self._enrolment.device_model
        if manifest.device_models and device_model not in manifest.device_models:
            need = ", ".join(manifest.device_models[:8])
            raise AskPerson("requirement-not-met", requirement="device-model", need=need, found=device_model)
        if self._wanted.variant is None and len(manifest.variants) != 1:
            raise AskPerson("argument-invalid", argument="--variant", detail="several-variants")
        variant = manifest.variant(self._wanted.variant or manifest.variants[0].name)
        title = {str(language): text for language, text in documents.catalog.title.items()}
        return _Found(release=chosen[0].release, loaded=loaded, variant=variant, title=title)

    def _write_database(self, path: Path, work: Journal, found: _Found, description: SlotDescription) -> None:
        """What the device is to know, and nothing of the machine that made the image."""
        manifest, model = found.manifest, description.model
        journal = Journal(path, _ReleaseTime(from_iso(found.release.released_at)))
        try:
            for place, kind in self._ledger_rows(description):
                journal.ledger.will_create(place, kind)
            journal.keep_manifest(found.loaded.digest, model, manifest.version, found.loaded.body)
            journal.keep_releases(model, [(manifest.version, found.release.released_at, "available")])
            notes = {str(language): text for language, text in manifest.notes.items()}
            journal.keep_notes(model, manifest.version, notes)
            journal.set_fact(f"title {model}", msgspec.json.encode(found.title, order="sorted"))
            records = work.records
            rows = [row._replace(blocks=records.anchor_blocks(row)) for row in records.anchor_rows()]
            journal.records.keep_anchors(rows)
            journal.register_slot(description)
            keep_seed(journal, Seed(model=model, anchor=self._enrolment.root.encode()))
            journal.note(model, "seeded", {"version": manifest.version, "manifest_digest": found.loaded.digest})
            state = State(slots=(description.slot,), seeded=description.slot)
            journal.commit(model, Restarted(), State(), state)
        finally:
            journal.close()

    def _ledger_rows(self, description: SlotDescription) -> list[tuple[Path, str]]:
        """What was made for the agent, by the paths that the device knows; what is above the root is the image's."""
        model = Layout(self._root).model(description.model)
        folders = (model.directory.parent.parent, model.directory.parent, model.directory, model.slots)
        return [
            (self._root, "root"),
            (self._root / "agent.db", "database"),
            *((path, "directory") for path in folders),
            (model.slot(description.slot.name), "slot"),
        ]

    def _set_times(self, directory: Path, moment: datetime) -> None:
        with disk_errors(directory):
            for folder, _, files in os.walk(directory, topdown=False):
                for name in files:
                    self._disk.set_times(Path(folder, name), _nanoseconds(moment))
                self._disk.set_times(Path(folder), _nanoseconds(moment))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _unreported(_: int, __: int | None) -> None:
    """Nobody watches."""
