"""Whether a key is needed follows from the keys there are and from who can reach the endpoint."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gglib_core.errors import ConfigError
from gglib_core.keys import ApiKey, KeyRing
from gglib_runtime.keys.access import access_line, check_access, is_local
from gglib_runtime.keys.ring import SqlKeyRing

ONE_KEY = (b"pepper", (("", b"digest", ApiKey(id=1, name="ci", mask="***")),))
NO_KEY = (b"", ())


def ring(tmp_path: Path, *, is_local: bool, is_auth_off: bool = False) -> SqlKeyRing:
    return SqlKeyRing(tmp_path / "pepper", is_local=is_local, is_auth_off=is_auth_off)


@pytest.mark.parametrize(
    ("family", "host", "local"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.8.9.1", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::", False),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
    ],
)
def test_what_is_bound_to_loopback_is_this_machines(
    family: socket.AddressFamily, host: str, local: bool
) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"{host} cannot be bound here")
        assert is_local(listener) is local


def test_a_unix_socket_is_this_machines(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert is_local(listener)


def test_before_it_is_told_of_the_keys_a_ring_lets_nobody_in(tmp_path: Path) -> None:
    assert not ring(tmp_path, is_local=True).current.is_open
    assert not ring(tmp_path, is_local=False).current.is_open
    keys = ring(tmp_path, is_local=True)
    keys.set_auth_off(True)
    keys.set_auth_off(False)
    assert not keys.current.is_open


@pytest.mark.parametrize(
    ("local", "off", "has_key", "is_open"),
    [
        (True, False, False, True),
        (True, False, True, False),
        (False, False, False, False),
        (False, False, True, False),
        (True, True, True, True),
        (False, True, False, True),
        (False, True, True, True),
    ],
)
def test_the_door_is_open_where_that_was_said_or_only_this_machine_can_ask(
    tmp_path: Path, local: bool, off: bool, has_key: bool, is_open: bool
) -> None:
    keys = ring(tmp_path, is_local=local, is_auth_off=off)
    keys.take_over(ONE_KEY if has_key else NO_KEY)
    assert keys.current.is_open is is_open


def test_the_first_key_closes_the_door_and_the_last_one_opens_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ring(tmp_path, is_local=True)
    keys.take_over(NO_KEY)
    assert caplog.text == ""
    keys.take_over(ONE_KEY)
    assert not keys.current.is_open
    assert "An API key is needed from now on" in caplog.text
    keys.take_over(NO_KEY)
    assert keys.current.is_open
    assert "No API key is needed any more" in caplog.text


def test_where_others_can_ask_the_door_stays_closed_without_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ring(tmp_path, is_local=False)
    keys.take_over(ONE_KEY)
    keys.take_over(NO_KEY)
    assert not keys.current.is_open
    assert len(keys.current) == 0
    assert caplog.text == ""


def test_auth_can_be_switched_off_and_on_while_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ring(tmp_path, is_local=False)
    keys.take_over(ONE_KEY)
    heard: list[bool] = []
    keys.add_listener(lambda: heard.append(keys.current.is_open))
    keys.set_auth_off(False)
    keys.set_auth_off(True)
    keys.set_auth_off(False)
    assert heard == [True, False]
    assert len(caplog.records) == 2


def test_keys_that_are_the_same_stay_the_same_object(tmp_path: Path) -> None:
    keys = ring(tmp_path, is_local=True)
    keys.take_over(ONE_KEY)
    before = keys.current
    keys.take_over((ONE_KEY[0], tuple(ONE_KEY[1])))
    assert keys.current is before


def test_an_endpoint_that_nobody_could_use_does_not_start() -> None:
    host = "0.0.0.0"
    with pytest.raises(ConfigError) as caught:
        check_access(KeyRing(), is_local=False, host=host)
    for said in (host, "gglib key create NAME", "GGLIB_API_KEY", "--no-auth"):
        assert said in str(caught.value)
    check_access(KeyRing(is_open=True), is_local=False, host=host)
    check_access(KeyRing(keys=ONE_KEY[1]), is_local=False, host=host)


@pytest.mark.parametrize(
    ("keys", "local", "off", "said"),
    [
        (KeyRing(keys=ONE_KEY[1]), True, False, "with an API key; there is 1"),
        (
            KeyRing(is_open=True),
            True,
            False,
            "everybody on this machine, without an API key, until `gglib key create NAME` makes",
        ),
        (
            KeyRing(keys=ONE_KEY[1], is_open=True),
            False,
            True,
            "EVERYBODY who can reach it, without an API key, as no_auth says",
        ),
    ],
)
def test_who_may_use_it_is_said_at_the_start(
    keys: KeyRing, local: bool, off: bool, said: str
) -> None:
    assert access_line(keys, is_local=local, is_auth_off=off).startswith(said)
