"""Limits counted in the memory of one process."""

from gglib_core.rate_limits.limiter import InMemoryRateLimiter

__all__ = ["InMemoryRateLimiter"]
