"""Settings come from four layers, are judged as a whole, and say where they came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gglib_core.errors import ConfigError
from gglib_runtime.settings import Layer, LoadedSettings, Settings, load_settings
from gglib_runtime.settings.loading import SettingsSources
from gglib_runtime.settings.reference import settings_table
from gglib_runtime.settings.schema import declarations

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text)
    return path


def complaint(config: Path | None = None, *args: object, **kwargs: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(config, *args, **{"environ": {}, **kwargs})  # type: ignore[arg-type]
    return str(caught.value)


def test_without_anything_all_values_are_defaults() -> None:
    loaded = load_settings(environ={})
    assert loaded.settings == Settings()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}
    assert loaded.config_file is None
    assert loaded.warnings == ()


def test_defaults_are_within_their_own_bounds(tmp_path: Path) -> None:
    settings = Settings()
    for key, declaration in declarations().items():
        value = getattr(settings, key)
        if value is not None:
            assert declaration.kind.parse(value, tmp_path) == value, key


def test_later_layers_win_one_by_one(tmp_path: Path) -> None:
    config = write(tmp_path, "port = 1\ndefault_ctx = 1\nmax_resident = 1\nqueue_limit = 1\n")
    environ = {"GGLIB_DEFAULT_CTX": "2", "GGLIB_MAX_RESIDENT": "2", "GGLIB_QUEUE_LIMIT": "2"}
    loaded = load_settings(
        config, environ, {"max_resident": "3", "queue_limit": 3, "host": None}, ["queue_limit=4"]
    )
    settings = loaded.settings
    assert (settings.port, settings.default_ctx) == (1, 2)
    assert (settings.max_resident, settings.queue_limit) == (3, 4)
    assert settings.host == "127.0.0.1"
    shown = {key: str(loaded.origins[key]) for key in ("host", "port", "default_ctx")}
    assert shown == {"host": "default", "port": str(config), "default_ctx": "GGLIB_DEFAULT_CTX"}
    assert str(loaded.origins["max_resident"]) == "--max-resident"
    assert str(loaded.origins["queue_limit"]) == "--set"
    assert loaded.origins["port"].layer is Layer.FILE


def test_a_default_of_ones_own_counts_for_less_than_every_layer(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("port = 9000")
    calm = SettingsSources(
        config_path=config, environ={}, defaults={"log_level": "warning", "port": 1}
    )
    loaded = calm.load()
    assert (loaded.settings.log_level, loaded.settings.port) == ("warning", 9000)
    assert loaded.origins["log_level"].layer is Layer.DEFAULT
    assert loaded.sources.load({"log_level": "debug"}).settings.log_level == "debug"


def test_sizes_and_durations_may_have_units_in_every_layer(tmp_path: Path) -> None:
    config = write(tmp_path, 'max_body_bytes = "1MiB"\nqueue_seconds = "5m"\nidle_seconds = 90\n')
    settings = load_settings(config, {"GGLIB_DRAIN_SECONDS": "1.5"}, {}, ["cache-ram-bytes=1GiB"])
    assert settings.settings.max_body_bytes == 1024**2
    assert settings.settings.queue_seconds == 300.0
    assert settings.settings.idle_seconds == 90.0
    assert settings.settings.drain_seconds == 1.5
    assert settings.settings.cache_ram_bytes == 1024**3


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    config = write(tmp_path, 'port = 70000\nquantum = 3\nlog_level = "loud"\n')
    message = complaint(
        config, environ={"GGLIB_QUEUE_LIMIT": "many"}, flags={"host": " "}, assignments=["prot=1"]
    )
    assert message.splitlines() == [
        "6 settings are wrong:",
        f"  port = 70000 ({config}): expected a whole number from 0 to 65535",
        f"  quantum = 3 ({config}): there is no such setting; did you mean quantum_seconds?",
        f"  log_level = 'loud' ({config}): expected debug, info, warning or error",
        "  queue_limit = 'many' (GGLIB_QUEUE_LIMIT): expected a whole number from 1 to 1000000",
        "  host = ' ' (--host): expected an address or a name, unix:PATH, fd://NUMBER or systemd",
        "  prot = '1' (--set): there is no such setting; did you mean port?",
    ]


def test_one_wrong_setting_makes_one_line() -> None:
    assert complaint(flags={"port": "x"}) == (
        "A setting is wrong: port = 'x' (--port): expected a whole number from 0 to 65535"
    )


@pytest.mark.parametrize(
    "line",
    [
        "port = true",
        "port = 80.0",
        "host = 7",
        "[port]",
        'port = "٣"',
        "idle_seconds = nan",
        "idle_seconds = inf",
        "idle_seconds = true",
        "idle_seconds = -1",
        'max_body_bytes = "64M"',
        "max_body_bytes = 1.5",
        "max_body_bytes = 1",
        "comment_interval_seconds = 0",
        'host = "a\\u0000b"',
        'database_url = "mysql://host/name"',
        'database_url = "gglib.db"',
        'default_ctx = "' + "9" * 5000 + '"',
        'max_body_bytes = "1' + "0" * 5000 + '"',
        'idle_seconds = "' + "9" * 400 + 'd"',
        'port = ""',
        'host = "unix:"',
        'host = "fd://"',
        'host = "fd://x"',
        'host = "fd://-1"',
        "unix_socket_mode = 660",
        "unix_socket_mode = true",
        'unix_socket_mode = "rw"',
        'unix_socket_mode = "888"',
        'unix_socket_mode = "01777"',
        "tls_cert = 1",
        "max_connections = -1",
    ],
)
def test_values_of_the_wrong_type_or_size_are_refused(tmp_path: Path, line: str) -> None:
    message = complaint(write(tmp_path, line))
    assert message.startswith("A setting is wrong: ")
    assert len(message) < 400


def test_values_that_contradict_each_other_are_refused() -> None:
    assert complaint(flags={"max_body_bytes": "1GiB"}) == (
        "A setting is wrong: max_buffered_bytes = '512MiB' (default): "
        "expected at least max_body_bytes, which is 1GiB"
    )


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_a_certificate_and_its_key_belong_together(given: str, missing: str) -> None:
    message = complaint(flags={given: "some.pem"})
    assert message.startswith(f"A setting is wrong: {missing} = None (default): expected a file")


def test_where_to_listen_has_many_forms(tmp_path: Path) -> None:
    forms = {
        "unix:run/x.sock": f"unix:{tmp_path}/run/x.sock",
        "unix:/x.sock": "unix:/x.sock",
        "fd://3": "fd://3",
        "systemd": "systemd",
        "::1": "::1",
    }
    for form, meant in forms.items():
        loaded = load_settings(write(tmp_path, f'host = "{form}"\n'), environ={})
        assert loaded.settings.host == meant


@pytest.mark.parametrize("raw", ['"0660"', '"660"', '"0o660"', "0o660"])
def test_the_mode_of_a_socket_is_octal(tmp_path: Path, raw: str) -> None:
    loaded = load_settings(write(tmp_path, f"unix_socket_mode = {raw}\n"), environ={})
    assert loaded.settings.unix_socket_mode == 0o660
    assert declarations()["unix_socket_mode"].show(0o660) == "0660"


def test_a_file_that_cannot_be_looked_for_is_an_error_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load_settings(tmp_path / ("x" * 300), environ={})


@pytest.mark.parametrize("key", ["database_url", "databse_url"])
@pytest.mark.parametrize("url", ["//joe:secret@host", "mysql://joe:secret@host/name"])
def test_a_password_is_not_shown_where_its_url_is_wrong(key: str, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={}, flags={key: url})
    assert "joe:***@host" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ['[db]\nurl = "{}"', 'databse_url = ["{}"]', 'databse_url = "{}"'])
def test_a_password_is_not_shown_where_no_setting_has_it(tmp_path: Path, text: str) -> None:
    message = complaint(write(tmp_path, text.format("postgresql://joe:secret@host/name")))
    assert "joe:***@host" in message
    assert "secret" not in message


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    url = "postgresql://joe:se/c@ret@host/name?password=se%20cret&x=y"
    kind = declarations()["database_url"].kind
    assert kind.show(url) == "postgresql://joe:***@host/name?password=***&x=y"
    message = complaint(flags={"database_url": url.replace("postgresql", "mysql")})
    assert "mysql://joe:***@host/name" in message
    assert "cret" not in message


def test_a_named_file_has_to_exist(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert complaint(missing) == f"There is no settings file {missing}."
    assert complaint(environ={"GGLIB_CONFIG": str(missing)}).startswith("There is no settings file")


def test_the_file_of_the_user_is_read_if_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "config" / "gglib" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("port = 9")
    loaded = load_settings(environ={})
    assert (loaded.settings.port, loaded.config_file) == (9, path)


def test_a_named_file_replaces_that_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "config" / "gglib" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("port = 9")
    other = write(tmp_path, "default_ctx = 1")
    by_variable = load_settings(environ={"GGLIB_CONFIG": str(other)}).settings
    assert (by_variable.port, by_variable.default_ctx) == (8080, 1)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    assert "is not valid TOML" in complaint(write(tmp_path, "port ="))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# \xe9")
    assert "cannot be read" in complaint(latin)
    assert "cannot be read" in complaint(tmp_path)


def test_relative_paths_start_at_the_file_or_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path, 'data_dir = "data"\nllama_server = "bin/llama-server"')
    monkeypatch.chdir("/")
    settings = load_settings(config, {}).settings
    assert settings.data_dir == tmp_path / "data"
    assert settings.llama_server == str(tmp_path / "bin/llama-server")
    assert load_settings(config, {"GGLIB_DATA_DIR": "x"}).settings.data_dir == Path("/x")
    assert load_settings(None, {}, {"data_dir": "~/x"}).settings.data_dir == tmp_path / "home/x"


def test_a_command_without_a_slash_is_left_to_path() -> None:
    assert load_settings(environ={"GGLIB_LLAMA_SERVER": "ls"}).settings.llama_server == "ls"


def test_an_empty_text_takes_an_optional_value_away(tmp_path: Path) -> None:
    config = write(tmp_path, 'default_model = "a"')
    assert load_settings(config, {}).settings.default_model == "a"
    assert load_settings(config, {}, {}, ["default_model="]).settings.default_model is None


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    config = write(tmp_path, "port = 9")
    assert load_settings(config, {"GGLIB_PORT": ""}).settings.port == 9


def test_an_unknown_variable_is_a_warning() -> None:
    environ = {"GGLIB_PROT": "1", "GGLIB_API_KEY": "x", "GGLIB_DEBUG": "1", "PORT": "7"}
    loaded: LoadedSettings = load_settings(environ=environ)
    assert loaded.warnings == (
        "The environment variable GGLIB_PROT is not a setting; did you mean GGLIB_PORT?",
    )


def test_the_data_directory_moves_everything_that_is_written(tmp_path: Path) -> None:
    settings = load_settings(environ={"GGLIB_DATA_DIR": str(tmp_path)}).settings
    paths = settings.paths
    assert settings.effective_database_url == f"sqlite:///{tmp_path}/gglib.db"
    for path in (paths.database, paths.logs, paths.models, paths.children, paths.server_record):
        assert path.is_relative_to(tmp_path)


def test_a_data_directory_is_made_closed_to_others(tmp_path: Path) -> None:
    paths = Settings(data_dir=tmp_path / "a" / "b").paths
    paths.create()
    paths.create()
    assert paths.root.stat().st_mode & 0o777 == 0o700
    assert paths.children.is_dir()


def test_the_documentation_lists_every_setting() -> None:
    assert settings_table() in DOCUMENTATION.read_text(), "run python -m gglib_runtime.settings"
    [row] = [line for line in settings_table().splitlines() if line.startswith("| `port` |")]
    assert row.startswith("| `port` | `8080` | 0 to 65535 | restart | TCP port of the endpoint; ")


def test_the_table_can_be_printed() -> None:
    command = [sys.executable, "-m", "gglib_runtime.settings"]
    assert subprocess.check_output(command, text=True).strip() == settings_table()
