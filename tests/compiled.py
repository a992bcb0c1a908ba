"""What cannot be tested of a relay that is compiled."""

from __future__ import annotations

import pytest

from gglib_runtime.cli.checks.machine import is_relay_compiled

needs_plain_python = pytest.mark.skipif(
    is_relay_compiled(),
    reason="replaces a method, or derives from a class, of a relay that is compiled",
)
