"""SQLite as the agent opens it: durable settings, numbered migrations, clear errors."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota import faults
from modelota.errors import AskPerson, TryLater
from modelota.storage import database
from modelota.storage.database import MAJOR, RESERVE_BYTES, open_database, transaction

FIRST = "CREATE TABLE a (x INTEGER);"
SECOND = "ALTER TABLE a ADD COLUMN y INTEGER;"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


def test_settings_keep_what_was_committed(tmp_path: Path) -> None:
    """WAL with synchronous FULL, secure deletion and foreign keys are in force."""
    db = open_database(tmp_path / "a.db", (FIRST,))
    found = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
    db.close()


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    """A database gets the migrations it lacks; opening it again changes nothing."""
    path = tmp_path / "a.db"
    open_database(path, (FIRST,)).close()
    db = open_database(path, (FIRST, SECOND))
    db.execute("INSERT INTO a VALUES (1, 2)")
    db.close()
    db = open_database(path, (FIRST, SECOND))
    assert db.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    assert db.execute("PRAGMA user_version").fetchone()[0] == MAJOR * 1000 + 2
    db.close()


def test_an_older_agent_opens_a_newer_minor_schema(tmp_path: Path) -> None:
    """Within a major version an agent that knows fewer migrations opens the database and leaves the rest alone."""
    path = tmp_path / "a.db"
    open_database(path, (FIRST, SECOND)).close()
    db = open_database(path, (FIRST,))
    db.execute("INSERT INTO a (x) VALUES (1)")
    db.close()


def test_another_major_schema_is_refused(tmp_path: Path) -> None:
    """A database of another major version is refused untouched."""
    path = tmp_path / "a.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {(MAJOR + 1) * 1000}")
    db.close()
    with pytest.raises(AskPerson) as caught:
        open_database(path, (FIRST,))
    assert caught.value.code == "database-newer"


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not a database is an error a person must look at, and it is left as it is."""
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(AskPerson) as caught:
        open_database(path, (FIRST,))
    assert caught.value.code == "database-unreadable"
    assert path.read_bytes() == content


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    """An error inside the block, or at the commit, leaves nothing behind."""
    path = tmp_path / "a.db"
    db = open_database(path, (FIRST,))
    with pytest.raises(ZeroDivisionError), transaction(db, path):
        db.execute("INSERT INTO a VALUES (1)")
        raise ZeroDivisionError
    faults.arm("journal.commit@1=EIO")
    with pytest.raises(TryLater), transaction(db, path):
        db.execute("INSERT INTO a VALUES (2)")
    assert db.execute("SELECT count(*) FROM a").fetchone()[0] == 0
    db.close()


def test_a_full_disk_is_said_to_be_one(tmp_path: Path) -> None:
    """SQLite's own `disk full` becomes no-space."""
    path = tmp_path / "a.db"
    db = open_database(path, (FIRST,))
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AskPerson) as caught, transaction(db, path):
        db.execute("CREATE TABLE b (x)")
        db.executemany("INSERT INTO a VALUES (?)", [(number,) for number in range(10_000)])
    assert caught.value.code == "no-space"
    db.close()


def test_a_read_of_a_damaged_page_is_an_error_of_our_tree(tmp_path: Path) -> None:
    """A statement outside a transaction that meets damage says `database-unreadable`, not an exception of SQLite's."""
    path = tmp_path / "agent.db"
    database = open_database(path, ("CREATE TABLE words (word TEXT PRIMARY KEY) WITHOUT ROWID;",))
    with transaction(database, path):
        database.executemany("INSERT INTO words VALUES (?)", [(f"{number:0100}",) for number in range(1000)])
    database.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    database = open_database(path, ())
    with pytest.raises(AskPerson, match="database-unreadable"):
        database.execute("SELECT word FROM words WHERE word = ?", ("x",)).fetchall()
    with pytest.raises(AskPerson, match="database-unreadable"), transaction(database, path):
        database.execute("DELETE FROM words")
    database.close()


def test_a_reserve_opens_the_database_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is too full to open the database, its reserve is given up for it, and set aside again later."""
    path, reserve = tmp_path / "agent.db", tmp_path / "agent.db-reserve"
    open_database(path, (FIRST,)).close()
    assert reserve.stat().st_size == RESERVE_BYTES
    assert stat.S_IMODE(reserve.stat().st_mode) == 0o600
    really = database._open

    def full(path: Path, *arguments: object) -> sqlite3.Connection:
        if reserve.exists():
            raise AskPerson("no-space", path=str(path), need_bytes=None, free_bytes=None)
        return really(path, *arguments)  # type: ignore[arg-type]  # as they came

    def no_blocks(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "_open", full)
        patch.setattr(os, "posix_fallocate", no_blocks)
        open_database(path, (FIRST,)).close()
        assert not reserve.exists()
    open_database(path, (FIRST,)).close()
    assert reserve.exists()


def test_opening_again_keeps_the_locks_of_this_process(tmp_path: Path) -> None:
    """A second opening and closing here must not make another process take itself for the last user.

    SQLite holds POSIX locks, which a process loses when it closes any descriptor of the file. Without them another
    process that closes the database deletes the write-ahead log under our feet.
    """
    path = tmp_path / "a.db"
    first = open_database(path, (FIRST,))
    first.execute("INSERT INTO a VALUES (1)")
    open_database(path, (FIRST,)).close()
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM a').fetchall(); db.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert path.with_name("a.db-wal").exists()
    first.execute("INSERT INTO a VALUES (2)")
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM a").fetchone() == (2,)
    other.close()
    first.close()
