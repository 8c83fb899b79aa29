"""What removing the agent would remove: installed models, its own files, what the ledger names elsewhere (7.3.2)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from modelota.agent.cleaning import scanning
from modelota.agent.cleaning.knowledge import Knowledge
from modelota.agent.cleaning.plan import path_of, path_text
from modelota.agent.cleaning.system import System
from modelota.agent.enrol import membership_of
from modelota.agent.journal import Journal
from modelota.agent.keys import keyring_entry
from modelota.agent.records import LedgerRow
from modelota.agent.uninstalling import Uninstaller, contents
from modelota.clock import Clock
from modelota.content.anchors import Anchors
from modelota.errors import AskPerson, OurBug
from modelota.spec.leaving import LeavingItem, LeavingPlan, StayingItem
from modelota.spec.removal import RemovalPlan
from modelota.storage.durable import Disk, check_ours, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.space import allocated_bytes

# What lies directly below a root, in the order of going: keys before what tells that there were any.
_OWN: Final = (
    ("models", "models"),
    ("run", "runtime directory"),
    ("log", "logs"),
    ("trust-cache", "trust cache"),
    ("keys", "keys"),
    ("config.toml", "settings"),
)
_DATABASE: Final = "agent.db"  # and what lies beside it: agent.db-wal, agent.db-reserve, kept ones of a recovery
_LOCK: Final = "agent.lock"


class LeavingPlanner:
    """Plans the removal of the agent of one device root; changes nothing but that the plans of models are kept.

    Args:
        layout: of the root.
        clock: the time.
        system: the system, for what lies outside the root.
    """

    def __init__(self, layout: Layout, clock: Clock, system: System) -> None:
        self._layout = layout
        self._clock = clock
        self._system = system

    def plan(self, journal: Journal) -> LeavingPlan:
        """What would be removed now.

        Raises:
            AskPerson: `not-enrolled`, `update-in-progress`, `service-installed`, `permission-denied`.
            TryLater: `disk-error`.
        """
        membership = membership_of(journal, self._layout.root)
        nothing_written = Disk((self._layout.root,), NoLedger())
        uninstaller = Uninstaller(self._layout, journal, nothing_written, self._clock)
        models: list[RemovalPlan] = []
        for model in membership.models:
            state = journal.state(model)
            if state.update is not None:
                raise AskPerson("update-in-progress", version=state.update.target.version, phase=state.update.phase)
            if state.current or state.slots or state.kept:
                models.append(uninstaller.plan(model, "user", "remove"))
        items, strangers = self._items(journal, {plan.model for plan in models})
        findings = scanning.scan(self.outside(known_rows(journal, self._layout)), self._system, deep=False)
        outside = [
            LeavingItem(path=found.path, kind=found.kind, size_bytes=found.size_bytes)
            for found in findings.findings
            if found.certainty == "certain"
        ]
        stays = [
            StayingItem(path=found.path, kind=found.kind, reason=found.doubts[0])
            for found in findings.findings
            if found.doubts
        ]
        stays += [StayingItem(path=each.path, kind=each.kind, reason=each.reason) for each in findings.spared]
        _require_access(outside)
        return LeavingPlan(
            root=str(self._layout.root),
            set_up_at=set_up_at(journal),
            models=tuple(models),
            items=tuple(items),
            outside=tuple(outside),
            stays=(
                *stays,
                *(StayingItem(path=path_text(str(path)), kind="file", reason="not-ours") for path in strangers),
            ),
        )

    def _items(self, journal: Journal, uninstalled: Collection[str]) -> tuple[list[LeavingItem], list[Path]]:
        """The agent's own files in the order of going, and what else lies in the root."""
        root = self._layout.root
        with disk_errors(root):
            found = {path.name: path for path in sorted(root.iterdir())}
        items = list(self._left_behind(uninstalled))
        items += [(found.pop(name), kind) for name, kind in _OWN if name in found]
        items += [(path, "runtime directory") for path in self._runtime_directories(journal)]
        beside = sorted((name for name in found if name.startswith(_DATABASE)), key=lambda name: name == _DATABASE)
        items += [(found.pop(name), "database") for name in beside if not name.endswith(("-wal", "-shm"))]
        for suffix in ("-wal", "-shm"):  # SQLite takes them away when the database is closed
            found.pop(f"{_DATABASE}{suffix}", None)
        if _LOCK in found:
            items.append((found.pop(_LOCK), "lock"))
        listed = [
            LeavingItem(path=str(path), kind=kind, size_bytes=0 if kind == "models" else allocated_bytes(path))
            for path, kind in items
        ]
        return [*listed, LeavingItem(path=str(root), kind="root")], list(found.values())

    def _left_behind(self, uninstalled: Collection[str]) -> Iterator[tuple[Path, str]]:
        """What models left that are not installed any more: data that their user kept is shown before it goes."""
        models = self._layout.root / "models"
        with disk_errors(models):
            directories = sorted(path for path in models.glob("*/*") if path.is_dir() and not path.is_symlink())
        for directory in directories:
            model = str(directory.relative_to(models))
            if model not in uninstalled:
                yield from contents(self._layout.model(model), "remove")

    def _runtime_directories(self, journal: Journal) -> Iterator[Path]:
        """Those below temporary directories, wherever those were when the agent made them."""
        name = self._layout.runtime_name
        named = {Path(row.path) for row in journal.records.ledger_rows() if Path(row.path).name == name}
        for path in sorted({self._layout.runtime_directory, *named}):
            if self._layout.root not in path.parents and path.is_dir():
                check_ours(path, self._layout.root)
                yield path

    def outside(self, rows: Iterable[LedgerRow]) -> Knowledge:
        """What a cleaning is told to look at: what the ledger names outside the root, and nothing else."""
        with disk_errors(self._layout.root):
            owner = self._layout.root.stat().st_uid if self._layout.root.exists() else os.geteuid()
        runtime = self._layout.runtime_name
        outside = [row for row in rows if not self._is_inside(row.path) and runtime not in Path(row.path).parts]
        return Knowledge(owner_uid=owner, rows=tuple(outside), places=(), off_limits=(), files=(), load=_no_anchors)

    def _is_inside(self, path: str) -> bool:
        root = str(self._layout.root)
        return path == root or path.startswith(f"{root}/")


def known_rows(journal: Journal, layout: Layout) -> list[LedgerRow]:
    """The ledger's rows; the keyring's entry among them, also of an agent that did not note it."""
    rows = journal.records.ledger_rows()
    entry = keyring_entry(layout)
    if membership_of(journal, layout.root).key_store == "keyring" and all(row.path != entry for row in rows):
        rows.append(LedgerRow(entry, "keyring entry"))
    return rows


def set_up_at(journal: Journal) -> str:
    """When the journal of a root begins."""
    (first,) = journal.log(None, 0, 1) or (None,)
    if first is None:
        raise OurBug("invariant-broken", detail="a root without a first entry in its journal")
    return first.at


def _require_access(items: Iterable[LeavingItem]) -> None:
    """Check that this user may remove what lies outside: before anything is done, not halfway.

    Raises:
        AskPerson: `service-installed`, `permission-denied`.
    """
    for item in items:
        path = Path(path_of(item.path))
        if path.is_absolute() and not os.access(path.parent, os.W_OK):
            code = "service-installed" if item.kind.startswith("systemd ") else "permission-denied"
            raise AskPerson(code, path=item.path)


def _no_anchors(number: int) -> Anchors:
    raise OurBug("invariant-broken", detail=f"no file {number} is known here")
