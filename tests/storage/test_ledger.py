"""The ledger knows what a kill left."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelota.clock import SystemClock
from modelota.storage.database import open_database
from modelota.storage.durable import Disk
from modelota.storage.ledger import SCHEMA, DatabaseLedger
from modelota.storage.system_calls import SystemCalls


class Killed(BaseException):
    """Ends a write where a kill would."""


class KilledAtTheRename(SystemCalls):
    """Writes, and never renames."""

    def rename(self, source: Path, target: Path) -> None:
        raise Killed


def test_what_a_kill_left_is_told_until_it_is_removed(tmp_path: Path) -> None:
    """A temporary file that was begun is told; one that was renamed, or removed, is not."""
    database = open_database(tmp_path / "a.db", (SCHEMA,))
    ledger = DatabaseLedger(database, tmp_path / "a.db", SystemClock())
    disk = Disk((tmp_path,), ledger)
    disk.write_file(tmp_path / "whole", b"x")
    assert ledger.temporaries() == []
    with pytest.raises(Killed):
        Disk((tmp_path,), ledger, KilledAtTheRename()).write_file(tmp_path / "cut", b"x")
    (left,) = ledger.temporaries()
    assert left.read_bytes() == b"x"
    disk.remove(left)
    assert ledger.temporaries() == []
    database.close()
