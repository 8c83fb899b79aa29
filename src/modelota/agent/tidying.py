"""After an operation: `current` points where the state says, staging is empty, slots go that are not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelota.agent.journal import Journal
from modelota.agent.leftovers import remove_cut_short, remove_leftovers
from modelota.agent.states import State
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock
from modelota.errors import ModelotaError
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.slots import Slots


class Tidying:
    """Tidies up one model.

    Args:
        model: its name.
        layout: of the device root.
        journal: of the root.
        slots: its slots.
        disk: writes.
        sealer: the worker that seals what kept versions need.
        clock: the time.
        state: of the model, now.
        failed: told an error that nothing in use depends on; it is tried again at the next start.

    Attributes:
        keeping: the sealing under way, or the last one.
    """

    def __init__(
        self,
        model: str,
        layout: Layout,
        journal: Journal,
        slots: Slots,
        disk: Disk,
        sealer: Callable[[], WorkerLink],
        clock: Clock,
        *,
        state: Callable[[], State],
        failed: Callable[[ModelotaError], None],
    ) -> None:
        self._model = model
        self._root_layout = layout
        self._layout = layout.model(model)
        self._journal = journal
        self._slots = slots
        self._disk = disk
        self._sealer = sealer
        self._clock = clock
        self._state = state
        self._failed = failed
        self.keeping: asyncio.Task[None] | None = None

    async def clean(self, keep: tuple[SlotId, ...], seal: tuple[SlotId, ...]) -> None:
        """Point `current` where the state says, empty staging, remove slots that are not kept (requirement 7.2-b)."""
        try:
            current = self._state().current
            if self._slots.current() != current:
                if current is None:
                    self._slots.clear_current()
                else:
                    self._slots.switch(current)
            if self.keeping is not None:
                self.keeping.cancel()
                await asyncio.gather(self.keeping, return_exceptions=True)
                self.keeping = None
            names = {slot.name for slot in keep}
            leaving = set(self._slots.found()) - names
            if (leaving and seal) or (not seal and self._layout.kept.exists()):
                # sealing takes as long as reading a model: nothing that happens meanwhile is to wait for it
                self.keeping = asyncio.create_task(self._keep(keep, seal))
            else:
                if self._layout.staging.exists() or leaving:
                    await asyncio.to_thread(remove_leftovers, self._root_layout, self._model, names, self._clock)
                self._journal.forget_slots(self._model, (*keep, *seal))
            remove_cut_short(self._journal, self._disk, self._layout.backups)
            for description in self._journal.slots(self._model):  # slots of an agent that did not do so
                self._slots.keep_description(description, self._journal.manifest_body(description.manifest_digest))
        except ModelotaError as error:
            self._failed(error)

    async def _keep(self, keep: tuple[SlotId, ...], seal: tuple[SlotId, ...]) -> None:
        """Have the worker seal what `seal` needs, then remove the slots; cut short, the next start repeats it."""
        arguments = {
            "model": self._model,
            "keep": [slot.name for slot in keep],
            "seal": [slot.name for slot in seal],
        }
        try:
            await self._sealer().run("keep", arguments)
            self._journal.forget_slots(self._model, (*keep, *seal))
        except ModelotaError as error:
            self._failed(error)
