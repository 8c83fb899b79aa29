"""Which versions a device has, keeps, or can have."""

from __future__ import annotations

import msgspec

from modelota.agent.core import Core
from modelota.agent.withdrawals import warning_about
from modelota.spec import api
from modelota.spec.version import Version


def versions(core: Core, model: str | None) -> api.VersionsPage:
    """Versions that the device has or, by the last check, can have; newest first."""
    loop = core.loop(model)
    state = loop.state
    views: dict[str, api.VersionView] = {}
    for version, released_at, kind, notes in core.journal.releases(loop.model):
        views[version] = api.VersionView(
            version=version,
            variant=None,
            state="withdrawn" if kind == "withdrawn" else "available",
            released_at=released_at,
            failed=version in state.failed,
            notes=notes,
        )
    for slot in state.slots:
        description = core.journal.slot(loop.model, slot)
        known = views.get(slot.version)
        views[slot.version] = api.VersionView(
            version=slot.version,
            variant=slot.variant,
            state="active" if slot == state.current else "previous" if slot == state.previous else "kept",
            size_bytes=description.size_bytes if description else None,
            installed_at=core.journal.activated_at(loop.model, slot),
            released_at=known.released_at if known else None,
            failed=slot.version in state.failed,
            notes=known.notes if known else {},
        )
    for slot in state.kept:
        known = views.get(slot.version)
        if known is None or known.state in {"available", "withdrawn"}:
            views[slot.version] = api.VersionView(
                version=slot.version,
                variant=slot.variant,
                state="sealed",
                size_bytes=None,
                installed_at=core.journal.activated_at(loop.model, slot),
                released_at=known.released_at if known else None,
                failed=slot.version in state.failed,
                notes=known.notes if known else {},
            )
    told = (
        msgspec.structs.replace(view, withdrawn=warning_about(core.journal, loop.model, view.version))
        for view in views.values()
    )
    ordered = sorted(told, key=lambda view: Version.parse(view.version), reverse=True)
    return api.VersionsPage(model=loop.model, versions=tuple(ordered))
