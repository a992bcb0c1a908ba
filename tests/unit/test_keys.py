"""What a key allows, and what may be known of its secret."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from gglib_core.errors import InvalidKey
from gglib_core.key_validation import check_key, check_secret
from gglib_core.keys import (
    Allowance,
    ApiKey,
    Endpoint,
    KeyRing,
    digest_of,
    is_acceptable_secret,
    mask_of,
    new_secret,
    searched_part,
)

KEY = ApiKey(id=1, name="ci", mask="gg-abc***xyz")


def test_a_secret_has_256_random_bits_and_fits_a_header() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert re.fullmatch(r"gg-[A-Za-z0-9_-]{43}", secret)
        assert is_acceptable_secret(secret)
        assert searched_part(secret) == secret[:11]


@pytest.mark.parametrize(
    ("secret", "mask"),
    [
        ("gg-abcdefghijklmnopqrstuvwxyz", "gg-abc***xyz"),
        ("gg-abcdefghijklm", "gg-abc***"),
        ("sixteen-letters!", "six***"),
        ("a-long-one-that-somebody-chose", "a-l***ose"),
    ],
)
def test_a_mask_shows_little_and_of_short_secrets_less(secret: str, mask: str) -> None:
    assert mask_of(secret) == mask


@pytest.mark.parametrize("secret", ["gg-abcdefghijklm", "chosen-by-somebody", "", "gg-"])
def test_nothing_of_a_chosen_secret_is_stored_as_it_is(secret: str) -> None:
    assert searched_part(secret) == ""


def test_a_digest_is_worth_nothing_under_another_pepper() -> None:
    secret = new_secret()
    known = [(searched_part(secret), digest_of(secret, b"one"), KEY)]
    assert KeyRing(b"one", known).find(secret) is KEY
    assert KeyRing(b"two", known).find(secret) is None


def test_keys_whose_secrets_begin_alike_are_told_apart() -> None:
    secrets = ["gg-AAAAAAAA" + letter * 35 for letter in "abc"]
    keys = [replace(KEY, id=number) for number in range(3)]
    known = [
        (searched_part(secret), digest_of(secret, b"p"), key)
        for secret, key in zip(secrets, keys, strict=True)
    ]
    ring = KeyRing(b"p", known)
    assert [ring.find(secret) for secret in secrets] == keys


@pytest.mark.parametrize(
    ("globs", "name", "may"),
    [
        ((), "anything", True),
        (("alpha",), "alpha", True),
        (("alpha",), "alpha-2", False),
        (("alpha",), "ALPHA", False),
        (("small-*", "org/*"), "org/x/y", True),
        (("small-*", "org/*"), "a-small-1", False),
        (("?",), "ab", False),
    ],
)
def test_globs_match_whole_names(globs: tuple[str, ...], name: str, may: bool) -> None:
    assert replace(KEY, models=globs).may_use_model(name) is may


def test_a_key_expires_at_its_time() -> None:
    assert not KEY.has_expired(1e18)
    key = replace(KEY, expires=100.0)
    assert [key.has_expired(now) for now in (99.9, 100.0, 101.0)] == [False, True, True]


def test_zero_overrides_and_silence_does_not() -> None:
    defaults = Allowance(requests_per_minute=10, tokens_per_minute=20)
    own = Allowance(requests_per_minute=0, concurrent_requests=5)
    assert defaults.overridden_by(own) == Allowance(
        requests_per_minute=0, tokens_per_minute=20, concurrent_requests=5
    )
    assert Allowance(requests_per_minute=0, budget_per_day=0).is_unlimited
    assert not Allowance(budget_per_month=1).is_unlimited


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "7"},
        {"name": "a b"},
        {"name": "-a"},
        {"name": "a\n"},
        {"name": "a" * 65},
        {"endpoints": frozenset[Endpoint]()},
        {"models": ("",)},
        {"models": ("a\n",)},
        {"models": ("a" * 201,)},
        {"models": ("a",) * 101},
        {"expires": -1.0},
        {"expires": float("nan")},
        {"allowance": Allowance(requests_per_minute=-1)},
        {"allowance": Allowance(budget_per_day=float("nan"))},
        {"allowance": Allowance(budget_per_day=float("inf"))},
    ],
)
def test_what_no_key_may_be_is_refused(change: dict[str, Any]) -> None:
    check_key(KEY)
    with pytest.raises(InvalidKey):
        check_key(replace(KEY, **change))


@pytest.mark.parametrize("name", ["a", "CI-2.0_x", "joe@example.org", "a+b"])
def test_names_of_keys_are_words(name: str) -> None:
    check_key(replace(KEY, name=name))


@pytest.mark.parametrize(
    "secret", ["", "fifteen-letters", "with a space in it", "é" * 20, "a" * 201]
)
def test_a_chosen_secret_has_to_be_long_and_plain(secret: str) -> None:
    check_secret("sixteen-letters!")
    with pytest.raises(InvalidKey, match="16 to 200 characters") as caught:
        check_secret(secret)
    assert not secret or secret not in str(caught.value)
