"""What the supervisor can be told, in one value. Not here: where the values come from."""

from __future__ import annotations

from dataclasses import dataclass, fields

_MIB = 1024**2


@dataclass(slots=True, kw_only=True)
class SupervisorSettings:
    """How engines are started, watched, stopped and logged; all of the supervisor goes by one."""

    default_context: int = 4096
    """Tokens per request where neither request nor model say; used for preloading."""
    default_parallel: int = 4
    """Slots of an engine where the model does not say."""
    cache_ram_bytes: int = 512 * _MIB
    """Each engine's prompt cache."""
    load_stall_seconds: float = 60.0
    """A load without a sign of progress for this long is given up; 0 is no limit."""
    wedge_seconds: float = 120.0
    """A ready engine without a sign of life for this long, while it has requests, is recycled; 0
    never recycles one."""
    stop_grace_seconds: float = 5.0
    """Between TERM and KILL."""
    memory_wait_seconds: float = 5.0
    """The longest wait for a stopped engine's memory before the next is started."""
    log_lines: int = 2000
    """Lines kept in memory for each model."""
    log_file_bytes: int = 10 * _MIB
    """Size at which a model's log file is rotated."""
    log_file_count: int = 3
    """Log files kept for each model."""

    def adopt(self, other: SupervisorSettings) -> None:
        """Be as `other` is."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))
