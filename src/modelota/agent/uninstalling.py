"""Uninstall a model: plan what goes, remove it, prove it (clause 7.3, design decision 11). Runs in the worker.

Only what lies below the model's own directory is removed, by the one writer, which follows no link. Records, anchors
and the ledger stay: they are what later cleaning recognises residues by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from modelota.agent.journal import Journal
from modelota.clock import Clock, iso
from modelota.errors import AskPerson
from modelota.spec.document import canonical, read
from modelota.spec.removal import (
    PASSING,
    ItemKind,
    Reason,
    RemovalItem,
    RemovalPlan,
    RemovalProof,
    RemovedItem,
    UserDataChoice,
)
from modelota.storage.durable import Disk, disk_errors, free_bytes
from modelota.storage.layout import Layout, ModelLayout
from modelota.storage.space import allocated_bytes

PLAN_MAX_BYTES: Final = 4 * 1024 * 1024


class Uninstaller:
    """Uninstalls models of one device root.

    Args:
        layout: of the root.
        journal: keeps plans and proofs.
        disk: the writer.
        clock: the time.
    """

    def __init__(self, layout: Layout, journal: Journal, disk: Disk, clock: Clock) -> None:
        self._layout = layout
        self._journal = journal
        self._disk = disk
        self._clock = clock

    def plan(self, model: str, reason: Reason, user_data: UserDataChoice) -> RemovalPlan:
        """What uninstalling `model` would remove; kept under its identity so that it can be confirmed.

        Raises:
            AskPerson: `no-model-installed`, `permission-denied`.
            TryLater: `disk-error`.
        """
        state = self._journal.state(model)
        if not (state.current or state.slots or state.kept):
            raise AskPerson("no-model-installed", model=model)
        layout = self._layout.model(model)
        items = tuple(
            RemovalItem(path=str(path), kind=kind, size_bytes=allocated_bytes(path))
            for path, kind in contents(layout, user_data)
        )
        stays = ("records", "anchors", *(("user-data",) if user_data == "keep" else ()))
        version = state.current.version if state.current else None
        plan = RemovalPlan(model=model, version=version, reason=reason, user_data=user_data, items=items, stays=stays)
        self._journal.records.keep_plan(plan.identity, model, canonical(plan))
        return plan

    def remove(self, model: str, plan_digest: str, report: Callable[[int, int | None], None]) -> RemovalProof:
        """Carry out a confirmed plan; what was removed before an interruption counts as gone.

        What came to lie below the model's directory after the plan was shown, and is of a kind that the plan removes,
        goes with it: an update's staging, an engine's cache. What is listed and does not lie where such things lie (the
        root was moved, or somebody wrote into the database) is left alone.

        Raises:
            AskPerson: `no-plan` when there is none of that digest, `permission-denied`.
            TryLater: `disk-error`.
        """
        body = self._journal.records.plan_body(plan_digest)
        if body is None:
            raise AskPerson("no-plan", digest=plan_digest)
        plan = read(body, RemovalPlan, PLAN_MAX_BYTES)
        layout = self._layout.model(model)
        began_at, before_bytes = iso(self._clock.now()), free_bytes(self._layout.root)
        done: list[RemovedItem] = []
        planned = {item.path: item for item in plan.items if _belongs(item, layout)}
        for path, kind in contents(layout, plan.user_data):
            planned.setdefault(str(path), RemovalItem(path=str(path), kind=kind, size_bytes=allocated_bytes(path)))
        for number, item in enumerate(planned.values()):
            done.append(self._remove(item))
            report(number + 1, len(planned))
        self._remove_empty(layout)
        proof = RemovalProof(
            model=model,
            version=plan.version,
            reason=plan.reason,
            plan_digest=plan_digest,
            items=tuple(done),
            free_before_bytes=before_bytes,
            free_after_bytes=free_bytes(self._layout.root),
            began_at=began_at,
            ended_at=iso(self._clock.now()),
        )
        self._journal.records.keep_proof(plan_digest, canonical(proof))
        return proof

    def _remove(self, item: RemovalItem) -> RemovedItem:
        path = Path(item.path)
        there = os.path.lexists(path)
        size_bytes = allocated_bytes(path) if there else item.size_bytes
        self._disk.remove(path)
        return RemovedItem(path=item.path, kind=item.kind, size_bytes=size_bytes, result="removed" if there else "gone")

    def _remove_empty(self, layout: ModelLayout) -> None:
        """The model's own directory, its vendor's and `models`, as far as nothing else lies in them."""
        own = layout.directory
        for directory in (layout.slots, layout.user_data, layout.backups, own, own.parent, own.parent.parent):
            with disk_errors(directory):
                if not directory.is_dir() or any(directory.iterdir()):
                    continue
            self._disk.remove(directory)


def contents(layout: ModelLayout, user_data: UserDataChoice) -> Iterator[tuple[Path, ItemKind]]:
    """What of the model lies on the disk, in the order of going: the link first, so that nothing names what goes."""
    if os.path.lexists(layout.current):
        yield layout.current, "link"
    with disk_errors(layout.directory):
        slots = sorted(layout.slots.iterdir()) if layout.slots.is_dir() and not layout.slots.is_symlink() else []
        others = sorted(layout.directory.iterdir()) if layout.directory.is_dir() else []
    for slot in slots:
        yield slot, "slot"
    for path in others:
        if path == layout.staging:
            yield path, "staging"
        elif path == layout.kept:
            yield path, "kept versions"
        elif user_data == "remove" and path == layout.backups:
            yield path, "sealed copies of user data"
        elif user_data == "remove" and (path == layout.user_data or path.name.startswith("userdata-from-")):
            yield path, "user data"


def _belongs(item: RemovalItem, layout: ModelLayout) -> bool:
    """Whether an item lies where `contents` finds such things."""
    path = Path(item.path)
    if item.kind in PASSING:
        return path in {layout.staging, layout.kept}
    return path.parent in {layout.directory, layout.slots} and path.name != ".."


def facts_of(proof: RemovalProof) -> dict[str, object]:
    """What the journal tells about a removal."""
    return {
        "plan_digest": proof.plan_digest,
        "items": len(proof.items),
        "removed_bytes": proof.removed_bytes,
        "reason": proof.reason,
    }
