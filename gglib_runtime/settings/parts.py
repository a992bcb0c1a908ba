"""Settings as the parts of a server take them.

Not here: the parts.
"""

from __future__ import annotations

import dataclasses
import logging

from gglib_core.admission import AdmissionPolicy
from gglib_core.keys import KeyRing
from gglib_proxy.door.addresses import TrustedProxies
from gglib_proxy.door.door import DoorRules
from gglib_proxy.door.hosts import HostRule
from gglib_proxy.door.origins import OriginRule
from gglib_proxy.limits import Limits
from gglib_runtime.open_files import clients_within
from gglib_runtime.settings import Layer, LoadedSettings, Settings
from gglib_runtime.supervisor.settings import SupervisorSettings

logger = logging.getLogger(__name__)


def policy_of(settings: Settings) -> AdmissionPolicy:
    """How the admission queue shares places."""
    return AdmissionPolicy(
        max_resident=settings.max_resident,
        quantum_seconds=settings.quantum_seconds,
        queue_limit=settings.queue_limit,
        queue_seconds=settings.queue_seconds,
        idle_seconds=settings.idle_seconds,
    )


def supervisor_settings_of(settings: Settings) -> SupervisorSettings:
    """How engines are launched, watched and stopped."""
    return SupervisorSettings(
        default_context=settings.default_ctx,
        default_parallel=settings.default_parallel,
        cache_ram_bytes=settings.cache_ram_bytes,
        load_stall_seconds=settings.load_stall_seconds,
        wedge_seconds=settings.wedge_seconds,
        stop_grace_seconds=settings.stop_grace_seconds,
        log_file_bytes=settings.log_file_bytes,
        log_file_count=settings.log_file_count,
    )


def limits_of(settings: Settings) -> Limits:
    """How much clients may do, and how long it may take."""
    names = {each.name for each in dataclasses.fields(Limits)}
    known = {each.name for each in dataclasses.fields(Settings)}
    return Limits(**{name: getattr(settings, name) for name in names & known})


def limits_within(loaded: LoadedSettings, files: int) -> Limits:
    """The same, for a process that may have so many files open."""
    limits, most = limits_of(loaded.settings), clients_within(files)
    if limits.max_connections <= most:
        return limits
    if loaded.origins["max_connections"].layer != Layer.DEFAULT:
        logger.warning("max_connections is %d: only %d files may be open", most, files)
    return dataclasses.replace(limits, max_connections=most)


def door_rules_of(settings: Settings, keys: KeyRing, *, is_loopback: bool) -> DoorRules:
    """Who may enter."""
    return DoorRules(
        keys=keys,
        hosts=HostRule(settings.allowed_hosts, is_loopback=is_loopback),
        origins=OriginRule(settings.allowed_origins),
        proxies=TrustedProxies(settings.trusted_proxies),
    )
