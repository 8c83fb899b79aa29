"""What a version is and where it comes from, for its owner: from pinned manifests, slots and the journal (6.2-a).

Nothing is fetched for it. A manifest is mostly chunks and routes; what is read here of it is decoded alone, so that the
supervisor stays small.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from modelota.agent.core import Core
from modelota.agent.deciding import offer
from modelota.agent.model_loop import ModelLoop
from modelota.agent.origins import origin_of
from modelota.errors import AskPerson
from modelota.spec.api_owner import ModelAbout, ReleaseAbout, ServiceView
from modelota.spec.manifest import Interface, Localised, Provenance, Requires, RuntimeUse
from modelota.spec.slot import SlotId
from modelota.storage.space import inodes

USER_DATA_ENTRIES_MAX: Final = 20_000  # more are not counted for an answer that somebody waits for


class _Variant(msgspec.Struct, frozen=True):
    name: str
    runtime: RuntimeUse
    requires: Requires = Requires()


class _Release(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a manifest (`modelota.spec.manifest.Manifest`) that is told."""

    released_at: str
    notes: Localised
    permissions: tuple[str, ...] = ()
    device_models: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    provenance: Provenance = Provenance()
    variants: tuple[_Variant, ...]

    def variant(self, name: str) -> _Variant | None:
        return next((variant for variant in self.variants if variant.name == name), None)

    @property
    def callable_interfaces(self) -> dict[str, str]:
        return {interface.name: str(interface.version) for interface in self.interfaces}


async def model_about(core: Core, model: str | None) -> ModelAbout:
    """What the version in use is and can do; without one, only what people call the model.

    Raises:
        AskPerson: `argument-invalid`, `database-unreadable`.
    """
    loop = core.loop(model)
    title, slot = core.journal.title(loop.model), loop.state.current
    description = core.journal.slot(loop.model, slot) if slot is not None else None
    user_data_bytes = await asyncio.to_thread(_bytes_below, core.layout.model(loop.model).user_data)
    if slot is None or description is None:
        return ModelAbout(model=loop.model, title=title, user_data_bytes=user_data_bytes)
    release = _release(core, description.manifest_digest)
    origin = origin_of(core.journal, description.manifest_digest)
    return ModelAbout(
        model=loop.model,
        title=title,
        version=slot.version,
        variant=slot.variant,
        runtime=_runtime(core, loop.model, slot, description.runtime.name),
        interfaces=release.callable_interfaces if release else {},
        permissions=description.permissions,
        notes={str(language): text for language, text in release.notes.items()} if release else {},
        size_bytes=description.size_bytes,
        released_at=release.released_at if release else None,
        installed_at=core.journal.activated_at(loop.model, slot),
        from_url=origin.from_url if origin else None,
        signed_by=origin.signed_by if origin else (),
        user_data_bytes=user_data_bytes,
        service=_service(loop, slot),
    )


def release_about(core: Core, offer_digest: str) -> ReleaseAbout:
    """What stands behind an offer: requirements, provenance, where from, who signed.

    Raises:
        AskPerson: `no-offer`: none has this digest, or its manifest is not kept any more; `database-unreadable`.
    """
    view = offer(core, offer_digest)
    release = _release(core, view.offer.manifest_digest)
    variant = release.variant(view.offer.to_variant) if release else None
    if release is None or variant is None:
        raise AskPerson("no-offer", model=view.offer.model)
    origin = origin_of(core.journal, view.offer.manifest_digest)
    return ReleaseAbout(
        offer_digest=view.digest,
        model=view.offer.model,
        version=view.offer.to_version,
        variant=variant.name,
        released_at=release.released_at,
        runtime=variant.runtime.name,
        requires=variant.requires,
        device_models=release.device_models,
        interfaces=release.callable_interfaces,
        provenance=release.provenance,
        manifest_digest=view.offer.manifest_digest,
        from_url=origin.from_url if origin else None,
        signed_by=origin.signed_by if origin else (),
        learnt_at=origin.at if origin else None,
    )


def _release(core: Core, manifest_digest: str) -> _Release | None:
    """What a pinned manifest says; None when it is not kept (a seeded device has no more than its slot)."""
    body = core.journal.manifest_body(manifest_digest)
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=_Release)
    except msgspec.MsgspecError as error:
        raise AskPerson("database-unreadable", path=str(core.layout.database), detail=str(error)[:200]) from error


def _runtime(core: Core, model: str, slot: SlotId, name: str) -> str:
    """The runtime, with the version that the slot's newest self-test found here."""
    for tested, _, record in reversed(core.journal.self_tests(model)):
        if tested == slot.name and record.get("runtime") == name and record.get("runtime_version"):
            return f"{name} {record['runtime_version']}"
    return name


def _service(loop: ModelLoop, slot: SlotId) -> ServiceView | None:
    """How the version did since it came into use; None before its first request."""
    figures = loop.watcher.figures(slot.name)
    if not figures.requests:
        return None
    return ServiceView(
        requests=figures.requests,
        errors=figures.errors,
        tokens_per_s=figures.tokens_per_s,
        memory_bytes=figures.memory_bytes,
    )


def _bytes_below(path: Path) -> int | None:
    """Allocated bytes of the user's data; None when there are too many entries to count."""
    found = list(islice(inodes(path), USER_DATA_ENTRIES_MAX + 1))
    return sum(found) if len(found) <= USER_DATA_ENTRIES_MAX else None
