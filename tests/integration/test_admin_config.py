"""`/admin/config` of a server that runs: what is set counts at once, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults import faulty_server, simulating_shell
from tests.serving import WAIT_SECONDS, Served, serving, wait_until

PAGE = {"origin": "https://page.example"}


@pytest.fixture
def server(tmp_path: Path) -> Generator[Served]:
    with faulty_server(tmp_path, models={"alpha": {}, "beta": {}}) as server:
        yield server


def send(server: Served, method: str, path: str, body: object = None) -> tuple[int, Any]:
    answer = httpx.request(method, server.url + path, json=body, timeout=WAIT_SECONDS)
    return answer.status_code, answer.json()


def merge(server: Served, **values: object) -> dict[str, Any]:
    status, document = send(server, "PATCH", "/admin/config", values)
    assert status == 200, document
    return document


def allowed_origin(server: Served) -> str | None:
    answer = httpx.get(f"{server.url}/v1/models", headers=PAGE, timeout=WAIT_SECONDS)
    return answer.headers.get("access-control-allow-origin")


def test_a_page_is_let_in_from_the_change_on(server: Served) -> None:
    assert allowed_origin(server) is None
    document = merge(server, allowed_origins=["https://page.example"])
    assert document["origins"]["allowed_origins"] == "admin"
    assert allowed_origin(server) == "https://page.example"
    merge(server, allowed_origins=None)
    assert allowed_origin(server) is None


def test_a_limit_holds_from_the_change_on_and_ends_with_it(server: Served) -> None:
    assert server.chat("alpha").status_code == 200
    merge(server, requests_per_minute=1)
    assert [server.chat("alpha").status_code for _ in range(2)] == [200, 429]
    merge(server, requests_per_minute=0)
    assert server.chat("alpha").status_code == 200


def test_a_caller_who_has_used_up_a_limit_is_let_through_after_a_reset(server: Served) -> None:
    merge(server, requests_per_minute=1)
    assert [server.chat("alpha").status_code for _ in range(2)] == [200, 429]
    assert send(server, "POST", "/admin/rate-limits/reset") == (200, {"reset": 1})
    assert [server.chat("alpha").status_code for _ in range(2)] == [200, 429]
    body = {"caller": "somebody-else"}
    assert send(server, "POST", "/admin/rate-limits/reset", body) == (200, {"reset": 0})
    assert server.chat("alpha").status_code == 429


def test_the_log_says_as_much_as_is_wanted(server: Served) -> None:
    def levels() -> set[str]:
        return {line["level"] for line in send(server, "GET", "/admin/logs")[1]["data"]}

    assert "debug" not in levels()
    merge(server, log_level="debug")
    server.chat("alpha")
    wait_until(lambda: "debug" in levels())


def test_requests_that_name_no_model_go_to_the_one_that_was_set(server: Served) -> None:
    unnamed = {"messages": [{"role": "user", "content": "Hi"}]}
    assert server.post("/v1/chat/completions", unnamed).status_code == 400
    merge(server, default_model="beta")
    assert server.post("/v1/chat/completions", unnamed).json()["model"] == "beta"


def test_what_is_wrong_is_refused_whole_with_every_field(server: Served) -> None:
    _, before = send(server, "GET", "/admin/config")
    wrong = {"queue_limit": 0, "log_level": "loud", "no_such": 1, "requests_per_minute": 5}
    for method in ("PATCH", "POST"):
        status, document = send(server, method, "/admin/config", wrong)
        error = document["error"]
        assert (status, error["code"]) == (400, "invalid_configuration")
        assert {each["field"] for each in error["all_details"]} == {
            "queue_limit",
            "log_level",
            "no_such",
        }
        assert error["details"] == error["all_details"][0]
    assert send(server, "GET", "/admin/config")[1] == before


def test_what_a_flag_says_cannot_be_changed(tmp_path: Path) -> None:
    with faulty_server(tmp_path, "--set", "queue_limit=9") as server:
        _, document = send(server, "GET", "/admin/config")
        assert {"port", "queue_limit"} <= set(document["fixed"])
        status, refused = send(server, "PATCH", "/admin/config", {"queue_limit": 8})
        assert (status, refused["error"]["details"]["field"]) == (400, "queue_limit")


def test_what_was_set_survives_a_restart_and_a_replacement_forgets_it(tmp_path: Path) -> None:
    shell = simulating_shell(tmp_path, {"alpha": {}})
    with serving(shell) as server:
        merge(server, queue_limit=7, default_ctx=1024)
        assert send(server, "GET", "/admin/config")[1]["restart_needed"] == ["default_ctx"]
    with serving(shell) as server:
        _, document = send(server, "GET", "/admin/config")
        assert (document["config"]["queue_limit"], document["config"]["default_ctx"]) == (7, 1024)
        assert (document["origins"]["queue_limit"], document["restart_needed"]) == ("admin", [])
        _, document = send(server, "POST", "/admin/config", {"queue_seconds": "20s"})
        assert (document["config"]["queue_limit"], document["origins"]["queue_limit"]) == (
            1024,
            "default",
        )
        assert json.loads((shell.data_dir / "settings.json").read_text()) == {
            "queue_seconds": "20s"
        }


def test_a_changed_file_counts_soon_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "gglib.toml"
    config.write_text("queue_limit = 5\n")
    shell = simulating_shell(tmp_path, {"alpha": {}})

    def limit() -> object:
        return send(server, "GET", "/admin/config")[1]["config"]["queue_limit"]

    with serving(shell, "--config", config) as server:
        assert server.chat("alpha").status_code == 200
        engines = server.engines()
        config.write_text("queue_limit = 60\n")
        wait_until(lambda: limit() == 60)
        config.write_text("queue_limit = 'lots and lots'\n")
        wait_until(lambda: "the settings stay as they were" in server.log.read_text())
        status, refused = send(server, "POST", "/admin/config/reload")
        assert (status, refused["error"]["details"]["field"]) == (400, "queue_limit")
        assert limit() == 60
        config.write_text("queue_limit = 61\n")
        assert send(server, "POST", "/admin/config/reload")[1]["config"]["queue_limit"] == 61
        assert server.engines() == engines


def test_sighup_has_the_files_read_and_stops_no_model(tmp_path: Path) -> None:
    config = tmp_path / "gglib.toml"
    config.write_text("default_parallel = 2\n")
    shell = simulating_shell(tmp_path, {"alpha": {}})
    with serving(shell, "--config", config) as server:
        assert server.chat("alpha").status_code == 200
        engines = server.engines()
        stamp = config.stat()
        config.write_text("default_parallel = 3\n")
        os.utime(config, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # polling sees no change
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings have changed: default_parallel" in server.log.read_text())
        assert server.chat("alpha").status_code == 200
        assert server.engines() == engines
