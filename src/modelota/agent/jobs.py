"""The jobs that a worker carries out for its supervisor, by name. Every job can be repeated."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from modelota.agent.checking import Checker
from modelota.agent.cleaning.cleaning import clean_basic
from modelota.agent.cleaning_jobs import CleaningJobs
from modelota.agent.config import read_config
from modelota.agent.device_offers import DeviceOffers
from modelota.agent.enrol import class_keys, membership_of, open_journal
from modelota.agent.holdings import Holdings
from modelota.agent.installing import Installer, Report
from modelota.agent.keeping import keep_and_remove
from modelota.agent.retesting import retest
from modelota.agent.uninstalling import Uninstaller, facts_of
from modelota.agent.user_data_jobs import UserDataJobs
from modelota.agent.verifying import ReadingPace
from modelota.agent.worker_link import Job
from modelota.clock import Clock, SystemClock
from modelota.errors import AskPerson, OurBug
from modelota.spec.api_life import RemovalPlanView
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout

Arguments = dict[str, Any]


class Jobs:
    """The jobs of one device root."""

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._layout = Layout(root)
        self._clock = clock or SystemClock()
        self._config = read_config(self._layout.config)
        self._journal = open_journal(self._layout, self._clock)
        self._membership = membership_of(self._journal, root)
        self._disk = Disk((root, self._layout.runtime_directory), self._journal.ledger)
        cleaning = CleaningJobs(self._layout, self._journal)
        user_data = UserDataJobs(self._layout, self._journal, self._disk, self._clock)
        self._in_thread: dict[str, Callable[[Arguments, Report], object]] = {
            "check": self._check,
            "verify": lambda arguments, _: self._local().verify(arguments["model"]),
            "scrub": lambda arguments, _: self._local().verify(
                arguments["model"], ReadingPace(self._config.scrub.bytes_per_s)
            ),
            "offer-repair": lambda arguments, _: self._local().offer_repair(*_slot_of(arguments)),
            "offer-kept": lambda arguments, _: self._local().offer_kept(*_slot_of(arguments)),
            "keep": self._keep,
            "rechecking": lambda arguments, _: self._checker().recheck(arguments["offer_digest"]),
            "verifying": lambda arguments, report: self._installer(arguments).verify(report),
            "deploying": lambda arguments, report: self._installer(arguments).deploy(report),
            "removal-plan": self._plan_removal,
            "removing": self._remove,
            "cleaning-scan": cleaning.scan,
            "cleaning-apply": cleaning.apply,
            "snapshot": lambda arguments, _: user_data.snapshot(arguments),
            "restore-user-data": lambda arguments, _: user_data.restore(arguments),
            "export-backup": lambda arguments, _: user_data.export(arguments),
            "import-backup": lambda arguments, _: user_data.take_back(arguments),
        }
        self._awaited: dict[str, Callable[[Arguments, Report], Awaitable[object]]] = {
            "fetching": lambda arguments, report: self._installer(arguments).fetch(report),
            "testing": self._test,
            "retesting": self._retest,
        }

    def _checker(self) -> Checker:
        return Checker(self._layout, self._journal, self._membership, self._clock, self._config)

    def _local(self) -> DeviceOffers:
        return DeviceOffers(self._layout, self._journal, self._config)

    def _installer(self, arguments: Arguments) -> Installer:
        return Installer(
            self._layout,
            self._journal,
            self._checker(),
            class_keys(self._membership, self._layout, self._disk),
            self._config,
            self._disk,
            self._clock,
            device_class=self._membership.device_class,
            offer_digest=arguments["offer_digest"],
        )

    async def run(self, job: Job, report: Report) -> object:
        """Carry out one job.

        Raises:
            ModelotaError: as the job's function documents.
        """
        if job.kind in self._awaited:
            return await self._awaited[job.kind](job.arguments, report)
        if job.kind in self._in_thread:
            return await asyncio.to_thread(self._in_thread[job.kind], job.arguments, report)
        raise OurBug("invariant-broken", detail=f"no job {job.kind!r}")

    def place(self, job: Job) -> Path | None:
        """The directory of the model that a job is about."""
        model = job.arguments.get("model")
        return self._layout.model(model).directory if model else None

    def _check(self, arguments: Arguments, _: Report) -> object:
        place = arguments.get("place") or ""
        if place and not (os.path.isabs(place) and os.path.isdir(place)):  # noqa: PTH112, PTH117  False, never an error
            raise AskPerson("argument-invalid", argument="place", detail="not-a-directory")
        self._journal.set_fact("repository-place", place.encode())
        return self._checker().check(
            arguments["model"], allow_stale=arguments["allow_stale"], version=arguments.get("version")
        )

    def _keep(self, arguments: Arguments, report: Report) -> object:
        return keep_and_remove(
            self._layout,
            self._journal,
            Holdings(self._layout, self._journal, self._config, self._disk),
            self._disk,
            arguments["model"],
            keep=[SlotId.parse(name) for name in arguments["keep"]],
            seal=[SlotId.parse(name) for name in arguments["seal"]],
            report=report,
        )

    def _plan_removal(self, arguments: Arguments, _: Report) -> object:
        model = arguments["model"]
        if arguments["reason"] == "unsuitable-hardware":
            self._local().require_unsuitable(model)
        uninstaller = Uninstaller(self._layout, self._journal, self._disk, self._clock)
        plan = uninstaller.plan(model, arguments["reason"], arguments["user_data"])
        return RemovalPlanView(plan=plan, digest=plan.identity)

    def _remove(self, arguments: Arguments, report: Report) -> object:
        uninstaller = Uninstaller(self._layout, self._journal, self._disk, self._clock)
        model = arguments["model"]
        facts = facts_of(uninstaller.remove(model, arguments["plan_digest"], report))
        cleaned = clean_basic(self._layout, self._journal, leaving=model)  # 7.4.2-a: by itself, after an uninstallation
        return {**facts, "cleaned": cleaned.count("removed"), "not_cleaned": cleaned.count("refused")}

    def _slot(self, model: str, name: str) -> SlotDescription:
        found = self._journal.slot(model, SlotId.parse(name))
        if found is None:
            raise OurBug("invariant-broken", detail=f"slot {name} is not registered")
        return found

    async def _test(self, arguments: Arguments, report: Report) -> object:
        model = arguments["model"]
        target = self._slot(model, arguments["target"])
        current = self._journal.slot(model, SlotId.parse(arguments["current"])) if arguments["current"] else None
        return await self._installer(arguments).self_test(target, current, report)

    async def _retest(self, arguments: Arguments, report: Report) -> object:
        slot = self._slot(arguments["model"], arguments["target"])
        return await retest(self._layout, self._config, self._journal, self._disk, slot, report, self._clock)


def _slot_of(arguments: Arguments) -> tuple[str, SlotId]:
    return arguments["model"], SlotId.parse(arguments["slot"])
