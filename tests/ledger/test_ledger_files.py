"""The file: its modes, its format, and everything that can be wrong with it or with the disk under it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfleet.errors import LedgerBusy, LedgerError, LedgerFull, LedgerTooNew
from agentfleet.ledger.connect import APPLICATION_ID
from agentfleet.ledger.migrations import LATEST, statements
from agentfleet.ledger.open import ledger_path, open_ledger
from agentfleet.ledger.records import Batch
from agentfleet.ledger.sqlite import SQLiteLedger


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_modes_whatever_the_umask(tmp_path, umask, a_run):
    path = tmp_path / "ledger.sqlite"
    ledger = SQLiteLedger(path)
    ledger.create(a_run(), "me", 60)
    assert {file.name: mode(file) for file in tmp_path.iterdir()} == dict.fromkeys(
        ["ledger.sqlite", "ledger.sqlite-shm", "ledger.sqlite-wal"], 0o600
    )
    ledger.close()
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_a_new_folder_is_private_and_a_loose_file_is_tightened(tmp_path):
    path = tmp_path / "deep" / "ledger.sqlite"
    SQLiteLedger(path).close()
    assert mode(path.parent) == 0o700
    path.chmod(0o644)
    SQLiteLedger(path).close()
    assert mode(path) == 0o600


def test_pragmas_and_strict_tables(ledger):
    def look(connection: sqlite3.Connection) -> list[object]:
        asked = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
        return [*asked, {name: strict for name, strict in tables if not name.startswith("sqlite_")}]

    assert ledger._write(look) == ["wal", 2, {"runs": 1, "nodes": 1, "attempts": 1, "spending": 1}]


def test_the_key_stands_in_the_schema(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger._write(lambda c: c.execute("INSERT INTO nodes SELECT * FROM nodes"))


def test_reopening_finds_everything(path, a_run, node):
    first = SQLiteLedger(path)
    run = first.create(a_run(), "me", 60)
    first.commit(Batch(run.id, 1, (node("a"),)))
    first.close()
    first.close()
    second = SQLiteLedger(path)
    assert [row.path for row in second.read(run.id).nodes] == ["a"]
    second.close()


def test_a_newer_ledger_is_left_alone(path):
    SQLiteLedger(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {LATEST + 1}")
    raw.close()
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(LedgerTooNew, match=r"ledger\.sqlite has format .*Upgrade agentfleet"):
            SQLiteLedger(path, readonly=readonly)
    assert path.read_bytes() == before


def test_a_migration_that_breaks_leaves_nothing(path, monkeypatch):
    from agentfleet.ledger import connect

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE runs (id TEXT)")
        raise sqlite3.OperationalError("no such luck")

    monkeypatch.setattr(connect, "migrate", half)
    with pytest.raises(LedgerError, match="no such luck"):
        SQLiteLedger(path)
    monkeypatch.undo()
    SQLiteLedger(path).close()


def test_statements_are_split_at_their_ends():
    script = "-- one; two\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nSELECT 1;\n"
    assert len(list(statements(script))) == 2


@pytest.mark.parametrize(
    "content", [b"this is not a database, it only looks like a file" * 30, b"SQLite format 3\0junk"]
)
def test_not_a_database(path, content):
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite is damaged or not a SQLite database .*Move the file away"):
        SQLiteLedger(path)
    assert path.read_bytes() == content


def test_another_programs_database(path):
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE mine (a)")
    raw.close()
    with pytest.raises(LedgerError, match="of another program"):
        SQLiteLedger(path)


def test_a_damaged_page_is_said_and_the_thread_lives(path, a_run):
    ledger = SQLiteLedger(path)
    ledger.create_many([a_run() for _ in range(200)], "me", 60)
    ledger.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    path.write_bytes(raw)
    ledger = SQLiteLedger(path)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"damaged .* \.recover"):
            ledger.create(a_run(), "me", 60)
        with pytest.raises(LedgerError, match="damaged"):
            ledger.runs()
    ledger.close()


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(LedgerError, match="is a folder"):
        SQLiteLedger(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot make the ledger"):
        SQLiteLedger(tmp_path / "file" / "ledger.sqlite")


def test_no_room_and_room_again(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("before"),))).result()
    limit = ledger._write(lambda c: c.execute("PRAGMA page_count").fetchone()[0]) + 2
    ledger._write(lambda c: c.execute(f"PRAGMA max_page_count = {limit}").fetchone())
    big = [Batch(run.id, 1, (node(f"small{i}"), node(f"big{i}", value='"' + "x" * 90_000 + '"'))) for i in range(3)]
    for future in [ledger.commit(batch) for batch in big]:
        with pytest.raises(LedgerFull, match="no room left.*free some disk space"):
            future.result()
    with pytest.raises(LedgerFull):
        ledger.create_many([a_run() for _ in range(1000)], "me", 60)
    assert [row.path for row in ledger.read(run.id).nodes] == ["before"] and len(ledger.runs()) == 1
    ledger._write(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    for future in [ledger.commit(batch) for batch in big]:
        future.result()
    assert len(ledger.read(run.id).nodes) == 7
    assert ledger._write(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    able = os.geteuid() == 0 and shutil.which("mount")
    if not able or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root for a small tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full_and_then_freed(small_disk, a_run, node):
    ledger = SQLiteLedger(small_disk / "ledger.sqlite")
    run = ledger.create(a_run(), "me", 60)
    (small_disk / "ballast").write_bytes(b"0" * 500_000)
    written = 0
    with pytest.raises(LedgerFull):
        for written in range(100):
            ledger.commit(Batch(run.id, 1, (node(f"n{written}", value='"' + "x" * 20_000 + '"'),))).result()
    assert len(ledger.read(run.id).nodes) == written > 0
    (small_disk / "ballast").unlink()
    ledger.commit(Batch(run.id, 1, (node("after"),))).result()
    assert len(ledger.read(run.id).nodes) == written + 1
    assert ledger._write(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
    ledger.close()


def test_a_ledger_that_is_moved_away_is_not_written_on(path, ledger, a_run):
    ledger.create(a_run(), "me", 60)
    path.rename(path.with_name("elsewhere.sqlite"))
    with pytest.raises(LedgerError, match="moved or deleted"):
        ledger.create(a_run(), "me", 60)
    path.with_name("elsewhere.sqlite").rename(path)
    ledger.create(a_run(), "me", 60)
    assert len(ledger.runs()) == 2


def test_a_writer_that_holds_on_is_busy_not_for_ever(path, a_run, node):
    ledger = SQLiteLedger(path, busy=0.05)
    run = ledger.create(a_run(), "me", 60)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerBusy, match="held by another process"):
        ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    assert ledger.read(run.id).nodes == ()
    holder.execute("ROLLBACK")
    ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    holder.close()
    ledger.close()


def test_reading_only(path, ledger, a_run, node):
    with pytest.raises(LedgerError, match="no ledger at"):
        SQLiteLedger(path.with_name("none.sqlite"), readonly=True)
    run = ledger.create(a_run(), "me", 60)
    reader = SQLiteLedger(path, readonly=True)
    ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    assert len(reader.read(run.id).nodes) == 1
    for write in (
        lambda: reader.create(a_run(), "me", 60),
        lambda: reader.commit(Batch(run.id, 1)),
        lambda: reader.flush(),
        lambda: reader.set_status(run.id, "paused"),
    ):
        with pytest.raises(LedgerError, match="reading only"):
            write()
    reader.close()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that this user may read and not write; root, whom no mode stops, becomes nobody for a while."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_folder_without_leave_to_write(nobody, a_run):
    ledger = SQLiteLedger(nobody / "ledger.sqlite")
    run = ledger.create(a_run(), "me", 60)
    ledger.close()
    (nobody / "ledger.sqlite").chmod(0o444)
    nobody.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    with pytest.raises(LedgerError, match=r"Make its folder writable .*AGENTFLEET_LEDGER"):
        SQLiteLedger(nobody / "new.sqlite")
    with pytest.raises(LedgerError, match=r"Make its folder writable .*AGENTFLEET_LEDGER"):
        SQLiteLedger(nobody / "ledger.sqlite")
    reader = SQLiteLedger(nobody / "ledger.sqlite", readonly=True)
    assert reader.read(run.id).run == run
    reader.close()


def test_where_the_ledger_lies(tmp_path, monkeypatch):
    monkeypatch.delenv("AGENTFLEET_LEDGER", raising=False)
    assert ledger_path(None, tmp_path) == tmp_path / ".agentfleet" / "ledger.sqlite"
    monkeypatch.setenv("AGENTFLEET_LEDGER", "kept/here.sqlite")
    assert ledger_path(None, tmp_path) == tmp_path / "kept" / "here.sqlite"
    assert ledger_path(tmp_path / "given", tmp_path) == tmp_path / "given"
    for word in ("off", ":memory:", "OFF"):
        monkeypatch.setenv("AGENTFLEET_LEDGER", word)
        assert ledger_path(None, tmp_path) is None


def test_the_projects_own_ledger_is_private_and_not_committed(tmp_path, monkeypatch, a_run):
    monkeypatch.delenv("AGENTFLEET_LEDGER", raising=False)
    (tmp_path / ".agentfleet").mkdir(mode=0o755)
    ledger = open_ledger(None, tmp_path)
    ledger.create(a_run(), "me", 60)
    ledger.close()
    assert mode(tmp_path / ".agentfleet") == 0o700
    assert (tmp_path / ".agentfleet" / ".gitignore").read_text() == "*\n"


def test_a_private_ledger_in_memory(tmp_path, a_run, node):
    ledger = open_ledger("off", tmp_path)
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a"),)))
    assert len(ledger.read(run.id).nodes) == 1 and len(ledger.runs()) == 1
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_queued_at_exit_is_written(path):
    script = (
        "import sys\nfrom agentfleet.ledger.records import *\nfrom agentfleet.ledger.sqlite import SQLiteLedger\n"
        "ledger = SQLiteLedger(sys.argv[1])\nrun = ledger.create(RunRow('r', 'g', 'h', 't', '{}'), 'me', 60)\n"
        "for i in range(2000): ledger.commit(Batch('r', 1, (NodeRow(str(i), 'f', 'done', '1'),)))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    reader = SQLiteLedger(path, readonly=True)
    assert len(reader.read("r").nodes) == 2000
    reader.close()


def test_the_header_names_us(path):
    SQLiteLedger(path).close()
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    raw.close()
