"""What holds for all tests: neither a slow machine nor how they were started makes them fail."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gglib", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gglib")

# A shell has what it starts in the background ignore Ctrl-C, and so would every child.
signal.signal(signal.SIGINT, signal.default_int_handler)
