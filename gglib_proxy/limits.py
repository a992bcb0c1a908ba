"""The limits of the data plane, with defaults that fit inference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much, and how long; a duration of 0 is no limit."""

    max_header_bytes: int = 64 * 1024
    max_header_count: int = 100
    max_body_bytes: int = 64 * 1024 * 1024
    """One request's body."""
    max_buffered_bytes: int = 512 * 1024 * 1024
    """The bodies of all requests that wait or are being received."""
    max_connections: int = 20_000
    """Of clients, idle ones too; 0 is no limit."""
    max_connections_per_peer: int = 0
    """From one address, or one /64 network of IPv6; 0 is no limit."""
    max_concurrent_requests: int = 10_000
    """For models."""
    max_control_requests: int = 500
    """For the control plane; those who watch or administer have some room beyond."""
    max_pipelined_requests: int = 8
    """Requests of one connection that wait behind the one being answered."""
    header_timeout_seconds: float = 30.0
    """From a head's first byte to its last."""
    body_timeout_seconds: float = 30.0
    """Without a byte of an unfinished body."""
    keepalive_timeout_seconds: float = 75.0
    """Between two requests of a connection."""
    slow_reader_seconds: float = 60.0
    """Without the client taking a byte while bytes wait for it."""
    stream_grace_seconds: float = 1.0
    """Before a waiting streaming client gets its response head and a comment."""
    comment_interval_seconds: float = 10.0
    """Between comments after that."""
    connect_timeout_seconds: float = 5.0
    """For a connection to an engine."""
    first_byte_timeout_seconds: float = 0.0
    """From the request sent to an engine to the first byte of its answer."""
    chunk_timeout_seconds: float = 0.0
    """Between two bytes of an engine's answer."""
    request_timeout_seconds: float = 0.0
    """From a request's last byte to its answer's last."""
    max_answer_seconds: float = 0.0
    """From admission to the answer's last byte."""
    slow_request_seconds: float = 60.0
    """From a request's last byte to its answer's last, before the log says so; 0 is never."""
    drain_seconds: float = 30.0
    """For running answers, once gglib has been told to stop."""

    @property
    def bounds_answers(self) -> bool:
        """Whether any limit is set to how long an engine may take."""
        return bool(
            self.request_timeout_seconds
            or self.max_answer_seconds
            or self.first_byte_timeout_seconds
            or self.chunk_timeout_seconds
        )


def is_over(now: float, since: float, limit_seconds: float) -> bool:
    """Whether something has lasted as long as it may; 0 is no limit."""
    return bool(limit_seconds) and now - since >= limit_seconds
