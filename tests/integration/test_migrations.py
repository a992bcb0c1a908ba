"""How a database gets its tables, and is brought up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog import migration
from gglib_runtime.catalog.database import altering, open_database, reading, writing
from gglib_runtime.catalog.migration import HEAD, current, migrate, scripts_directory, upgrade
from gglib_runtime.catalog.schema import metadata
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model

pytest_plugins = ["tests.databases"]

ROOT = Path(__file__).parents[2]

NEXT = f"{int(HEAD) + 1:04}"

ADD_COLOUR = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade():
    with op.batch_alter_table("models", table_kwargs=dict(sqlite_autoincrement=True)) as models:
        models.add_column(sa.Column("colour", sa.Text))
        models.alter_column("real_path", type_=sa.String(4096))
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program as its next version could be: one more migration, which rebuilds a table."""
    scripts = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    added = scripts / "versions" / f"{NEXT}_colour.py"
    added.write_text(ADD_COLOUR)
    monkeypatch.setattr(migration, "HEAD", NEXT)
    monkeypatch.setattr(migration, "scripts_directory", lambda: scripts)
    return added


def columns(engine: sa.Engine, table: str) -> list[str]:
    return [column["name"] for column in sa.inspect(engine).get_columns(table)]


def schema(engine: sa.Engine) -> Any:
    """Everything that the database says of its tables."""
    if engine.dialect.name == "sqlite":
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        with reading(engine) as connection:
            rows = connection.exec_driver_sql(query).all()
        return [(kind, name, table, statement) for kind, name, table, statement in rows]
    of_columns = "table_name, column_name, data_type, is_nullable, column_default"
    tables = "information_schema.columns WHERE table_schema = 'public'"
    queries = (
        f"SELECT {of_columns} FROM {tables} ORDER BY 1, 2",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    )
    with reading(engine) as connection:
        return [[tuple(row) for row in connection.exec_driver_sql(query)] for query in queries]


def normalised(statement: str | None) -> list[str]:
    """The parts of a table's definition, whatever their order and layout."""
    text = " ".join((statement or "").split())
    head, _, body = text.partition("(")
    return [head.strip(), *sorted(part.strip() for part in body.removesuffix(")").split(", "))]


def test_the_head_constant_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts_directory()))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_an_empty_database_gets_its_tables(database_url: str) -> None:
    with open_database(database_url) as engine:
        assert current(engine) is None
        upgrade(engine)
        assert current(engine) == HEAD
        assert SqlModelStore(engine).snapshot().revision == 0
        upgrade(engine)
        assert current(engine) == HEAD


# SQLAlchemy cannot read such an index back; the two tests below this one compare it as text.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
def test_migrations_lead_to_the_tables_of_the_program(database_url: str) -> None:
    with open_database(database_url) as engine:
        with altering(engine, busy_seconds=5) as connection:
            migrate(connection, None)
        with reading(engine) as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
        assert current(engine) == HEAD
        assert SqlModelStore(engine).snapshot().revision == 0


def test_a_migrated_sqlite_database_is_like_a_new_one(tmp_path: Path) -> None:
    with open_database(tmp_path / "a.db") as new, open_database(tmp_path / "b.db") as migrated:
        upgrade(new)
        with altering(migrated, busy_seconds=5) as connection:
            migrate(connection, None)
        for engine in (new, migrated):
            assert any("AUTOINCREMENT" in (row[3] or "") for row in schema(engine))
        expected = [(*row[:3], normalised(row[3])) for row in schema(new)]
        assert [(*row[:3], normalised(row[3])) for row in schema(migrated)] == expected


