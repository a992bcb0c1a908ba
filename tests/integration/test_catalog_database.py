"""How a database is opened, and what is said where that fails."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog import database, migration
from gglib_runtime.catalog.database import open_database, reading, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model
from tests.privileges import without_privileges

pytest_plugins = ["tests.databases"]


def pragma(engine: sa.Engine, name: str) -> object:
    with reading(engine) as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_sqlite_runs_in_wal_mode_with_its_safeguards_on(tmp_path: Path) -> None:
    with open_database(tmp_path / "gglib.db", busy_seconds=7) as engine:
        assert pragma(engine, "journal_mode") == "wal"
        assert pragma(engine, "synchronous") == 1
        assert pragma(engine, "foreign_keys") == 1
        assert pragma(engine, "busy_timeout") == 7000


def test_a_new_file_that_another_process_is_opening_too_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gglib.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if other.in_transaction:
            other.execute("ROLLBACK")

    monkeypatch.setattr(database.time, "sleep", sleep)
    with open_database(path) as engine:
        assert pragma(engine, "journal_mode") == "wal"
    other.close()
    assert pauses


def test_opening_a_database_again_leaves_the_locks_of_this_process_alone(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    probe = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'r+b') as file:\n"
        "    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 512, 0x40000000)\n"
    )
    command = [sys.executable, "-c", probe, str(path)]
    with open_database(path) as engine, reading(engine) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        with open_database(path):
            pass
        probed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "BlockingIOError" in probed.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_new_file_that_stays_locked_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        open_database(path, busy_seconds=0.01) as engine,
        pytest.raises(DatabaseError, match="is locked"),
    ):
        upgrade(engine)
    other.close()


def test_the_file_and_its_new_directory_are_closed_to_other_users(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gglib.db"
    with open_database(path) as engine:
        upgrade(engine)
        SqlModelStore(engine).add(new_model())
        modes = {
            p.name: stat.S_IMODE(p.stat().st_mode) for p in [path.parent, *path.parent.iterdir()]
        }
    assert set(modes.values()) == {0o700, 0o600}
    assert modes["new"] == 0o700
    assert set(modes) >= {"gglib.db", "gglib.db-wal"}


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "a#b.db", "größe.db", "a%20b.db"])
def test_a_path_is_taken_literally(tmp_path: Path, name: str) -> None:
    with open_database(f"sqlite:///{tmp_path / name}") as engine:
        upgrade(engine)
    assert (tmp_path / name).exists()
    with open_database(tmp_path / name) as engine:
        assert migration.current(engine) == migration.HEAD


def test_a_relative_path_belongs_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_database("sqlite:///here.db") as engine:
        monkeypatch.chdir("/")
        upgrade(engine)
    assert (tmp_path / "here.db").stat().st_size


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="names no file"), open_database(url):
        pass


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresql+asyncpg://localhost/x"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    with (
        pytest.raises(DatabaseError, match=re.escape(url.partition(":")[0])),
        open_database(url),
    ):
        pass


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_without_its_driver_says_what_to_install(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with (
        pytest.raises(DatabaseError, match=re.escape("pip install 'gglib[postgres]'")),
        open_database(f"{scheme}://me@localhost/gglib"),
    ):
        pass


def test_an_unreadable_url_does_not_show_its_password() -> None:
    with (
        pytest.raises(DatabaseError) as caught,
        open_database("postgresql://me:secret@localhost:port/x"),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="needs pip install 'gglib[postgres]'")
    url = f"postgresql://me:secret@/gglib?host={tmp_path}"
    with open_database(url) as engine, pytest.raises(DatabaseError) as caught:
        upgrade(engine)
    message = str(caught.value)
    assert "No such file or directory" in message
    assert "me:***@" in message
    assert "secret" not in message
    assert len(message.splitlines()) == 1


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    path.write_bytes(b"A letter to my landlord. " * 400)
    before = path.read_bytes()
    with open_database(path) as engine, pytest.raises(DatabaseError, match="no SQLite database"):
        upgrade(engine)
    assert path.read_bytes() == before


def test_a_damaged_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    with open_database(path) as engine:
        upgrade(engine)
        SqlModelStore(engine).add(new_model())
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with open_database(path) as engine, pytest.raises(DatabaseError, match=f"{path} is damaged"):
        SqlModelStore(engine).snapshot()


def test_a_directory_in_the_files_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=str(tmp_path)), open_database(tmp_path):
        pass


def test_a_directory_that_may_not_be_written_is_reported() -> None:
    with without_privileges() as root:
        root.chmod(0o500)
        with pytest.raises(DatabaseError, match="write access"), open_database(root / "gglib.db"):
            pass
        with pytest.raises(DatabaseError, match="write access"), open_database(root / "a" / "b.db"):
            pass


def test_a_file_that_may_not_be_written_can_be_read_but_not_changed() -> None:
    with without_privileges() as root:
        path = root / "gglib.db"
        with open_database(path) as engine:
            upgrade(engine)
        path.chmod(0o400)
        with open_database(path) as engine:
            upgrade(engine)
            store = SqlModelStore(engine)
            assert store.list() == ()
            with pytest.raises(DatabaseError, match="write access"):
                store.add(new_model())


def test_an_existing_database_in_a_directory_that_became_read_only_is_reported() -> None:
    with without_privileges() as root:
        path = root / "gglib.db"
        with open_database(path) as engine:
            upgrade(engine)
        root.chmod(0o500)
        with open_database(path) as engine, pytest.raises(DatabaseError, match="directory"):
            upgrade(engine)


def test_a_full_disk_changes_nothing_and_is_over_when_there_is_space_again(
    tmp_path: Path,
) -> None:
    with open_database(tmp_path / "gglib.db") as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        kept = store.add(new_model("kept"))
        limit = [pragma(engine, "page_count")]

        @event.listens_for(engine, "checkout")
        def limit_size(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count={limit[0]}")

        large = new_model("large", arguments=("x" * 100_000,))
        with pytest.raises(DatabaseError, match="the disk is full"):
            store.add(large)
        assert store.list() == (kept,)
        assert store.snapshot().revision == 1
        limit[0] = 1000
        assert store.add(large).id > kept.id
        assert pragma(engine, "integrity_check") == "ok"


def test_a_writer_gives_up_on_a_lock_while_readers_go_on(tmp_path: Path) -> None:
    with open_database(tmp_path / "gglib.db", busy_seconds=0.01) as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        with writing(engine):
            with pytest.raises(DatabaseError, match="is locked"):
                store.add(new_model())
            assert store.list() == ()
        store.add(new_model())


def test_a_lock_of_another_postgresql_writer_is_waited_for_and_given_up(postgres_url: str) -> None:
    with open_database(postgres_url, busy_seconds=0.01) as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("UPDATE revision SET number = number + 1")
            with pytest.raises(DatabaseError, match="is locked"):
                store.add(new_model())
            assert store.list() == ()
        store.add(new_model())


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        with reading(engine) as connection:
            query = "SELECT (SELECT count(*) FROM models), (SELECT number FROM revision)"
            before = connection.exec_driver_sql(query).one()
            SqlModelStore(engine).add(new_model())
            assert connection.exec_driver_sql(query).one() == before


def test_a_vanished_file_is_an_error_and_not_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    with open_database(path) as engine:
        upgrade(engine)
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(DatabaseError, match="missing"):
            SqlModelStore(engine).list()
        assert not path.exists()
