"""Everything that the relay's other tests say is true over TLS as well."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests import planes
from tests.certificates import client_context, server_context

HALF_CLOSING = {  # the loops' own TLS, which the clients of these tests use, cannot do that
    "test_a_client_that_half_closes_has_left",
    "test_a_lease_ends_when_the_engines_connection_is_closed",
}
MODULES = [
    import_module(f"{__package__}.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("test_relay_*.py"))
    if path.stem != Path(__file__).stem
]
TESTS = [
    (name, test)
    for module in MODULES
    for name, test in vars(module).items()
    if name.startswith("test_") and name not in HALF_CLOSING
]
globals().update(TESTS)


@pytest.fixture(autouse=True)
def over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "default_tls", (server_context(), client_context()))


def test_no_two_tests_have_one_name() -> None:
    assert len(TESTS) == len(dict(TESTS)) > 100
