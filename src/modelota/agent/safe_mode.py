"""A device whose database can't be read: what is in use goes on serving, nothing is changed, and a person is asked.

The database alone says what was decided, so without it nothing is decided: every request but to look and to chat is
refused with the error of the database and its remedy. What was in use is known without it: `current` is the commit
point of every change, and each slot holds a copy of its description, by whose digests the engine verifies all its
files before it starts. The database is neither changed nor removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

import modelota
from modelota.agent import answering
from modelota.agent.access import group_id
from modelota.agent.config import read_config
from modelota.agent.local_secret import local_secret, slot_secret
from modelota.agent.serving import Serving
from modelota.agent.slot_access import SlotAccess
from modelota.clock import Clock, SystemClock
from modelota.errors import AskPerson, ModelotaError
from modelota.runtime.gateway import Gateway
from modelota.runtime.http_server import serve_unix
from modelota.runtime.messages import JSON, Reply, Request, Response, plain, status_of
from modelota.runtime.protocol import FileStamp, SlotSecret
from modelota.spec import api
from modelota.spec.names import is_name
from modelota.spec.slot import SlotDescription
from modelota.spec.version import Version
from modelota.storage.durable import Disk, check_ours
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.lock import RootLock
from modelota.storage.slots import Slots

GATEWAY_WAIT_S: Final = 120.0
_OF_THE_DATABASE: Final = {"database-unreadable", "database-newer"}
_OF_ITS_FILE: Final = {"permission-denied", "disk-error", "no-space"}


class SafeCore:
    """A device root whose database can't be read. Made by `SafeCore.open`."""

    def __init__(self, layout: Layout, lock: RootLock, error: ModelotaError, clock: Clock) -> None:
        self.layout = layout
        self.error = error
        self.config = read_config(layout.config)
        self._lock = lock
        self._disk = Disk((layout.root, layout.runtime_directory), NoLedger())
        self._disk.make_directory(layout.runtime_directory)
        check_ours(layout.runtime_directory, layout.root)
        self._disk.make_directory(layout.engine_sockets)
        self.gateway = Gateway(self._ensure, wait_s=GATEWAY_WAIT_S)
        access = _ReadOnlyAccess(layout, self._disk, error)
        self._servings = {
            model: Serving(
                model,
                layout,
                self.config,
                clock,
                self.gateway.upstreams,
                current=lambda model=model: self._current(model),  # type: ignore[misc]  # mypy knows no default of a lambda
                changed=lambda: None,
                crashed=_crashed,
                access=access,
            )
            for model in _models(layout)
        }
        for model in self._servings:
            self.gateway.upstreams.declare(model)

    @classmethod
    def open(cls, root: Path, error: ModelotaError, *, clock: Clock | None = None) -> SafeCore:
        """Open a root that `Core.open` could not.

        Raises:
            ModelotaError: `error` itself, when it is not about the database or nothing is in use here.
            TryLater: `device-busy`.
            AskPerson: `config-invalid`, `root-not-private`.
        """
        layout = Layout.at(root)
        if error.code == "not-enrolled" and _models(layout):  # an emptied database looks like a new one
            error = AskPerson("database-unreadable", path=str(layout.database), detail="empty")
        path_only = error.code in _OF_ITS_FILE and error.params.get("path") == str(layout.database)
        if not (error.code in _OF_THE_DATABASE or path_only) or not _models(layout):
            raise error
        lock = RootLock(layout.lock)
        try:
            return cls(layout, lock, error, clock or SystemClock())
        except BaseException:
            lock.release()
            raise

    async def aclose(self) -> None:
        """Stop the engines, and give the root up."""
        await self.gateway.close()
        for serving in self._servings.values():
            await serving.aclose()
        self._lock.release()

    async def keep_running(self) -> None:
        """Have the engines of what is in use run."""
        await asyncio.gather(*(serving.keep_running() for serving in self._servings.values()))

    async def _ensure(self, model: str) -> None:
        await self._servings[self._name(model)].ensure()

    def _name(self, model: str | None) -> str:
        if model is None and len(self._servings) == 1:
            return next(iter(self._servings))
        if model is None or model not in self._servings:
            raise AskPerson("argument-invalid", argument="model", detail="not-in-use")
        return model

    def _slots(self, model: str) -> Slots:
        return Slots(self.layout.model(model), self._disk)

    def _current(self, model: str) -> SlotDescription | None:
        slots = self._slots(model)
        current = slots.current()
        found = slots.kept_description(current) if current is not None else None
        return found if found is not None and found.model == model else None

    async def handle(self, request: Request) -> Reply:
        """Answer one request on the socket."""
        try:
            body = msgspec.json.encode(await self._answer(request))
            return Response(status=200, headers={"content-type": JSON}, body=body)
        except ModelotaError as error:
            told = msgspec.json.encode(self._told(error))
            return Response(status=status_of(error), headers={"content-type": JSON}, body=told)

    async def _answer(self, request: Request) -> object:
        match (request.method, request.path):
            case ("GET", "/v1/status"):
                return self.status()
            case ("GET", "/v1/versions"):
                return self.versions(request.query.get("model"))
            case ("POST", "/v1/chat"):
                return await self.chat(answering.body_as(request.body, api.ChatRequest).model)
            case _:
                answering.find(request.method, request.path)
                raise self.error

    def _told(self, error: ModelotaError) -> api.ErrorBody:
        in_use = [slots for slots in map(self._current, self._servings) if slots is not None]
        body = api.ErrorBody(code=error.code, params=plain(error.params))
        if len(in_use) != 1:
            return msgspec.structs.replace(body, now="unchanged")
        return msgspec.structs.replace(body, now="serving", now_params={"version": in_use[0].slot.version})

    def status(self) -> api.Status:
        """How the device is: degraded, and why."""
        return api.Status(
            api=api.API_VERSION,
            agent_version=modelota.__version__,
            root=str(self.layout.root),
            supervisor=True,
            repository_url="",
            device_class="",
            models=tuple(self._model_status(model, serving) for model, serving in self._servings.items()),
            agent_socket=str(self.layout.agent_socket),
            gateway_socket=str(self.layout.gateway_socket),
        )

    def _model_status(self, model: str, serving: Serving) -> api.ModelStatus:
        current = self._slots(model).current()
        return api.ModelStatus(
            model=model,
            phase="degraded",
            active_version=current.version if current else None,
            active_variant=current.variant if current else None,
            engine=serving.state,
            engine_error=serving.error,
            error=self._told(self.error),
        )

    def versions(self, model: str | None) -> api.VersionsPage:
        """The versions whose slots describe themselves, newest first."""
        name = self._name(model)
        slots = self._slots(name)
        current = slots.current()
        views = [
            api.VersionView(
                version=found.slot.version,
                variant=found.slot.variant,
                state="active" if found.slot == current else "kept",
                size_bytes=found.size_bytes,
            )
            for found in slots.described()
        ]
        views.sort(key=lambda view: Version.parse(view.version), reverse=True)
        return api.VersionsPage(model=name, versions=tuple(views))

    async def chat(self, model: str | None) -> api.ChatResult:
        """Have the engine run, and say where applications reach it.

        Raises:
            ModelotaError: the database's, when the slot in use does not describe itself; the engine could not be
                started.
        """
        name = self._name(model)
        current = self._current(name)
        if current is None:
            raise self.error
        await self._servings[name].ensure()
        return api.ChatResult(model=name, version=current.slot.version, gateway_socket=str(self.layout.gateway_socket))


