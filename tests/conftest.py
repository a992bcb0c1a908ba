"""What holds for all tests: a machine that is slow at the moment is no reason to fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gglib", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gglib")
