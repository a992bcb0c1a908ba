"""Which hosts, pages and proxies are believed, each rule by itself."""

from __future__ import annotations

import pytest

from gglib_proxy.door.addresses import TrustedProxies
from gglib_proxy.door.hosts import HostRule
from gglib_proxy.door.origins import OriginRule, is_preflight, preflight_lines
from gglib_proxy.http1.requests import Request

LOCAL_HOSTS = [
    b"localhost",
    b"localhost:8080",
    b"LOCALHOST:8080",
    b"gglib.localhost:1",
    b"127.0.0.1:8080",
    b"127.9.9.9",
    b"[::1]:8080",
    b"[::1]",
    b"host.docker.internal:8080",
    b"localhost.",
]
FOREIGN_HOSTS = [
    b"evil.example",
    b"evil.example:8080",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example",
    b"192.168.0.7",
    b"[2001:db8::1]:8080",
    b"notlocalhost",
    b"",
]


@pytest.mark.parametrize("host", [*LOCAL_HOSTS, None])
def test_names_of_this_machine_are_right_on_the_loopback(host: bytes | None) -> None:
    assert HostRule(is_loopback=True).allows(host)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_other_names_are_wrong_on_the_loopback(host: bytes) -> None:
    assert not HostRule(is_loopback=True).allows(host)


@pytest.mark.parametrize("host", [*LOCAL_HOSTS, *FOREIGN_HOSTS])
def test_every_name_is_right_where_others_reach_gglib(host: bytes) -> None:
    assert HostRule(is_loopback=False).allows(host)


@pytest.mark.parametrize("is_loopback", [True, False])
def test_names_that_are_allowed_are_right_and_others_are_not(is_loopback: bool) -> None:
    rule = HostRule(["Models.Example", "*.lab.example", "[2001:db8::1]"], is_loopback=is_loopback)
    for right in (b"models.example:443", b"a.b.lab.example", b"[2001:db8::1]:1", b"localhost"):
        assert rule.allows(right), right
    for wrong in (b"lab.example", b"xmodels.example", b"evil.example", b"a.lab.example.evil"):
        assert not rule.allows(wrong), wrong
    assert HostRule(["*"], is_loopback=is_loopback).allows(b"evil.example")


LOCAL_ORIGINS = [
    b"http://localhost:3000",
    b"https://localhost",
    b"http://app.localhost:1",
    b"http://127.0.0.1:5173",
    b"http://[::1]:5173",
    b"tauri://localhost",
    b"app://obsidian.md",
    b"vscode-webview://0abc",
]
FOREIGN_ORIGINS = [
    b"http://evil.example",
    b"https://localhost.evil.example",
    b"http://192.168.0.7",
    b"ftp://localhost",
    b"null",
    b"http://localhost\x00",
    b"",
    b"x" * 400,
]


@pytest.mark.parametrize("origin", LOCAL_ORIGINS)
def test_pages_of_this_machine_may_read_answers(origin: bytes) -> None:
    verdict = OriginRule().judge(origin, b"localhost:8080")
    assert verdict.is_allowed
    assert b"access-control-allow-origin: %b\r\n" % origin in verdict.lines
    assert b"access-control-allow-credentials: true\r\n" in verdict.lines
    assert b"vary: origin\r\n" in verdict.lines
    assert b"x-request-id" in verdict.lines


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_pages_of_other_sites_may_not(origin: bytes) -> None:
    verdict = OriginRule().judge(origin, b"localhost:8080")
    assert (verdict.is_allowed, verdict.lines) == (False, b"")


def test_a_page_of_gglibs_own_needs_no_leave() -> None:
    verdict = OriginRule(["https://other.example"]).judge(
        b"http://models.example:8080", b"Models.example:8080"
    )
    assert (verdict.is_allowed, verdict.lines) == (True, b"")


def test_without_a_page_there_is_nothing_to_allow() -> None:
    verdict = OriginRule().judge(None, b"localhost")
    assert (verdict.is_allowed, verdict.lines) == (True, b"")


def test_named_origins_take_the_place_of_local_ones() -> None:
    rule = OriginRule(["https://chat.example", "https://*.lab.example"])
    for right in (b"https://chat.example", b"https://a.b.lab.example"):
        assert rule.judge(right, None).is_allowed, right
    for wrong in (
        b"http://chat.example",
        b"https://lab.example",
        b"http://a.lab.example",
        b"https://a.lab.example.evil",
        b"http://localhost:3000",
    ):
        assert not rule.judge(wrong, None).is_allowed, wrong


def test_all_origins_are_allowed_without_credentials() -> None:
    verdict = OriginRule(["*"]).judge(b"http://any.example", None)
    assert b"access-control-allow-origin: *\r\n" in verdict.lines
    assert b"credentials" not in verdict.lines


def preflight(*more: tuple[bytes, bytes]) -> Request:
    headers = [
        (b"host", b"localhost"),
        (b"origin", b"http://localhost:3000"),
        (b"access-control-request-method", b"POST"),
        *more,
    ]
    return Request("OPTIONS", b"/v1/chat/completions", headers, is_http10=False)


def test_a_preflight_is_told_what_may_be_sent() -> None:
    wanted = (b"access-control-request-headers", b"authorization,content-type, x-stainless-os")
    request = preflight(wanted, (b"access-control-request-private-network", b"true"))
    assert is_preflight(request)
    lines = preflight_lines(request, b"origin-lines\r\n")
    assert lines.startswith(b"origin-lines\r\n")
    assert b"POST" in lines
    assert b"allow-headers: authorization,content-type, x-stainless-os\r\n" in lines
    assert b"access-control-allow-private-network: true\r\n" in lines


def test_what_is_no_list_of_names_is_not_repeated() -> None:
    request = preflight((b"access-control-request-headers", b"a: b"))
    assert b"allow-headers" not in preflight_lines(request, b"")


def test_an_options_without_a_method_to_ask_for_is_no_preflight() -> None:
    headers = [(b"origin", b"http://localhost:3000")]
    assert not is_preflight(Request("OPTIONS", b"/", headers, is_http10=False))


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ([], "10.0.0.1", [b"1.2.3.4"], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", [b"1.2.3.4"], "1.2.3.4"),
        (["10.0.0.0/8"], "9.9.9.9", [b"1.2.3.4"], "9.9.9.9"),
        (["10.0.0.0/8"], "10.0.0.1", [b"6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", [b"6.6.6.6", b"1.2.3.4"], "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", [b"1.2.3.4:5678"], "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", [b"[2001:db8::1]:5678"], "2001:db8::1"),
        (["10.0.0.0/8"], "10.0.0.1", [b"1.2.3.4, unknown"], "10.0.0.1"),
        (["::1"], "::1", [b"1.2.3.4"], "1.2.3.4"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", [b"1.2.3.4"], "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", [b"1.2.3.4, ::ffff:10.0.0.2"], "1.2.3.4"),
        (["10.0.0.0/8"], "::ffff:9.9.9.9", [b"1.2.3.4"], "::ffff:9.9.9.9"),
        (["unix"], "", [b"1.2.3.4"], "1.2.3.4"),
        ([], "", [b"1.2.3.4"], ""),
    ],
)
def test_only_what_trusted_proxies_added_is_believed(
    trusted: list[str], peer: str, forwarded: list[bytes], client: str
) -> None:
    assert TrustedProxies(trusted).client_of(peer, forwarded) == client
