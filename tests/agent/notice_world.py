"""The notices of a device root, without the rest of an agent, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from tests.cli.fake_agent import offer_view

from modelota.agent.config import NotificationSettings
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.notices import Notices
from modelota.agent.states import State
from modelota.spec.api_owner import Notice
from modelota.spec.api_query import NoticesQuery
from modelota.spec.offer import Decision, Offer, Plan
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

MODEL, OTHER = "acme/assistant", "acme/other"
SHANGHAI = ZoneInfo("Asia/Shanghai")
CURRENT = SlotId("1.1.1", "q8")
TARGET = SlotId("1.1.2", "q8")
QUIET = NotificationSettings(quiet="22:00-07:00")
EVENING = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)  # 23:00 in Shanghai
MORNING = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)  # 07:00


class World:
    """A device root's notices, without the rest of an agent.

    Attributes:
        given: what was handed out, oldest first.
    """

    def __init__(self, place: Path, clock: ManualClock, settings: NotificationSettings | None = None) -> None:
        self.place = place
        self.clock = clock
        self.settings = settings or NotificationSettings()
        self.models: dict[str, Any] = {name: SimpleNamespace(state=State()) for name in (MODEL, OTHER)}
        self.given: list[Notice] = []
        self.journal = Journal(place / "agent.db", clock)
        self._start()

    def _start(self) -> None:
        self.hub = Hub(self.clock)
        self.notices = Notices(self.journal, self.hub, self.models, self.settings, self.clock, zone=SHANGHAI)

    def restart(self) -> None:
        """End the agent and start it again."""
        self.journal.close()
        self.journal = Journal(self.place / "agent.db", self.clock)
        self._start()

    def offered(self, **changes: Any) -> str:
        """An offer stands; its digest."""
        offer: Offer = offer_view(**changes).offer
        plan = Plan(mode="full", manifest_digest="1" * 64, variant="q8", frames=())
        digest = self.journal.keep_offer(offer, plan, estimate_s=360.0, estimate_is_guess=False)
        self.change(offer.model, offer=digest)
        return digest

    def change(self, model: str = MODEL, **changes: Any) -> None:
        """Change a model's state."""
        self.models[model].state = msgspec.structs.replace(self.models[model].state, **changes)

    def answered(self, digest: str, answer: str, ended_as: str | None = None) -> None:
        """Somebody answered."""
        self.journal.decisions.record(
            Decision(
                offer_digest=digest,
                answer=answer,  # type: ignore[arg-type]  the tests name real answers
                authority="uid:1",
                channel="page",
                at="2026-11-24T06:00:00Z",
            )
        )
        if ended_as is not None:
            self.journal._db.execute("UPDATE decisions SET ended_as = ?", (ended_as,))

    def turn(self) -> list[str]:
        """Look at every model, as after an event of each, and hand out what is due; keys of what came."""
        before = len(self.given)
        self.notices._changed |= dict.fromkeys(self.models)
        self.wait_s = self.notices._turn(self.given.append)
        return [notice.key for notice in self.given[before:]]

    def standing(self) -> list[str]:
        """Keys of what stands and is due."""
        return [notice.key for notice in self.notices.page(NoticesQuery(), authority="uid:1").notices]
