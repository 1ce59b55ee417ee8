"""Opening the ledger's file: its modes, pragmas and format, and SQLite's errors put into our words.

No rows are read or written here.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from agentfleet.errors import LedgerBusy, LedgerError, LedgerFull, LedgerTooNew
from agentfleet.ledger.migrations import LATEST, migrate, version_of

APPLICATION_ID = 0x6167666C
"""Stands in the file's header ("agfl"), so that another program's database is never taken for a ledger."""

BUSY_SECONDS = 30.0
"""How long a write waits for another process's transaction."""

NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""SQL: Unix seconds with milliseconds on the database's clock; older SQLite has no unixepoch('subsec')."""

_NEEDED = (3, 37, 0)
_ROOM = 1 << 20


def connect(path: Path | None, *, readonly: bool = False, busy: float = BUSY_SECONDS) -> sqlite3.Connection:
    """An open connection to the ledger at `path`, created and migrated where needed; None: a private one in memory.

    Raises LedgerTooNew, LedgerBusy, LedgerFull or LedgerError, each with the path and what to do.
    """
    if sqlite3.sqlite_version_info < _NEEDED:
        raise LedgerError(
            f"the ledger needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a Python that is built with a newer SQLite."
        )
    if path is not None:
        _look(path, readonly)
    try:
        return _opened(path, readonly, busy)
    except sqlite3.Error as error:
        raise translated(error, path) from error


def begin(connection: sqlite3.Connection, busy: float) -> None:
    """Begin a transaction that writes, waiting `busy` seconds for other processes. Raises sqlite3.OperationalError.

    SQLite itself asks for the lock ever more seldom, ten times a second at last: beside busy writers on a slow disk,
    which leave it free for a moment only, it may not get it for minutes. So this asks often, at no fixed beat.
    """
    end = time.monotonic() + busy
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0.0005, 0.003))
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(busy * 1000)}")


def translated(error: BaseException, path: Path | None) -> LedgerError:
    """The LedgerError that says what an error of SQLite means and what to do about it."""
    if isinstance(error, LedgerError):
        return error
    where = f"the ledger {path or 'in memory'}"
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _no_room(path)):
        return LedgerFull(f"{where} has no room left. What was committed stands; free some disk space and resume.")
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_WRITE:
        return LedgerFull(
            f"{where} cannot be written any further: the disk, a quota or a limit on the size of files is reached. What was "
            "committed stands; make room and resume."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerBusy(
            f"{where} is held by another process that does not let go. See who has it open, and try again."
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return LedgerError(
            f"{where} is damaged or not a SQLite database ({error}). Move the file away to start afresh, restore a "
            f"backup, or save what can be read with: sqlite3 {path} .recover"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return LedgerError(
            f"{where} cannot be opened for writing ({error}). Make its folder writable for this user, or set "
            "AGENTFLEET_LEDGER to another path (or to off: nothing is kept)."
        )
    return LedgerError(f"{where} failed: {type(error).__name__}: {error}")


def _no_room(path: Path | None) -> bool:
    try:
        return path is not None and shutil.disk_usage(path.parent).free < _ROOM
    except OSError:
        return False


def _look(path: Path, readonly: bool) -> None:
    """Refuse what cannot be a ledger; make the folder (0700) and the file (0600) where they are missing."""
    if path.is_dir():
        raise LedgerError(f"the ledger {path} is a folder; AGENTFLEET_LEDGER must name a file in it.")
    if readonly:
        if not path.exists():
            raise LedgerError(f"there is no ledger at {path} yet; the first run makes it.")
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _private(path)
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger {path}: {error.strerror}. Make its folder writable for this user, or set "
            "AGENTFLEET_LEDGER to another path (or to off: nothing is kept)."
        ) from error


def _private(path: Path) -> None:
    """Mode 0600 whatever the umask is; SQLite gives the mode of the file to its -wal and -shm.

    A file that exists is never opened here: closing it would drop the locks that SQLite holds in this process.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            path.chmod(0o600)
        return
    try:
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _opened(path: Path | None, readonly: bool, busy: float) -> sqlite3.Connection:
    connection = _raw(path, readonly, busy)
    try:
        if path is not None:
            _identify(connection, path)
        if readonly:
            _refuse_old(connection, path)
        else:
            _prepare(connection, path, busy)
    except BaseException:
        connection.close()
        raise
    return connection


def _raw(path: Path | None, readonly: bool, busy: float) -> sqlite3.Connection:
    if path is None:
        return _plain(":memory:", busy)
    uri = path.absolute().as_uri()
    if not readonly:
        return _plain(f"{uri}?mode=rw", busy)
    connection = _plain(f"{uri}?mode=ro", busy)
    try:
        version_of(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or _has_wal(path):
            raise
        # A WAL file in a folder that we may not write: with nobody writing, the main file alone is the truth.
        return _plain(f"{uri}?mode=ro&immutable=1", busy)
    return connection


def _has_wal(path: Path) -> bool:
    with suppress(OSError):
        return path.with_name(path.name + "-wal").stat().st_size > 0
    return False


def _plain(uri: str, busy: float) -> sqlite3.Connection:
    return sqlite3.connect(uri, timeout=busy, isolation_level=None, check_same_thread=False, uri=True)


def _prepare(connection: sqlite3.Connection, path: Path | None, busy: float) -> None:
    """Pragmas of a connection that writes, then the newest format."""
    if path is not None:
        _write_ahead(connection, busy)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    if version_of(connection) < LATEST:
        _upgrade(connection, busy)


def _write_ahead(connection: sqlite3.Connection, busy: float) -> None:
    """SQLite does not wait when two processes change the mode of a new file at once, so this does."""
    end = time.monotonic() + busy
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)


def _identify(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's database, and a ledger that is newer than this program.

    The tables are looked for first: a process that makes the ledger meanwhile gives it tables and id in one commit, so
    whoever sees the tables sees the id too. The other way round its ledger would be taken for a stranger's.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(
            f"{path} is a SQLite database of another program, not a ledger; nothing was changed in it. "
            "Set AGENTFLEET_LEDGER to another path."
        )
    version = version_of(connection)
    if version > LATEST:
        raise LedgerTooNew(
            f"the ledger {path} has format {version}, written by a newer agentfleet; this one knows up to {LATEST}. "
            "Upgrade agentfleet, or set AGENTFLEET_LEDGER to another file. Nothing was changed."
        )


def _refuse_old(connection: sqlite3.Connection, path: Path | None) -> None:
    version = version_of(connection)
    if version < LATEST:
        raise LedgerError(f"the ledger {path} has the older format {version}; any run upgrades it, reading does not.")


def _upgrade(connection: sqlite3.Connection, busy: float) -> None:
    begin(connection, busy)
    try:
        migrate(connection)  # looks at the version again: another process may have been first
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
