"""What can be asked of an open device root about residues: look for them, see them, have them removed (clause 7.4).

One scan or removal at a time, in the maintenance worker, which yields to everything else. How it stands is in the
database before anything is done, so a restart goes on with it: a scan begins anew, and a removal that its owner
confirmed is carried to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from modelota.agent.cleaning_table import Cleaning
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock, iso
from modelota.errors import AskPerson, ModelotaError, OurBug
from modelota.runtime.messages import plain
from modelota.spec.api import ErrorBody
from modelota.spec.api_cleaning import CleaningResult, CleaningView, FindingsPage, RemovalsPage
from modelota.spec.api_owner import CleaningAccept, CleaningRequest
from modelota.spec.api_query import PageQuery

PROGRESS_EVERY_S: Final = 1.0  # a scan may take an hour, and every event wakes whoever listens
ENTRIES_MAX: Final = 200  # of an answer

_RUNNING: Final = frozenset({"scanning", "removing"})


class CleaningDesk:
    """Takes requests about cleaning, and carries them out one after the other.

    Args:
        journal: of the root.
        hub: told of every change.
        worker: that yields to others.
        clock: stamps.
    """

    def __init__(self, journal: Journal, hub: Hub, worker: WorkerLink, clock: Clock) -> None:
        self._journal = journal
        self._hub = hub
        self._worker = worker
        self._clock = clock
        self._kept = journal.cleaning.load()
        self._task: asyncio.Task[None] | None = None
        self._progress: tuple[int, int | None] = (0, None)

    # -- asked -----------------------------------------------------------------------------------------------------

    def view(self) -> CleaningView:
        """How the cleaning stands."""
        view = self._kept.view
        if view.state not in _RUNNING:
            return view
        done, total = self._progress
        return msgspec.structs.replace(view, done=done, total=total)

    def scan(self, request: CleaningRequest, *, authority: str) -> CleaningView:
        """Begin to look for residues; what an earlier scan found is forgotten. Nothing is removed.

        Raises:
            AskPerson: `cleaning-in-progress`; `argument-invalid`: `within` is not an absolute path.
        """
        self._require_none_running()
        if request.within is not None and not request.within.startswith("/"):
            raise AskPerson("argument-invalid", argument="within", detail="not-a-directory")
        view = CleaningView(
            state="scanning",
            deep=request.deep or request.within is not None,
            within=request.within,
            began_at=self._now(),
        )
        self._begin(Cleaning(view=view, authority=authority))
        return self.view()

    async def stop(self, *, authority: str) -> CleaningView:
        """Stop a scan, or put away what was found; a removal that was confirmed goes on to its end.

        Raises:
            AskPerson: `cleaning-in-progress`: it removes.
        """
        if self._kept.view.state == "removing":
            self._require_none_running()
        stopped = self._kept.view.state == "scanning"
        await self._end_task()
        if stopped:
            self._journal.note("", "cleaning-stopped", {"authority": authority})
        self._keep(Cleaning())
        return self.view()

    def remove(self, request: CleaningAccept, *, authority: str) -> CleaningView:
        """Have removed what the newest scan found certain, and of what is probable what is named.

        Raises:
            AskPerson: `cleaning-in-progress`; `no-plan`: nothing was looked for; `plan-changed`: something else was
                found meanwhile; `argument-invalid` (`unknown-finding`).
        """
        self._require_none_running()
        view = self._kept.view
        if view.plan_digest is None:
            raise AskPerson("no-plan", digest=request.plan_digest[:64])
        if view.plan_digest != request.plan_digest:
            raise AskPerson("plan-changed", digest=request.plan_digest[:64], now=view.plan_digest)
        accepted = tuple(dict.fromkeys(request.probable))
        known = set(self._journal.cleaning.probable()) if accepted else set[str]()
        for name in accepted:
            if name not in known:
                raise AskPerson("argument-invalid", argument=name[:80], detail="unknown-finding")
        facts = {"plan_digest": view.plan_digest, "certain": view.certain, "probable": len(accepted)}
        self._journal.note("", "cleaning-confirmed", {**facts, "authority": authority, "channel": request.channel})
        removing = msgspec.structs.replace(
            view, state="removing", done=0, total=None, result=None, error=None, began_at=self._now(), ended_at=None
        )
        self._begin(Cleaning(view=removing, authority=authority, channel=request.channel, accepted=accepted))
        return self.view()

    def findings(self, query: PageQuery) -> FindingsPage:
        """What the newest scan found, piece by piece.

        Raises:
            AskPerson: `no-plan`: nothing was looked for.
        """
        page = self._journal.cleaning.findings(query.after, _limit(query)) if self._kept.view.plan_digest else None
        if page is None:
            raise AskPerson("no-plan", digest="")
        return page

    def removals(self, query: PageQuery) -> RemovalsPage:
        """What became of the findings, piece by piece.

        Raises:
            AskPerson: `no-plan`: nothing was removed.
        """
        page = self._journal.cleaning.removals(query.after, _limit(query)) if self._kept.view.result else None
        if page is None:
            raise AskPerson("no-plan", digest=self._kept.view.plan_digest or "")
        return page

    # -- carried out -----------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Go on with what was under way when the agent last ended."""
        if self._task is None and self._kept.view.state in _RUNNING:
            self._start()

    async def aclose(self) -> None:
        """Stop for now; the next start goes on."""
        await self._end_task()

    def _require_none_running(self) -> None:
        if self._kept.view.state in _RUNNING:
            raise AskPerson("cleaning-in-progress", detail=self._kept.view.state)

    def _begin(self, cleaning: Cleaning) -> None:
        self._keep(cleaning)
        self._start()

    def _start(self) -> None:
        self._progress = (0, None)
        self._task = asyncio.create_task(self._run(self._kept))

    async def _run(self, kept: Cleaning) -> None:
        try:
            if kept.view.state == "scanning":
                await self._look(kept)
            else:
                await self._remove(kept)
        except ModelotaError as error:
            self._failed(kept, error)
        except Exception as error:  # noqa: BLE001  nobody awaits this task: what it did not foresee is told, not lost
            self._failed(kept, OurBug("unexpected", kind=type(error).__name__, detail=str(error)[:300]))

    async def _look(self, kept: Cleaning) -> None:
        arguments = {"deep": kept.view.deep, "within": kept.view.within}
        found = msgspec.json.decode(
            await self._worker.run("cleaning-scan", arguments, self._report()), type=CleaningView
        )
        view = msgspec.structs.replace(found, began_at=kept.view.began_at, ended_at=self._now())
        facts = {"certain": view.certain, "certain_bytes": view.certain_bytes, "probable": view.probable}
        self._journal.note(
            "", "cleaning-found", {**facts, "authority": kept.authority, "plan_digest": view.plan_digest}
        )
        self._keep(msgspec.structs.replace(kept, view=view))

    async def _remove(self, kept: Cleaning) -> None:
        arguments: dict[str, Any] = {"plan_digest": kept.view.plan_digest}
        data = await self._worker.run("cleaning-apply", arguments, self._report())
        result = msgspec.json.decode(data, type=CleaningResult)
        facts = {"removed": result.removed, "gone": result.gone, "refused": result.refused}
        self._journal.note("", "cleaned", {**facts, "removed_bytes": result.removed_bytes, "authority": kept.authority})
        view = msgspec.structs.replace(kept.view, state="done", ended_at=self._now(), result=result)
        self._keep(msgspec.structs.replace(kept, view=view))

    def _failed(self, kept: Cleaning, error: ModelotaError) -> None:
        body = ErrorBody(code=error.code, params=plain(error.params))
        view = msgspec.structs.replace(kept.view, state="failed", ended_at=self._now(), error=body)
        self._kept = msgspec.structs.replace(kept, view=view)
        self._tell()
        with suppress(ModelotaError):  # when even this can't be written, the next start tries again
            self._journal.note("", "cleaning-failed", {"code": body.code, "params": body.params})
            self._journal.cleaning.keep(self._kept)

    def _report(self) -> Callable[[int, int | None], None]:
        now = asyncio.get_running_loop().time
        told = now() - PROGRESS_EVERY_S

        def report(done: int, total: int | None) -> None:
            nonlocal told
            self._progress = (done, total)
            if now() - told >= PROGRESS_EVERY_S:
                told = now()
                self._tell()

        return report

    def _keep(self, cleaning: Cleaning) -> None:
        self._journal.cleaning.keep(cleaning)
        self._kept = cleaning
        self._tell()

    def _tell(self) -> None:
        view = self.view()
        self._hub.publish("cleaning", "", {"state": view.state, "done": view.done, "total": view.total})

    async def _end_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _now(self) -> str:
        return iso(self._clock.now())


def _limit(query: PageQuery) -> int:
    return max(1, min(query.limit, ENTRIES_MAX))
