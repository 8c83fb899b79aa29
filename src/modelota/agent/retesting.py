"""Self-tests of the version in use, run again when what they rest on changed (design decision 8).

A version proved itself on an operating system, a driver, an agent and a runtime. When one of them is another than it
was then, the proof is done again; a failure goes back while the watch lasts, and is told to the owner afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

import modelota
from modelota.agent.config import Config
from modelota.agent.engines import engine_spec
from modelota.agent.journal import Journal
from modelota.agent.slot_access import SlotAccess
from modelota.agent.states import Retested
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock
from modelota.errors import ModelotaError
from modelota.runtime.messages import plain
from modelota.runtime.protocol import runtimes
from modelota.runtime.selftest import run_self_tests
from modelota.spec.api import ErrorBody
from modelota.spec.slot import SlotDescription
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.telemetry.profile import device_profile

_DRIVERS: Final = (Path("/proc/driver/nvidia/version"), Path("/sys/module/amdgpu/srcversion"))
RETRY_MAX_S: Final = 3600.0
_PROVED_WRONG: Final = frozenset({"self-test-failed", "self-test-not-run", "slot-damaged"})


def ground(layout: Layout, runtime: str) -> str:
    """What a proof rests on, as a digest: operating system, kernel, driver, agent, runtime."""
    profile = device_profile(layout.root)
    found = runtimes().get(runtime)
    facts = [
        profile.os_family,
        profile.os_id,
        profile.os_version,
        profile.kernel_version,
        profile.architecture,
        *(_text(path) for path in _DRIVERS),
        modelota.__version__,
        f"{runtime} {found.version() if found is not None else None}",
    ]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:1000]
    except OSError:
        return None


class Retester:
    """Proves the version in use of one model again when its ground changed.

    Args:
        model: its name.
        layout: of the device root.
        journal: keeps on which ground each slot proved itself.
        worker: runs the self-tests.
        clock: the time.
        retry_after_s: between attempts that told nothing, the first time; ever longer, up to an hour.
        current: the slot in use, or None.
        busy: an update is under way, which tests by itself.
        post: posts an event to the machine.
    """

    def __init__(
        self,
        model: str,
        layout: Layout,
        journal: Journal,
        worker: WorkerLink,
        clock: Clock,
        retry_after_s: float,
        *,
        current: Callable[[], SlotDescription | None],
        busy: Callable[[], bool],
        post: Callable[[Retested], Awaitable[bool]],
    ) -> None:
        self._model = model
        self._layout = layout
        self._journal = journal
        self._worker = worker
        self._clock = clock
        self._retry_after_s = retry_after_s
        self._current = current
        self._busy = busy
        self._post = post
        self._wake = asyncio.Event()
        self._attempt: asyncio.Task[bool] | None = None

    def _key(self, slot: SlotDescription) -> str:
        return f"proved {self._model} {slot.slot.name}"

    def proved(self, slot: SlotDescription) -> None:
        """The slot just passed its self-tests here."""
        self._journal.set_fact(self._key(slot), ground(self._layout, slot.runtime.name).encode())

    def begin(self, *, tested: bool) -> None:
        """Another version came into use; `tested`: it has just proved itself. If not, it did so before it was left."""
        slot = self._current()
        if slot is not None and tested:
            with suppress(ModelotaError):  # on a full disk it is proved once more at the next start
                self.proved(slot)
        self._wake.set()

    async def run(self) -> None:
        """Prove versions again whenever need be; an attempt that tells nothing is repeated ever more seldom."""
        wait_s = self._retry_after_s
        while True:
            self._attempt = asyncio.create_task(self.look())
            try:
                await asyncio.wait({self._attempt})
            finally:
                self._attempt.cancel()
            if self._attempt.cancelled() or self._busy():
                await self._clock.sleep(self._retry_after_s)
            elif self._attempt.result():
                await self._wake.wait()
                self._wake.clear()
                wait_s = self._retry_after_s
            else:
                await self._clock.sleep(wait_s)
                wait_s = max(wait_s, min(RETRY_MAX_S, 2 * wait_s))

    async def give_way(self) -> None:
        """End an attempt under way: an update, or a removal, needs memory, worker and slot. It is repeated later."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)

    async def look(self) -> bool:
        """Whether nothing is left to prove.

        A slot of before this was kept counts as proved on the ground of now: it passed when it was installed.
        """
        slot = self._current()
        if slot is None:
            return True
        if self._busy():
            return False
        try:
            known = self._journal.fact(self._key(slot))
            if known is None:
                self.proved(slot)
                return True
            if known == ground(self._layout, slot.runtime.name).encode():
                return True
            await self._worker.run("retesting", {"model": self._model, "target": slot.slot.name})
            self.proved(slot)
            await self._post(Retested(target=slot.slot, error=None))
        except ModelotaError as error:
            if error.code not in _PROVED_WRONG:
                return False  # inconclusive, no memory for a second engine, a full disk: the proof is still to be had
            failed = ErrorBody(code=error.code, params=plain(error.params))
            await self._post(Retested(target=slot.slot, error=failed))
        return True


async def retest(
    layout: Layout,
    config: Config,
    journal: Journal,
    disk: Disk,
    target: SlotDescription,
    report: Callable[[int, int | None], None],
    clock: Clock,
) -> dict[str, object]:
    """Run the self-tests of an installed slot once more, alone (in the worker).

    Raises:
        RefuseContent: `self-test-failed`, `self-test-not-run`, `slot-damaged`.
        TryLater: `self-test-inconclusive`, `engine-crashed`, `engine-start-failed`, `engine-timeout`.
    """
    spec = engine_spec(layout, config, target, purpose="test", access=SlotAccess(layout, journal, disk))
    record = await run_self_tests(target.self_tests, spec, None, clock=clock, on_progress=report, contract=True)
    journal.keep_self_test(target.model, target.slot, msgspec.json.encode(record))
    problem = record.problem()
    if problem is not None:
        raise problem
    return {"verdict": record.verdict, "tests": len(record.results)}
