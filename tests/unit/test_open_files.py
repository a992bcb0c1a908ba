"""How many clients the open files are enough for."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from gglib_runtime.open_files import clients_within
from tests.command_line import REPOSITORY, WAIT_SECONDS

LOOK = """
import json, resource
from gglib_runtime.open_files import raise_file_limit, reachable_file_limit
reachable, raised = reachable_file_limit(), raise_file_limit()
print(json.dumps([reachable, raised, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
"""


def limited_to(soft: int, hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("soft", "hard"), [(128, 1024), (1024, 1024)])
def test_all_that_the_system_allows_is_taken(soft: int, hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        preexec_fn=limited_to(soft, hard),
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        timeout=WAIT_SECONDS,
    )
    assert json.loads(done.stdout) == [hard, hard, hard]


@pytest.mark.parametrize(
    ("files", "clients"), [(1024, 480), (20_000, 9_968), (256, 96), (64, 8), (10, 8)]
)
def test_each_client_may_need_two_files(files: int, clients: int) -> None:
    assert clients_within(files) == clients
