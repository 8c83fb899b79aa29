"""Fetch, verify, deploy and test: the steps of an accepted offer. Runs in the worker; every step can be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from modelota.agent.anchoring import keep_anchors
from modelota.agent.checking import Checker
from modelota.agent.config import Config
from modelota.agent.engines import engine_spec
from modelota.agent.journal import Journal
from modelota.agent.slot_access import SlotAccess
from modelota.clock import Clock
from modelota.content.pack import PackOpener
from modelota.content.wrap import pack_key
from modelota.delivery import planner
from modelota.delivery.fetch import fetch
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.runtime.engine import Engine
from modelota.runtime.selftest import run_self_tests
from modelota.spec.enrolment import ClassKey
from modelota.spec.manifest import Chunk, Manifest
from modelota.spec.offer import Offer, Plan
from modelota.spec.slot import SlotDescription, SlotId, describe
from modelota.storage.assembly import Assembly, peak_space_bytes
from modelota.storage.durable import Disk, free_bytes
from modelota.storage.layout import Layout
from modelota.storage.sealed_assembly import SealedAssembly
from modelota.storage.slots import Slots
from modelota.storage.staging import Staging

Report = Callable[[int, int | None], None]  # done so far, of how many


class Installer:
    """Carries out one accepted offer.

    Args:
        layout: of the device root.
        journal: holds offer, plan and manifest.
        checker: gives the store and the pinned manifest.
        keys: the class keys.
        config: the integrator's settings.
        disk: the writer.
        clock: the time.
        offer_digest: of the offer.
    """

    def __init__(
        self,
        layout: Layout,
        journal: Journal,
        checker: Checker,
        keys: tuple[ClassKey, ...],
        config: Config,
        disk: Disk,
        clock: Clock,
        *,
        device_class: str,
        offer_digest: str,
    ) -> None:
        self._layout = layout
        self._journal = journal
        self._checker = checker
        self._keys = keys
        self._config = config
        self._disk = disk
        self._clock = clock
        self._device_class = device_class
        view, plan = journal.offer(offer_digest), journal.plan(offer_digest)
        if view is None or plan is None:
            raise RefuseContent("manifest-mismatch", model="", version="", detail=f"no offer {offer_digest}")
        self._digest = offer_digest
        self._offer: Offer = view.offer
        self._manifest: Manifest = checker.local.manifest(self._offer.manifest_digest)
        self._sources = checker.local.sources(self._offer.model)
        self._offered: Plan = plan
        self._plan = planner.without(plan, self._manifest, journal.damaged(self._offer.model))
        self._variant = self._manifest.variant(self._offer.to_variant)
        self._model = layout.model(self._offer.model)
        self._at_rest = checker.local.holdings.at_rest(self._manifest, self._variant)
        work = self._model.staging / offer_digest[:16]
        self._partial = work / "slot"
        self._packs = work / "packs"

    def _staging(self) -> Staging:
        @cache
        def opener(digest: str) -> PackOpener:
            pack = next(pack for pack in self._manifest.packs if pack.digest == digest)
            key = pack_key(pack, self._device_class, self._keys)
            return PackOpener(key, pack.suite, pack.frames, pack.digest)

        return Staging(self._packs, self._plan, self._manifest, opener, self._disk, self._sources)

    def _assembly(self, directory: Path | None = None) -> Assembly:
        directory = directory or self._partial
        slot = SlotId(self._manifest.version, self._variant.name)
        secret = self._checker.local.holdings.secret_of(self._manifest.model, slot, self._at_rest)
        if secret is None:
            return Assembly(directory, self._manifest, self._variant, self._disk)
        return SealedAssembly(directory, self._manifest, self._variant, self._disk, secret)

    async def fetch(self, report: Report) -> dict[str, Any]:
        """Fetch every planned frame that is neither staged nor already written into the partial slot.

        Raises:
            AskPerson: `ceiling-exceeded`, `no-space`.
            TryLater: network and disk errors.
            RefuseContent: `pack-tampered`, `chunk-mismatch`, `server-ignores-ranges`, `pack-key-missing`.
        """
        self._check_sources()
        staging, assembly = self._staging(), self._assembly()
        try:
            staging.scan()
            missing = assembly.missing(self._plan, staging)
            try:
                staging.reserve(missing)
                self._reserve_slot(assembly)
            except AskPerson:
                if len(missing) == len(self._plan.frames):  # nothing was fetched that would be lost
                    self._disk.remove(self._packs)
                raise
            total = self._plan.fetch_bytes
            have = total - sum(frame.length_bytes for frame in missing)
            report(have, total)
            spent = self._journal.spent_bytes(self._digest)
            progress = _Progress(report, have, total, lambda count: self._journal.spend(self._digest, count))
            started = time.monotonic()
            try:
                fetched = await fetch(
                    self._checker.store,
                    missing,
                    staging,
                    connections=self._config.fetch.connections,
                    ceiling_bytes=max(0, self._offer.ceiling_bytes - spent),
                    on_progress=_ignore,
                    on_received=progress.received,
                    proceed=_go_on,
                    max_bytes_per_s=self._config.network.max_bytes_per_s,
                )
            finally:
                staging.flush()
                progress.settle()
            self._measure("fetching", fetched.received_bytes, started)
            return {"received_bytes": fetched.received_bytes, "requests": fetched.requests, "resumed_bytes": have}
        finally:
            staging.close()

    def _reserve_slot(self, assembly: Assembly) -> None:
        """Set aside, before the first byte is fetched, what the slot takes at the peak (requirement 7.1.1-a).

        No more than that: the rest of the slot takes the place of staged packs as they go. A sealed slot is laid out
        as it is written, so its space is checked and not reserved.

        Raises:
            AskPerson: `no-space` with what is needed and what is free; `permission-denied`.
            TryLater: `disk-error`.
        """
        if self._at_rest == "sealed" or self._partial.exists():  # reserved before, or written in part
            return
        peak_bytes = peak_space_bytes(self._manifest, self._plan)
        try:
            assembly.reserve(self._plan, peak_bytes - self._plan.fetch_bytes)
        except AskPerson as error:
            self._disk.remove(self._partial)  # nobody is helped by a full disk while a person is waited for
            if error.code != "no-space":
                raise
            free = free_bytes(self._partial)
            raise AskPerson("no-space", path=str(self._partial), need_bytes=peak_bytes, free_bytes=free) from error

    def _check_sources(self) -> None:
        """Look at every chunk that the plan counts on; what is damaged is fetched whole, within the ceiling."""
        damaged = self._sources.damaged(planner.needed_digests(self._plan, self._manifest))
        if damaged:
            self._journal.note_damaged(self._offer.model, damaged)
            self._plan = planner.without(self._plan, self._manifest, damaged)

    def verify(self, report: Report) -> dict[str, Any]:
        """Open everything that was fetched once more, as it lies on the disk.

        Returns the number of frames that are missing or damaged as `missing`.
        """
        staging, assembly = self._staging(), self._assembly()
        try:
            started = time.monotonic()
            count = _Progress(report, 0, self._plan.fetch_bytes)
            good_bytes = staging.scan(count.received)
            missing = assembly.missing(self._plan, staging)
            self._measure("verifying", good_bytes, started)
            return {"missing": len(missing), "verified_bytes": good_bytes}
        finally:
            staging.close()

    def deploy(self, report: Report) -> dict[str, Any]:
        """Assemble the slot, check its files as a whole, give it its place and register it.

        Returns `missing` > 0, and changes nothing, when fetched content is gone.

        Raises:
            RefuseContent: `file-mismatch`, `chunk-mismatch`, `pack-tampered`.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        slots = Slots(self._model, self._disk)
        description = describe(self._manifest, self._offer.manifest_digest, self._variant, at_rest=self._at_rest)
        slot = description.slot
        if self._assembly(slots.directory(slot)).is_whole():
            # interrupted between sealing and noting it: what lies there was just verified as a whole
            self._journal.register_slot(description)
            return {"missing": 0, "path": str(slots.directory(slot)), "size_bytes": self._variant.size_bytes}
        staging, assembly = self._staging(), self._assembly()
        try:
            staging.scan()
            missing = assembly.missing(self._plan, staging)
            if missing:
                return {"missing": len(missing)}
            started = time.monotonic()
            # every byte counts half when it is written and half when its file is checked as a whole
            size_bytes = self._variant.size_bytes
            count = _Progress(lambda done, _: report(done // 2, size_bytes), 0, 2 * size_bytes)
            try:
                assembly.write(self._plan, staging, count.received, self._sources)
            except RefuseContent as error:
                if error.code == "chunk-mismatch":  # a base or a local chunk went bad meanwhile: fetch it instead
                    self._check_sources()
                    lost = assembly.missing(self._plan, staging)
                    if lost:
                        return {"missing": len(lost)}
                raise
            assembly.finish(count.received)
            self._measure("deploying", self._variant.size_bytes, started)
        finally:
            staging.close()
        keep_anchors(self._journal, description, self._partial / "files", self._disk)
        self._journal.register_slot(description)
        self._journal.note_whole(description.model, (chunk.digest for chunk in self._chunks()))
        self._disk.make_directory(self._model.user_data)
        manifest = self._journal.manifest_body(description.manifest_digest)
        slots.keep_description(description, manifest, self._partial)
        slots.seal(self._partial, slot)
        return {"missing": 0, "path": str(slots.directory(slot)), "size_bytes": self._variant.size_bytes}

    def _chunks(self) -> Iterator[Chunk]:
        for index in {index for file in self._variant.files for index in file.chunks}:
            yield self._manifest.chunks[index]

    def _measure(self, step: str, units: int, started: float) -> None:
        seconds = time.monotonic() - started
        if units > 0 and seconds > 0.001:
            self._journal.measured(step, units / seconds)

    async def self_test(
        self, target: SlotDescription, current: SlotDescription | None, report: Report
    ) -> dict[str, Any]:
        """Run the release's self-tests in the real engine, beside the version in use.

        Raises:
            RefuseContent: `self-test-failed`, `self-test-not-run`, `slot-damaged`.
            TryLater: `self-test-inconclusive`, `engine-crashed`, `engine-start-failed`, `engine-timeout`.
        """
        access = SlotAccess(self._layout, self._journal, self._disk)
        candidate = engine_spec(self._layout, self._config, target, purpose="test", access=access)
        beside = None
        if current is not None:
            beside = engine_spec(self._layout, self._config, current, purpose="compare", access=access)
        started = time.monotonic()
        by_label = {slot.slot.name: slot for slot in (target, current) if slot is not None}

        def started_one(engine: Engine) -> None:
            with suppress(ModelotaError):  # a full disk, say: the slot is verified again at its next start
                access.note(by_label[engine.label], engine.stamps)

        record = await run_self_tests(
            target.self_tests,
            candidate,
            beside,
            clock=self._clock,
            on_progress=report,
            on_started=started_one,
            contract=True,
        )
        self._journal.keep_self_test(target.model, target.slot, msgspec.json.encode(record))
        self._measure("testing", len(record.results), started)
        problem = record.problem()
        if problem is not None:
            raise problem
        return {"verdict": record.verdict, "tests": len(record.results)}


class _Progress:
    """Adds up what is done and reports it; hands received bytes to `spend` in pieces of 4 MiB."""

    def __init__(self, report: Report, done: int, total: int, spend: Callable[[int], None] | None = None) -> None:
        self._report = report
        self._done = done
        self._total = total
        self._spend = spend
        self._unsettled = 0

    def received(self, count: int) -> None:
        self._done += count
        self._unsettled += count
        self._report(min(self._done, self._total), self._total)
        if self._unsettled >= 4 * 1024 * 1024:
            self.settle()

    def settle(self) -> None:
        if self._spend is not None and self._unsettled:
            self._spend(self._unsettled)
        self._unsettled = 0


def _ignore(_: int) -> None:
    """Bytes are counted as they arrive."""


async def _go_on() -> None:
    """Nothing to wait for: the supervisor pauses a transfer by ending the worker, which loses nothing."""
