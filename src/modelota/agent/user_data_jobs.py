"""What the worker does with the user's data, by the arguments of its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelota.agent.backup import About, export_backup, import_backup
from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret
from modelota.agent.user_data import Facts, UserData
from modelota.clock import Clock, iso
from modelota.spec.slot import SlotDescription
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout


class UserDataJobs:
    """The jobs of one device root. Errors as the functions they call."""

    def __init__(self, layout: Layout, journal: Journal, disk: Disk, clock: Clock) -> None:
        self._layout = layout
        self._journal = journal
        self._disk = disk
        self._clock = clock

    def _data(self, model: str) -> UserData:
        layout = self._layout.model(model)
        return UserData(model, layout, self._journal, self._disk, lambda: local_secret(self._layout, self._disk))

    def _current(self, model: str) -> SlotDescription | None:
        slot = self._journal.state(model).current
        return self._journal.slot(model, slot) if slot is not None else None

    def snapshot(self, arguments: dict[str, Any]) -> Facts:
        """`snapshot`: model, version (in use), user_data_schema (its), to_schema (of the version that comes)."""
        return self._data(arguments["model"]).snapshot(
            arguments["version"], arguments["user_data_schema"], to_schema=arguments.get("to_schema")
        )

    def restore(self, arguments: dict[str, Any]) -> Facts:
        """`restore-user-data`: model, user_data_schema (of the version that is entered), left_version."""
        data = self._data(arguments["model"])
        return data.restore_for(arguments["user_data_schema"], left_version=arguments["left_version"])

    def export(self, arguments: dict[str, Any]) -> Facts:
        """`export-backup`: model, path, passphrase, uid (of who asked, or None)."""
        model = arguments["model"]
        current, holding = self._current(model), self._journal.snapshots.holding(model)
        about = About(
            model=model,
            version=current.slot.version if current else None,
            user_data_schema=current.user_data_schema if current else holding.schema if holding else 1,
            made_at=iso(self._clock.now()),
        )
        path, passphrase = Path(arguments["path"]), arguments["passphrase"]
        return export_backup(self._data(model), path, passphrase, about, uid=arguments.get("uid"))

    def take_back(self, arguments: dict[str, Any]) -> Facts:
        """`import-backup`: model, path, passphrase."""
        model = arguments["model"]
        current = self._current(model)
        return import_backup(
            self._data(model),
            Path(arguments["path"]),
            arguments["passphrase"],
            model=model,
            schema=current.user_data_schema if current else None,
            left_version=current.slot.version if current else "earlier",
        )
