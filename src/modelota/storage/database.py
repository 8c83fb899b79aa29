"""Opening SQLite so that a committed transaction survives power loss and an older agent is not locked out.

`user_version` is `major * 1000 + minor` of the schema. Within a major version migrations only add tables and columns,
so an agent opens a database with a higher minor and leaves what it does not know alone (design decision 13).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from modelota import faults
from modelota.errors import AskPerson, ModelotaError, TryLater

MAJOR: Final = 1
BUSY_TIMEOUT_S: Final = 10.0
RESERVE_BYTES: Final = 512 * 1024


def open_database(
    path: Path, migrations: Sequence[str], *, synchronous: Literal["FULL", "NORMAL"] = "FULL"
) -> sqlite3.Connection:
    """Open or create the database at `path` and bring its schema up to date.

    Args:
        path: the file; its directory must exist.
        migrations: SQL scripts, numbered from 1; frozen once released, additive within a major version.
        synchronous: `FULL` keeps every committed transaction through power loss; `NORMAL` may lose the last ones but
            never corrupts (WAL).

    Returns:
        a connection in autocommit mode; use `transaction`.

    Raises:
        AskPerson: `database-unreadable` (not a database, damaged), `database-newer` (another major schema),
            `permission-denied`, `no-space`.
        TryLater: `disk-error`, `device-busy` when another process holds it.

    Opening needs a little space (the -shm file), so a reserve lies beside the database for the day the disk is full:
    a device must serve on that day too.
    """
    reserve = path.with_name(f"{path.name}-reserve")
    try:
        connection = _open(path, migrations, synchronous)
    except AskPerson as error:
        if error.code != "no-space" or not reserve.exists():
            raise
        reserve.unlink(missing_ok=True)
        connection = _open(path, migrations, synchronous)
    _keep_reserve(reserve)
    return connection


def _keep_reserve(path: Path) -> None:
    """Set the reserve aside where it is missing and there is space for it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:  # there already, or the disk is full: the next opening tries again
        return
    try:
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except OSError:  # full, or a file system that can't: without one opening fails as it would have
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _open(path: Path, migrations: Sequence[str], synchronous: str) -> sqlite3.Connection:
    _create_private(path)
    try:
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
            factory=_Connection,
        )
    except sqlite3.Error as error:
        raise _database_error(error, path) from error
    connection.path = path
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -1024")
        _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise _database_error(error, path) from error
    except ModelotaError:
        connection.close()
        raise
    return connection


class _Connection(sqlite3.Connection):
    """A connection whose statements, single ones outside a transaction too, fail with errors of our tree."""

    path: Path

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401  as the base class has it
        """As `sqlite3.Connection.execute`.

        Raises:
            AskPerson: `database-unreadable`, `no-space`, `permission-denied`.
            TryLater: `disk-error`, `device-busy`.
        """
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as error:
            raise _database_error(error, self.path) from error


def _create_private(path: Path) -> None:
    """Make an empty 0600 file if there is none; SQLite's -wal and -shm files take over these permissions.

    An existing database is not even opened here: closing any descriptor of a file drops every POSIX lock this process
    holds on it (fcntl(2)), those of SQLite's other connections included.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise AskPerson("permission-denied", path=str(path)) from error
        raise TryLater("disk-error", path=str(path), detail=error.strerror or "") from error


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found // 1000 not in {0, MAJOR}:
        raise AskPerson("database-newer", path=str(path), found=found // 1000, known=MAJOR)
    done = found % 1000
    for number, script in enumerate(migrations, start=1):
        if number > done:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {MAJOR * 1000 + number};\nCOMMIT;"
            )


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Run the block in one transaction; passes the fail point `journal.commit` before it commits.

    Raises:
        AskPerson: `no-space`, `database-unreadable`, `permission-denied`.
        TryLater: `disk-error`, `device-busy`.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            faults.point("journal.commit")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise _database_error(error, path) from error
    except OSError as error:  # an armed fail point
        raise TryLater("disk-error", path=str(path), detail=error.strerror or "") from error


def _database_error(error: sqlite3.Error, path: Path) -> ModelotaError:
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TryLater("device-busy", path=str(path), holder="another process of this database")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")):
        return AskPerson("no-space", path=str(path), need_bytes=None, free_bytes=None)
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return AskPerson("permission-denied", path=str(path))
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")):
        return TryLater("disk-error", path=str(path), detail=name)
    return AskPerson("database-unreadable", path=str(path), detail=f"{name}: {error}")
