"""Settings change while a server runs: whole or not at all, and nobody is surprised."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gglib_core.errors import ConfigError, OwnFileUnusable
from gglib_runtime.live_settings import LiveSettings, open_live_settings, shown
from gglib_runtime.paths import default_config_file
from gglib_runtime.settings import Settings, load_settings
from gglib_runtime.settings.schema import declarations


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gglib.toml"
    path.write_text(f'data_dir = "{tmp_path / "data"}"\nqueue_limit = 5\n')
    (tmp_path / "data").mkdir()
    return path


def live(config: Path, environ: Mapping[str, str] | None = None, **flags: object) -> LiveSettings:
    return LiveSettings(load_settings(config, environ or {}, flags))


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def overrides(config: Path) -> object:
    return json.loads((config.parent / "data" / "settings.json").read_text())


async def problems_of(changing: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        await changing  # type: ignore[misc]
    return dict(caught.value.problems)


async def test_a_merge_counts_at_once_and_after_a_restart(config: Path) -> None:
    settings = live(config)
    seen: list[Settings] = []
    settings.on_change(seen.append)
    view = await settings.merge({"queue_limit": 7, "queue_seconds": "20s"})
    assert (view.values["queue_limit"], view.origins["queue_limit"]) == (7, "admin")
    assert [(each.queue_limit, each.queue_seconds) for each in seen] == [(7, 20.0)]
    assert live(config).settings.queue_limit == 7


async def test_a_merge_keeps_what_was_set_before_and_takes_back_what_is_null(config: Path) -> None:
    settings = live(config)
    await settings.merge({"queue_limit": 7, "default_model": "tiny"})
    view = await settings.merge({"queue_limit": None, "queue_seconds": 9})
    assert (view.values["queue_limit"], view.values["default_model"]) == (5, "tiny")
    assert overrides(config) == {"default_model": "tiny", "queue_seconds": 9}


async def test_a_replacement_forgets_what_was_set_before(config: Path) -> None:
    settings = live(config)
    await settings.merge({"queue_limit": 7, "default_model": "tiny"})
    view = await settings.replace({"queue_seconds": 9})
    assert (view.values["queue_limit"], view.values["default_model"]) == (5, None)
    assert overrides(config) == {"queue_seconds": 9}


async def test_what_was_shown_can_be_sent_back_and_changes_nothing(config: Path) -> None:
    settings = live(config, {"GGLIB_DATABASE_URL": "postgresql://me:secret@127.0.0.1/x"})
    seen: list[Settings] = []
    settings.on_change(seen.append)
    view = settings.view()
    assert "secret" not in json.dumps(dict(view.values))
    assert await settings.replace(view.values) == view
    assert seen == []
    assert overrides(config) == {}


def test_every_value_that_is_shown_can_be_read_again(tmp_path: Path) -> None:
    rules = '[{"models": "tiny*", "requests_per_minute": 5}]'
    lists = {
        "limits": rules,
        "allowed_hosts": "a.example,b.example,::1",
        "trusted_proxies": "10.0.0.0/8",
        "allowed_origins": "https://a.example",
    }
    for flags in ({}, lists, {"allowed_hosts": "5"}):
        settings = load_settings(environ={}, flags=flags).settings
        for key, declaration in declarations().items():
            value = shown(settings, key)
            json.dumps(value)
            if value is not None:
                assert declaration.kind.parse(value, tmp_path) == getattr(settings, key), key


async def test_a_change_is_refused_whole_with_everything_that_is_wrong(config: Path) -> None:
    settings = live(config)
    await settings.merge({"queue_limit": 7})
    wrong = {"queue_limit": -1, "queue_secons": 5, "quantum_seconds": "soon", "max_resident": 2}
    for change in (settings.merge, settings.replace):
        problems = await problems_of(change(wrong))
        assert problems.keys() == {"queue_limit", "queue_secons", "quantum_seconds"}
        assert "queue_seconds" in problems["queue_secons"]
        assert (settings.settings.queue_limit, settings.settings.max_resident) == (7, 1)
        assert overrides(config) == {"queue_limit": 7}


async def test_values_that_contradict_each_other_are_refused(config: Path) -> None:
    problems = await problems_of(live(config).merge({"max_buffered_bytes": "2MiB"}))
    assert problems.keys() == {"max_buffered_bytes"}


async def test_what_a_flag_or_a_variable_says_cannot_be_changed(config: Path) -> None:
    settings = live(config, {"GGLIB_QUEUE_LIMIT": "3"}, max_resident="2")
    assert {"queue_limit", "max_resident"} <= set(settings.view().fixed)
    problems = await problems_of(
        settings.merge({"queue_limit": 7, "max_resident": 3, "data_dir": "/x"})
    )
    assert "GGLIB_QUEUE_LIMIT" in problems["queue_limit"]
    assert "--max-resident" in problems["max_resident"]
    assert "data_dir" in problems
    assert (await settings.merge({"queue_limit": 3})).values["queue_limit"] == 3


async def test_what_cannot_be_changed_is_told_with_all_else_that_is_wrong(config: Path) -> None:
    settings = live(config, {"GGLIB_QUEUE_LIMIT": "3"})
    wrong = {"queue_limit": 7, "data_dir": "/x", "quantum_seconds": "soon", "queue_secons": 5}
    for change in (settings.merge, settings.replace):
        assert (await problems_of(change(wrong))).keys() == wrong.keys()


async def test_what_counts_for_more_since_does_not_keep_others_from_being_changed(
    config: Path,
) -> None:
    await live(config).merge({"queue_limit": 7})
    settings = live(config, {"GGLIB_QUEUE_LIMIT": "3"})
    view = await settings.merge({"queue_seconds": 9})
    assert (view.values["queue_limit"], view.values["queue_seconds"]) == (3, 9)
    await settings.merge({"queue_limit": None})
    assert overrides(config) == {"queue_seconds": 9}


async def test_a_secret_that_was_set_here_is_kept_when_it_is_sent_back_as_it_was_shown(
    config: Path,
) -> None:
    settings, url = live(config), "postgresql://me:secret@127.0.0.1/x"
    view = await settings.merge({"database_url": url})
    assert await settings.replace(view.values) == view
    for change in (settings.replace, settings.merge):
        assert await change({"database_url": view.values["database_url"]}) == view
        assert overrides(config) == {"database_url": url}


async def test_what_needs_a_restart_is_named_until_it_is_taken_back(config: Path) -> None:
    settings = live(config)
    assert (await settings.merge({"port": 9999, "queue_limit": 7})).restart_needed == ["port"]
    assert (await settings.merge({"queue_limit": 8})).restart_needed == ["port"]
    assert (await settings.merge({"port": None})).restart_needed == []


async def test_a_changed_file_is_followed(config: Path) -> None:
    async with open_live_settings(load_settings(config, {}), poll_seconds=0.01) as settings:
        changed = asyncio.Event()
        settings.on_change(lambda _: changed.set())
        edit(config, "queue_limit = 5", "queue_limit = 6")
        async with asyncio.timeout(20):
            await changed.wait()
        assert settings.settings.queue_limit == 6


async def test_a_file_that_changes_before_it_is_followed_is_seen(config: Path) -> None:
    loaded = load_settings(config, {})
    edit(config, "queue_limit = 5", "queue_limit = 6")
    changed = asyncio.Event()
    async with open_live_settings(loaded, poll_seconds=0.01) as settings, asyncio.timeout(20):
        settings.on_change(lambda _: changed.set())
        await changed.wait()
        assert settings.settings.queue_limit == 6


async def test_who_comes_after_a_change_is_told_of_it(config: Path) -> None:
    settings = live(config)
    seen: list[int] = []
    settings.on_change(lambda new: seen.append(new.queue_limit))
    assert seen == []
    await settings.merge({"queue_limit": 7})
    settings.on_change(lambda new: seen.append(new.queue_limit))
    assert seen == [7, 7]


async def test_a_file_is_not_read_while_it_is_being_written(config: Path) -> None:
    settings = live(config)
    limits: asyncio.Queue[int] = asyncio.Queue()
    settings.on_change(lambda new: limits.put_nowait(new.queue_limit))
    edit(config, "queue_limit = 5", "queue_limit = 6")
    following = asyncio.create_task(settings.follow(poll_seconds=0.001, settle_seconds=1.0))
    await asyncio.sleep(0.05)  # for it to look; where it has not, the test proves less
    edit(config, "queue_limit = 6", "queue_limit = 60")
    async with asyncio.timeout(20):
        assert await limits.get() == 60
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_settings_from_a_pipe_are_read_once_and_stay(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, f'data_dir = "{tmp_path}"\nqueue_limit = 5\n'.encode())
    os.close(writing)
    settings = live(Path(f"/dev/fd/{reading}"))
    await settings.reload()
    view = await settings.merge({"queue_seconds": 9})
    os.close(reading)
    assert (view.values["queue_limit"], view.values["queue_seconds"]) == (5, 9)


class EditsWhileRead(dict[str, str]):
    """An environment, read after the settings file; when armed, that changes just then."""

    is_armed = False

    def __init__(self, config: Path) -> None:
        self._config = config

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        if self.is_armed and key == "GGLIB_QUEUE_LIMIT":
            self.is_armed = False
            edit(self._config, "queue_limit = 5", "queue_limit = 6")
        return default


async def test_a_file_that_changes_during_a_change_is_seen(config: Path) -> None:
    environ, changed = EditsWhileRead(config), asyncio.Event()
    settings = LiveSettings(load_settings(config, environ))
    settings.on_change(lambda _: changed.set())
    environ.is_armed = True
    await settings.merge({"quantum_seconds": 9})
    assert settings.settings.queue_limit == 5
    changed.clear()
    following = asyncio.create_task(settings.follow(poll_seconds=0.001))
    async with asyncio.timeout(20):
        await changed.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert (settings.settings.queue_limit, settings.settings.quantum_seconds) == (6, 9)


async def test_a_file_that_comes_later_is_followed_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = default_config_file()
    loaded = load_settings(None, {"GGLIB_DATA_DIR": str(tmp_path)})
    limits: asyncio.Queue[int] = asyncio.Queue()
    async with open_live_settings(loaded, poll_seconds=0.001) as settings, asyncio.timeout(20):
        settings.on_change(lambda new: limits.put_nowait(new.queue_limit))
        path.parent.mkdir(parents=True)
        path.write_text("queue_limit = 8\n")
        assert await limits.get() == 8
        path.unlink()
        assert await limits.get() == Settings(data_dir=tmp_path).queue_limit


async def test_a_wrong_file_changes_nothing_and_is_told_once(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = live(config)
    edit(config, "queue_limit = 5", "queue_limit = 'many'")
    with caplog.at_level(logging.ERROR):
        await settings.reload_if_right()
        await settings.reload_if_right()
    assert [record.message.count("queue_limit") for record in caplog.records] == [1]
    assert settings.settings.queue_limit == 5
    edit(config, "queue_limit = 'many'", "queue_limit = 6")
    await settings.reload_if_right()
    assert settings.settings.queue_limit == 6


async def test_who_asks_to_reload_a_wrong_file_is_told_each_time(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_live_settings(load_settings(config, {}), poll_seconds=60) as settings:
        edit(config, "queue_limit = 5", "queue_limit = 'many'")
        for count in (1, 2):
            settings.ask_to_reload()
            async with asyncio.timeout(20):
                while len(caplog.records) < count:  # noqa: ASYNC110 -- a log has no event
                    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "text",
    [
        b"a = " + b"[" * 100_000,
        b"a." * 5000 + b"b = 1",
        b"limits = [{models" + b".a" * 5000 + b" = 1}]",
        b"a = 1" + b"0" * 5000,
        b"queue_limit = 0x1" + b"0" * 5000,
        b"\xff",
    ],
)
async def test_no_file_ends_the_server(
    config: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    settings = live(config)
    own = config.parent / "data" / "settings.json"
    for path, damage in ((own, text.removeprefix(b"a = ")), (config, text)):
        path.write_bytes(damage)
        caplog.clear()
        await settings.reload_if_right()
        assert [str(path) in record.message for record in caplog.records] == [True]
    assert settings.settings.queue_limit == 5


async def test_what_cannot_be_kept_does_not_count(config: Path) -> None:
    settings = live(config)
    directory = config.parent / "data"
    (directory / "settings.new").mkdir()
    with pytest.raises(OwnFileUnusable, match="cannot be written"):
        await settings.merge({"queue_limit": 7})
    assert settings.settings.queue_limit == 5


async def test_the_file_is_closed_to_other_users(config: Path) -> None:
    await live(config).merge({"queue_limit": 7})
    mode = (config.parent / "data" / "settings.json").stat().st_mode
    assert oct(mode & 0o777) == "0o600"
    assert os.listdir(config.parent / "data") == ["settings.json"]  # noqa: PTH208


def test_a_damaged_file_says_what_to_do(config: Path) -> None:
    (config.parent / "data" / "settings.json").write_text("{")
    with pytest.raises(ConfigError, match="Mend or remove it"):
        live(config)