def test_a_migrated_postgresql_database_is_like_a_new_one(
    postgres_url: str, request: pytest.FixtureRequest
) -> None:
    with open_database(postgres_url) as engine:
        upgrade(engine)
        expected = schema(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        with altering(engine, busy_seconds=5) as connection:
            migrate(connection, None)
        assert schema(engine) == expected


def test_an_older_database_is_migrated_and_keeps_its_models(
    database_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        alpha = SqlModelStore(engine).add(new_model("alpha", aliases=("a",)))
        request.getfixturevalue("next_version")
        upgrade(engine)
        assert current(engine) == NEXT
        assert "colour" in columns(engine, "models")
        assert SqlModelStore(engine).list() == (alpha,)


@pytest.mark.parametrize("kept", [0, 1])
def test_rebuilding_a_table_gives_no_id_away_again(
    sqlite_url: str, request: pytest.FixtureRequest, kept: int
) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        for number in range(kept):
            store.add(new_model(f"alpha-{number}"))
        removed = store.remove(store.add(new_model("beta")).id)
        request.getfixturevalue("next_version")
        upgrade(engine)
        with reading(engine) as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert store.add(new_model("gamma")).id > removed.id


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        alpha = SqlModelStore(engine).add(new_model())
        before = schema(engine)
        added: Path = request.getfixturevalue("next_version")
        added.write_text(ADD_COLOUR + '    op.execute("INSERT INTO nowhere VALUES (1)")\n')
        with pytest.raises(DatabaseError, match="nowhere"):
            upgrade(engine)
        assert current(engine) == HEAD
        assert schema(engine) == before
        assert SqlModelStore(engine).list() == (alpha,)


def test_two_that_migrate_at_once_do_it_once(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        alpha = SqlModelStore(engine).add(new_model())
    request.getfixturevalue("next_version")
    start = threading.Barrier(3)
    failures: list[BaseException] = []

    def run() -> None:
        with open_database(database_url) as engine:
            start.wait(10)
            try:
                upgrade(engine)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_database(database_url) as engine:
        assert current(engine) == NEXT
        assert SqlModelStore(engine).list() == (alpha,)


START_TOGETHER = """
import sys
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import current, upgrade
from gglib_runtime.catalog.store import SqlModelStore

with open_database(sys.argv[1]) as engine:
    print("ready", flush=True)
    sys.stdin.readline()
    upgrade(engine)
    print(current(engine), SqlModelStore(engine).snapshot().revision, "alembic" in sys.modules)
"""


def test_processes_that_start_together_make_one_database_and_need_no_alembic(
    database_url: str,
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START_TOGETHER, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert outcomes == [(f"{HEAD} 0 False\n", "", 0)] * 4


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        before = schema(engine)
        with pytest.raises(DatabaseError, match=f"newer gglib: it has schema 9999.*to {HEAD}"):
            upgrade(engine)
        assert current(engine) == "9999"
        assert schema(engine) == before


def test_a_database_of_another_program_is_refused_and_left_alone(database_url: str) -> None:
    with open_database(database_url) as engine:
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE model_names (x INTEGER)")
        before = schema(engine)
        with pytest.raises(DatabaseError, match="'model_names' that is not gglib's"):
            upgrade(engine)
        assert schema(engine) == before


def test_migrations_are_found_in_a_wheel_and_run_from_there(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    without_caches = shutil.ignore_patterns("__pycache__")
    for package in ("gglib_core", "gglib_runtime"):
        shutil.copytree(ROOT / package, site / package, ignore=without_caches)
    inside = site / "gglib_runtime" / "migrations"
    shutil.copytree(ROOT / "migrations", inside, ignore=without_caches)
    script = (
        "import sys; from gglib_runtime.catalog import database, migration\n"
        "with database.open_database(sys.argv[1]) as engine:\n"
        "    with database.altering(engine, busy_seconds=5) as connection:\n"
        "        migration.migrate(connection, None)\n"
        "    print(migration.current(engine), migration.scripts_directory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "gglib.db")],
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{HEAD} {inside}\n", "")


def test_migrations_are_found_in_a_checkout_and_missed_where_they_are_not(tmp_path: Path) -> None:
    assert scripts_directory() == ROOT / "migrations"
    with pytest.raises(DatabaseError, match="not installed completely"):
        scripts_directory(tmp_path / "gglib_runtime")


def test_a_developer_can_have_the_next_migration_written(tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    url = f"sqlite:///{tmp_path / 'scratch.db'}"
    with open_database(url) as engine:
        upgrade(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("DROP INDEX ix_models_real_path")
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = {scripts}\n")
    alembic = [sys.executable, "-m", "alembic", "-c", str(tmp_path / "alembic.ini")]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    }
    command = [
        "-x",
        f"database={url}",
        "revision",
        "--autogenerate",
        f"--rev-id={NEXT}",
        "-m",
        "Find",
    ]
    done = subprocess.run(
        [*alembic, *command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = (scripts / "versions" / f"{NEXT}_find.py").read_text()
    assert "ix_models_real_path" in written
    assert f"down_revision = '{HEAD}'" in written
    assert "downgrade" not in written
