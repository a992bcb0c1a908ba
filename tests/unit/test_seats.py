"""Connections are counted, in all and by peer."""

from __future__ import annotations

import pytest

from gglib_proxy.seats import Seats


def fill(seats: Seats, *hosts: str) -> None:
    for host in hosts:
        seats.take(seats.peer_of((host, 1)))


def test_seats_are_limited_and_given_back() -> None:
    seats = Seats(2, 0)
    fill(seats, "192.0.2.1", "192.0.2.1")
    assert (seats.is_full, seats.taken) == (True, 2)
    seats.give_back(None)
    assert (seats.is_full, seats.taken) == (False, 1)


def test_zero_is_no_limit() -> None:
    seats = Seats(0, 0)
    fill(seats, *["192.0.2.1"] * 1000)
    assert not seats.is_full
    assert seats.peer_of(("192.0.2.1", 1)) is None
    assert seats.has_for(None)


def test_each_peer_has_its_own() -> None:
    seats = Seats(0, 2)
    fill(seats, "192.0.2.1", "192.0.2.1", "192.0.2.2")
    one, two = seats.peer_of(("192.0.2.1", 99)), seats.peer_of(("192.0.2.2", 99))
    assert (seats.has_for(one), seats.has_for(two)) == (False, True)
    seats.give_back(one)
    assert seats.has_for(one)


def test_nothing_is_kept_of_peers_that_have_gone() -> None:
    seats = Seats(0, 5)
    for number in range(100):
        peer = seats.peer_of((f"192.0.2.{number}", 1))
        assert seats.has_for(peer)
        seats.take(peer)
        seats.give_back(peer)
    assert repr(seats) == "<Seats 0 taken, by 0 peers>"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%lo", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::1", "::ffff:0.0.0.1", False),
    ],
)
def test_a_network_of_ipv6_is_one_peer(one: str, other: str, is_same: bool) -> None:
    seats = Seats(0, 1)
    peers = {seats.peer_of((host, 1, 0, 0)) for host in (one, other)}
    assert (len(peers) == 1) == is_same


@pytest.mark.parametrize("address", ["", "/run/client.sock", b"", None])
def test_clients_of_a_unix_socket_have_no_address(address: object) -> None:
    assert Seats(0, 1).peer_of(address) is None
