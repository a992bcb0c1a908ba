"""The wheel: what is in it, and that it works where the checkout is not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.command_line import REPOSITORY

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 120


def build_wheel(source: Path, directory: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(directory)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files as an installer lays them out."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def run(site: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GGLIB_")}
    environ |= {"PYTHONPATH": str(site), "HOME": str(home), "GGLIB_DATA_DIR": str(home / "data")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env=environ,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_what_the_container_copies_is_all_that_a_build_needs(wheel: Path, tmp_path: Path) -> None:
    text = (REPOSITORY / "deploy" / "Containerfile").read_text().partition("\nRUN ")[0]
    copied = [name for line in re.findall(r"(?m)^COPY (.*) \S+$", text) for name in line.split()]
    source = tmp_path / "src"
    source.mkdir()
    for path in (REPOSITORY / name for name in copied):
        if path.is_dir():
            shutil.copytree(path, source / path.name)
        else:
            shutil.copy(path, source)
    built = build_wheel(source, tmp_path / "dist")
    assert zipfile.ZipFile(built).namelist() == zipfile.ZipFile(wheel).namelist()


def test_it_holds_three_packages_and_the_migrations_inside_one(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "gglib_core",
        "gglib_proxy",
        "gglib_runtime",
    }
    assert "gglib_runtime/migrations/env.py" in names
    assert "gglib_runtime/migrations/script.py.mako" in names
    assert "gglib_core/py.typed" in names


def test_it_holds_the_simulator_s_profiles_and_scenarios(wheel: Path) -> None:
    names = {*zipfile.ZipFile(wheel).namelist()}
    simulator = REPOSITORY / "gglib_runtime" / "simulator"
    found = {str(path.relative_to(REPOSITORY)) for path in simulator.rglob("*.toml")}
    assert len(found) > 5
    assert found <= names


def test_it_is_what_runs(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "-c", "import gglib_runtime; print(gglib_runtime.__file__)")
    assert done.stdout.startswith(str(site)), done.stderr


def test_its_migrations_run(site: Path, tmp_path: Path) -> None:
    code = (
        "from gglib_runtime.catalog.migration import HEAD, current, migrate\n"
        "from gglib_runtime.catalog.database import altering, open_database\n"
        "with open_database('fresh.db') as engine:\n"
        "    with altering(engine, busy_seconds=5) as connection: migrate(connection, None)\n"
        "    assert current(engine) == HEAD\n"
    )
    done = run(site, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_it_goes_up_and_answers(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "-m", "gglib_runtime", "up", "--check", "--port", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "http://127.0.0.1:" in done.stdout
