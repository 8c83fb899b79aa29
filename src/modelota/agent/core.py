"""One open device root: lock, journal, models, worker, gateway; how it starts, stops and what its status is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import modelota
from modelota.agent.answers import standing_answers
from modelota.agent.cleaning_asking import CleaningDesk
from modelota.agent.config import Config, read_config
from modelota.agent.enrol import Membership, membership_of, open_journal
from modelota.agent.gates import Gates
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.model_loop import ModelLoop
from modelota.agent.notices import Notices
from modelota.agent.page_link import PageKeeper
from modelota.agent.steps import Workers
from modelota.agent.withdrawals import warning_about
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock, SystemClock
from modelota.errors import AskPerson, ModelotaError
from modelota.runtime.gateway import Gateway
from modelota.runtime.meter import AnswerFigures
from modelota.spec import api
from modelota.storage.durable import Disk, check_ours, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.lock import RootLock

GATEWAY_WAIT_S: Final = 120.0


class Core:
    """One device root, open and owned. Made by `Core.open`."""

    def __init__(
        self,
        layout: Layout,
        lock: RootLock,
        journal: Journal,
        membership: Membership,
        config: Config,
        disk: Disk,
        clock: Clock,
        *,
        unattended: bool,
    ) -> None:
        self.layout = layout
        self.config = config
        self.clock = clock
        self.journal = journal
        self.membership = membership
        self.hub = Hub(clock)
        self._lock = lock
        self._unattended = unattended
        self.disk = disk
        # Checks do not wait for a download, and self-tests measure at the priority the engine will have in use; the
        # heavy steps yield to whatever else the device does. Only one process at a time refreshes what is trusted.
        self.background = WorkerLink(layout.root, layout.log / "background.log", disk, yielding=True)
        self.foreground = WorkerLink(layout.root, layout.log / "foreground.log", disk)
        # What may take an hour and has no hurry: reading for damage, looking for residues.
        self.maintenance = WorkerLink(layout.root, layout.log / "maintenance.log", disk, yielding=True)
        self.cleaning = CleaningDesk(journal, self.hub, self.maintenance, clock)
        self.refreshing = asyncio.Lock()
        self.gates = Gates(config.gates, journal, clock)
        self.gateway = Gateway(
            self._ensure_engine, wait_s=GATEWAY_WAIT_S, tokens=journal.tokens.by_digest(), measured=self._answered
        )
        self.page = PageKeeper(layout, config, disk, clock)
        self.gateway_port: int | None = None
        self._gateway_open = False
        self._going_on = asyncio.Lock()
        self.models = {
            model: ModelLoop(
                model,
                layout,
                config,
                journal,
                self.hub,
                Workers(self.background, self.foreground, self.refreshing),
                self.gates,
                self.gateway.upstreams,
                clock,
                unattended=unattended,
                remind=self._remind,
            )
            for model in membership.models
        }
        self.notices = Notices(journal, self.hub, self.models, config.notifications, clock)
        self._to_go_on = list(self.models.values())

    @classmethod
    async def open(cls, root: Path, *, clock: Clock | None = None, unattended: bool = False) -> Core:
        """Open a device root; `go_on` then continues what was under way.

        Args:
            root: made by `modelota device init`.
            clock: the time; the system's by default.
            unattended: retry passing errors by itself later, and keep the engines running.

        Raises:
            AskPerson: `not-enrolled`, `root-not-private`, `config-invalid`, `database-unreadable`, `database-newer`,
                `permission-denied`.
            TryLater: `device-busy` with the process id of the owner.
        """
        clock = clock or SystemClock()
        layout = Layout.at(root)
        root = layout.root
        with disk_errors(root):
            if not layout.database.exists():
                raise AskPerson("not-enrolled", path=str(root))
        lock = RootLock(layout.lock)
        try:
            journal = open_journal(layout, clock)
        except BaseException:
            lock.release()
            raise
        try:
            membership = membership_of(journal, root)
            config = read_config(layout.config)
            disk = Disk((root, layout.runtime_directory), journal.ledger)
            disk.make_directory(layout.runtime_directory)
            check_ours(layout.runtime_directory, root)
            disk.make_directory(layout.engine_sockets)
            disk.make_directory(layout.log)
            for left in journal.ledger.temporaries():  # by a kill: nobody else writes while the root is ours alone
                with suppress(ModelotaError):  # it is tried again at the next start
                    disk.remove(left)
            agent = cls(layout, lock, journal, membership, config, disk, clock, unattended=unattended)
            for loop in agent.models.values():
                loop.load()
                if loop.state.current is not None:
                    agent.gateway.upstreams.declare(loop.model)
        except BaseException:
            journal.close()
            lock.release()
            raise
        return agent

    async def go_on(self) -> None:
        """Go on with what was under way when the agent last ended; only the first call does anything.

        A supervisor does it at once, an embedding host before the first request that decides something: looking at a
        device changes nothing on it.
        """
        async with self._going_on:  # nothing is decided about a model before it went on
            while self._to_go_on:
                await self._to_go_on.pop(0).go_on()
            self.cleaning.go_on()

    async def aclose(self) -> None:
        """Stop engines and worker, and give the root up. What is under way goes on at the next opening."""
        self.hub.close()
        await self.page.aclose()
        await self.gateway.close()
        for loop in self.models.values():
            await loop.aclose()
        await self.cleaning.aclose()
        await self.background.aclose()
        await self.foreground.aclose()
        await self.maintenance.aclose()
        self.journal.close()
        self._lock.release()

    async def open_gateway(self, *, group: int | None = None) -> None:
        """Listen for applications: on the Unix socket, and on TCP loopback where the settings say so."""
        if self._gateway_open:
            return
        self._gateway_open = True
        await self.gateway.serve_unix(self.layout.gateway_socket, group=group)
        if self.config.gateway.tcp_port:
            self.gateway_port = await self.gateway.serve_tcp(port=self.config.gateway.tcp_port)

    async def _ensure_engine(self, model: str) -> None:
        await self.loop(model).serving.ensure()

    def _remind(self, model: str, digest: str, number: int) -> None:
        self.notices.reminder(model, digest, number)

    def _answered(self, model: str, slot: str, figures: AnswerFigures) -> None:
        self.models[model].watcher.answered(slot, figures)

    def loop(self, model: str | None) -> ModelLoop:
        """The loop of `model`; None means the only one.

        Raises:
            AskPerson: `argument-invalid`: several models, or one that this device is not enrolled for.
        """
        if model is None:
            if len(self.models) != 1:
                raise AskPerson("argument-invalid", argument="model", detail="several-models")
            return next(iter(self.models.values()))
        found = self.models.get(model)
        if found is None:
            raise AskPerson("argument-invalid", argument="model", detail=f"not a model of this device: {model[:80]}")
        return found

    def status(self) -> api.Status:
        """How the device is."""
        return api.Status(
            api=api.API_VERSION,
            agent_version=modelota.__version__,
            root=str(self.layout.root),
            supervisor=self._unattended,
            repository_url=self.membership.url,
            device_class=self.membership.device_class,
            models=tuple(self.model_status(loop) for loop in self.models.values()),
            agent_socket=str(self.layout.agent_socket) if self._unattended else None,
            gateway_socket=str(self.layout.gateway_socket) if self._gateway_open else None,
            gateway_url=f"http://127.0.0.1:{self.gateway_port}/v1" if self.gateway_port else None,
        )

    def model_status(self, loop: ModelLoop) -> api.ModelStatus:
        """How one model is."""
        state, update = loop.state, loop.state.update
        return api.ModelStatus(
            model=loop.model,
            user_data=str(self.layout.model(loop.model).user_data),
            title=self.journal.title(loop.model),
            phase=state.phase,
            active_version=state.current.version if state.current else None,
            active_variant=state.current.variant if state.current else None,
            previous_version=state.previous.version if state.previous else None,
            target_version=update.target.version if update else None,
            operation=update.direction if update else None,
            paused=update.paused if update else False,
            waits_for=update.waits_for if update else (),
            waits_before=update.gate or None if update else None,
            progress=loop.progress,
            offer=self.journal.offer(state.offer) if state.offer else None,
            last_outcome=state.last,
            last_checked_at=self.journal.last_time(loop.model, "checked"),
            watch_until=state.watch.until if state.watch else None,
            engine=loop.serving.state,
            engine_error=loop.serving.error,
            error=update.error if update else state.degraded,
            suspect=state.suspect,
            end_of_service=self.journal.end_of_service(loop.model),
            withdrawn=warning_about(self.journal, loop.model, state.current.version if state.current else None),
            answers=standing_answers(state),
        )
