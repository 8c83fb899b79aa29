"""An agent for the command line's tests: answers from a script, remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from modelota.cli.failure import Reported
from modelota.errors import ModelotaError, error_from
from modelota.spec import api, api_owner
from modelota.spec.offer import Covers, Offer

MODEL = "acme/assistant"
AT = "2026-11-24T06:00:00Z"


def offer_view(**changes: Any) -> api.OfferView:
    """An offer to move from 1.1.1 to 1.1.2."""
    offer = Offer(
        model=MODEL,
        direction="update",
        from_version="1.1.1",
        from_variant="q8",
        to_version="1.1.2",
        to_variant="q8",
        manifest_digest="1" * 64,
        plan_digest="2" * 64,
        mode="full",
        planned_bytes=38_000_000,
        ceiling_bytes=42_000_000,
        full_bytes=38_000_000,
        installed_bytes=40_000_000,
        peak_space_bytes=80_000_000,
        kind="fix",
        notes={"en": "Fixes unit conversion.", "zh-CN": "修正单位换算。"},
        covers=Covers(fetch_up_to_bytes=42_000_000, keep_versions=("1.1.1",)),
    )
    offer = msgspec.structs.replace(offer, **changes)
    return api.OfferView(offer=offer, digest=offer.digest, made_at=AT, estimate_s=360.0, title={"zh-CN": "小助手"})


def model_status(**changes: Any) -> api.ModelStatus:
    """A model at rest with 1.1.1 in use."""
    status = api.ModelStatus(model=MODEL, phase="idle", active_version="1.1.1", active_variant="q8")
    return msgspec.structs.replace(status, **changes)


def outcome(result: str = "done", **changes: Any) -> api.Outcome:
    """How the update to 1.1.2 ended."""
    made = api.Outcome(
        operation="update",
        result=result,  # type: ignore[arg-type]  # the tests name real results
        from_version="1.1.1",
        to_version="1.1.2",
        active_version="1.1.2" if result == "done" else "1.1.1",
        error=None,
        finished_at=AT,
    )
    return msgspec.structs.replace(made, **changes)


class FakeAgent:
    """Answers requests; a decision or rollback plays `script`: events, and the status after them."""

    def __init__(self, *models: api.ModelStatus, embedded: bool = False) -> None:
        self.embedded = embedded
        self.models = models or (model_status(),)
        self.offer: api.OfferView | None = offer_view()
        self.script: list[api.Event] = []
        self.after_script: tuple[api.ModelStatus, ...] | None = None
        self.errors: dict[str, tuple[ModelotaError, str, dict[str, Any]]] = {}
        self.answers: dict[str, object] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.closed = False
        self.opened = 0
        self.refused: tuple[api.ErrorBody, ...] = ()
        self.was_asked = asyncio.Event()
        self.drained = asyncio.Event()  # somebody waits for an event, and there is none left
        self.listened = asyncio.Event()  # somebody follows the events
        self.rested = asyncio.Event()  # the status was read, and all that lies beside it
        self._events: asyncio.Queue[api.Event] = asyncio.Queue()

    def bodies(self, path: str) -> list[Any]:
        """What was sent to `path`."""
        return [body for _, asked, body in self.asked if asked == path]

    def posted(self, path: str) -> list[Any]:
        """What was posted to `path`."""
        return [body for method, asked, body in self.asked if (method, asked) == ("POST", path)]

    async def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] = {},
    ) -> bytes:
        self.asked.append((method, path, body if body is not None else dict(query)))
        self.was_asked.set()
        if path == "/v1/notices":
            self.rested.set()
        if path in self.errors:
            error, now, now_params = self.errors[path]
            raise Reported(error_from(error.code, error.params), now, now_params)
        if path in {"/v1/decisions", "/v1/rollback", "/v1/resume"}:
            await self._play()
        return msgspec.json.encode(self.answers.get(path) or self._answer(path))

    def _answer(self, path: str) -> object:
        if path == "/v1/status":
            return api.Status(
                api=1,
                agent_version="0.1.0",
                root="/device",
                supervisor=not self.embedded,
                repository_url="https://models.example.com",
                device_class="dev",
                models=self.models,
            )
        if path == "/v1/check":
            result = api.CheckResult(
                model=MODEL, offer=self.offer, up_to_date=self.offer is None and not self.refused, refused=self.refused
            )
            return [result]
        if path.startswith("/v1/offers/"):
            return self.offer
        if path == "/v1/decisions":
            return self.models[0]
        if path == "/v1/notices":
            return api_owner.NoticesPage(notices=())
        if path == "/v1/rollback":
            return api.RollbackResult(model=MODEL, started=True)
        return {}

    async def _play(self) -> None:
        for event in self.script:
            await self._events.put(event)
        if self.after_script is not None:
            self.models = self.after_script

    async def become(self, model: api.ModelStatus, happened: api.Event) -> None:
        """Be in another state, and tell it."""
        self.models = (model,)
        await self._events.put(happened)

    async def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        number = 0
        self.listened.set()
        while True:
            if self._events.empty() and number:
                self.drained.set()
            number += 1
            yield await self._events.get()

    async def aclose(self) -> None:
        self.closed = True

    def opener(self) -> Callable[..., Any]:
        """What stands in for `agent_access.open_access`."""

        @asynccontextmanager
        async def open_access(root: Path, *, needs_supervisor: bool = False) -> AsyncIterator[FakeAgent]:
            self.opened += 1
            try:
                yield self
            finally:
                await self.aclose()

        return open_access


def event(number: int, kind: str, data: dict[str, Any] | msgspec.Struct) -> api.Event:
    """An event of the fake agent's model."""
    plain = msgspec.to_builtins(data)
    return api.Event(id=number, at=AT, kind=kind, model=MODEL, data=plain)  # type: ignore[arg-type]  # real kinds
