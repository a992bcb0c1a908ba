"""Settings that say who may come, and how much each may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from gglib_core.errors import ConfigError
from gglib_core.keys import Allowance, Endpoint
from gglib_core.rate_limiting import LimitRule
from gglib_runtime.settings import Settings, load_settings
from gglib_runtime.settings.schema import declarations

RULES = """
[[limits]]
models = "big-*"
concurrent_requests = 2

[[limits]]
endpoint = "inference"
key = "team-*"
requests_per_minute = 600
budget_per_day = 2.5
"""


@pytest.fixture(autouse=True)
def no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def from_file(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "some.toml"
    path.write_text(text)
    return load_settings(path, {}).settings


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("1", True), ("on", True), ("false", False), ("0", False)],
)
def test_a_switch_is_written_as_people_do(text: str, value: bool) -> None:
    assert load_settings(environ={"GGLIB_NO_AUTH": text}).settings.no_auth is value


def test_a_switch_is_a_boolean_of_toml(tmp_path: Path) -> None:
    assert from_file(tmp_path, "no_auth = true").no_auth is True
    assert "expected true or false" in complaint(tmp_path, "no_auth = 1")
    assert "expected true or false" in complaint(tmp_path, 'no_auth = "perhaps"')


def test_lists_are_toml_or_separated_by_commas(tmp_path: Path) -> None:
    networks = ("10.0.0.0/8", "::1/128", "unix")
    written = from_file(tmp_path, 'trusted_proxies = ["10.0.0.0/8", "::1", "Unix"]')
    assert written.trusted_proxies == networks
    said = load_settings(environ={"GGLIB_TRUSTED_PROXIES": "10.0.0.0/8, ::1, unix,"}).settings
    assert said.trusted_proxies == networks
    assert declarations()["trusted_proxies"].show(networks) == "10.0.0.0/8, ::1/128, unix"


def test_hosts_and_origins_are_lower_case_and_without_ends(tmp_path: Path) -> None:
    settings = from_file(
        tmp_path,
        'allowed_hosts = ["GPU.example.org.", "*.lan", "[FE80::1]", "10.0.0.7", "*"]\n'
        'allowed_origins = ["https://Chat.example.org/", "https://*.lan:81", "tauri://x", "*"]',
    )
    assert settings.allowed_hosts == ("gpu.example.org", "*.lan", "fe80::1", "10.0.0.7", "*")
    origins = ("https://chat.example.org", "https://*.lan:81", "tauri://x", "*")
    assert settings.allowed_origins == origins


def test_no_origin_is_not_the_default_origins(tmp_path: Path) -> None:
    assert from_file(tmp_path, "allowed_origins = []").allowed_origins == ()
    assert from_file(tmp_path, "").allowed_origins is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('trusted_proxies = ["10.0.0.1/8"]', "'10.0.0.1/8' is no network: 10.0.0.1/8 has host"),
        ("trusted_proxies = [7]", "expected networks such as"),
        ('allowed_hosts = ["a:80"]', "'a:80' is no name of a host (without a port)"),
        ('allowed_hosts = ["a b"]', "is no name of a host"),
        ('allowed_origins = ["example.org"]', "'example.org' is no origin"),
        ('allowed_origins = ["https://example.org/path"]', "is no origin"),
        ('allowed_origins = ["null"]', "is no origin"),
        ("allowed_origins = true", "expected origins such as"),
        ("budget_per_day = -1", "expected an amount of money such as 5 or 0.25, from 0 to"),
        ('budget_per_day = "1e3"', "expected an amount of money"),
        ("budget_per_day = nan", "expected an amount of money"),
        ("requests_per_minute = 1.5", "expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, line: str, said: str) -> None:
    assert said in complaint(tmp_path, line)


def test_an_allowance_is_made_of_what_is_limited(tmp_path: Path) -> None:
    assert Settings().allowance == Allowance()
    settings = from_file(tmp_path, 'requests_per_minute = 60\nbudget_per_day = "0.25"')
    assert settings.allowance == Allowance(requests_per_minute=60, budget_per_day=0.25)


def test_rules_are_tables(tmp_path: Path) -> None:
    rules = from_file(tmp_path, RULES).limits
    assert rules == (
        LimitRule(models="big-*", allowance=Allowance(concurrent_requests=2)),
        LimitRule(
            endpoint=Endpoint.INFERENCE,
            key="team-*",
            allowance=Allowance(requests_per_minute=600, budget_per_day=2.5),
        ),
    )


def test_what_is_shown_of_rules_can_be_given_as_a_variable(tmp_path: Path) -> None:
    rules = from_file(tmp_path, RULES).limits
    shown = declarations()["limits"].show(rules)
    assert load_settings(environ={"GGLIB_LIMITS": shown or ""}).settings.limits == rules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits = 7", "expected tables with models, endpoint or key"),
        ("limits = [7]", "limit 1 is no table"),
        ('[[limits]]\nmodels = "a"', "limit 1 limits nothing: name one of requests_per_minute"),
        ("[[limits]]\nmodel = 1", "limit 1: there is no 'model', but models, endpoint, key"),
        (
            "[[limits]]\nconcurrent_requests = 1\n[[limits]]\nconcurrent_requests = 0",
            "limit 2: concurrent_requests = 0: expected a whole number from 1 to",
        ),
        (
            '[[limits]]\nendpoint = "chat"\nconcurrent_requests = 1',
            "limit 1: endpoint = 'chat': expected inference, models, logs or admin",
        ),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_all_that_is_wrong_in_a_list_is_named() -> None:
    rules = [{"concurrent_requests": 0, "foo": 1}, {"requests_per_minute": 5}, {"key": "x"}]
    wrong = {
        "limits": (rules, ["limit 1: concurrent_requests = 0", "no 'foo'", "limit 3 limits"]),
        "allowed_origins": (["a", "https://b.example", "c"], ["'a'", "'c'"]),
        "allowed_hosts": (["a:1", "b", "c:1"], ["'a:1'", "'c:1'"]),
        "trusted_proxies": (["a", "10.0.0.0/8", "b"], ["'a'", "'b'"]),
    }
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={}, flags={key: value for key, (value, _) in wrong.items()})
    told = dict(caught.value.problems)
    for key, (_, issues) in wrong.items():
        assert all(issue in told[key].partition("): ")[2] for issue in issues), told[key]


def test_rules_that_are_no_json_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected tables"):
        load_settings(environ={"GGLIB_LIMITS": "[{"})


@pytest.mark.parametrize(
    ("most", "window", "per_minute"),
    [
        ("100", "60000", 100),
        ("100", None, 100),
        ("10", "1000", 600),
        ("100", "900000", 7),
        ("1", "86400000", 1),
        ("0", "1000", 0),
    ],
)
def test_the_variables_of_other_gateways_are_taken(
    most: str, window: str | None, per_minute: int
) -> None:
    environ = {"RATE_LIMIT_MAX_REQUESTS": most, "ALLOWED_ORIGINS": "http://a,https://b"}
    if window is not None:
        environ["RATE_LIMIT_WINDOW_MS"] = window
    loaded = load_settings(environ=environ)
    assert loaded.settings.requests_per_minute == per_minute
    assert loaded.settings.allowed_origins == ("http://a", "https://b")
    assert str(loaded.origins["requests_per_minute"]) == "RATE_LIMIT_MAX_REQUESTS"


def test_our_own_variables_win_over_those_of_others() -> None:
    environ = {
        "GGLIB_ALLOWED_ORIGINS": "http://mine",
        "ALLOWED_ORIGINS": "http://other",
        "GGLIB_REQUESTS_PER_MINUTE": "5",
        "RATE_LIMIT_MAX_REQUESTS": "100",
    }
    settings = load_settings(environ=environ).settings
    assert settings.allowed_origins == ("http://mine",)
    assert settings.requests_per_minute == 5


@pytest.mark.parametrize(("most", "window"), [("x", "1"), ("1", "0"), ("1", "x"), ("-1", "1")])
def test_foreign_variables_that_make_no_sense_are_refused(most: str, window: str) -> None:
    with pytest.raises(ConfigError, match=f"'{most} in {window} ms' .RATE_LIMIT_MAX_REQUESTS"):
        load_settings(environ={"RATE_LIMIT_MAX_REQUESTS": most, "RATE_LIMIT_WINDOW_MS": window})