class _ReadOnlyAccess(SlotAccess):
    """Opens slots without the database: nothing counts as verified, and no secret is made."""

    def __init__(self, layout: Layout, disk: Disk, error: ModelotaError) -> None:
        self._root = layout
        self._writer = disk
        self._error = error

    def secret(self, slot: SlotDescription) -> SlotSecret | None:
        if slot.at_rest != "sealed":
            return None
        if not self._root.seal_secret.exists():
            raise self._error
        return SlotSecret(slot_secret(local_secret(self._root, self._writer), slot.model, slot.slot))

    def stamps(self, slot: SlotDescription) -> Mapping[str, FileStamp]:  # noqa: ARG002  whatever the slot
        return {}

    def note(self, slot: SlotDescription, stamps: Mapping[str, FileStamp]) -> None:
        """Forget it: there is nowhere to note it."""


async def _crashed(_: api.ErrorBody) -> None:
    """Nothing to count it in; the engine is started again all the same."""


def _models(layout: Layout) -> tuple[str, ...]:
    """The models with a version in use."""
    found = []
    for link in sorted((layout.root / "models").glob("*/*/current")):
        vendor, product = link.parent.parent.name, link.parent.name
        if is_name(vendor) and is_name(product) and link.is_symlink():
            found.append(f"{vendor}/{product}")
    return tuple(found)


async def serve_safely(core: SafeCore, stop: asyncio.Event, ready: Callable[[SafeCore], None] | None) -> None:
    """Serve until `stop` is set.

    Args:
        core: opened; closed at the end.
        stop: ends it.
        ready: called once the socket answers.
    """
    try:
        group = group_id(core.config.access)
        server = await serve_unix(core.layout.agent_socket, core.handle, mode=0o660, group=group)
        try:
            await core.gateway.serve_unix(core.layout.gateway_socket, group=group)
            running = asyncio.create_task(core.keep_running())
            if ready is not None:
                ready(core)
            await stop.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            await server.close()
    finally:
        await core.aclose()
