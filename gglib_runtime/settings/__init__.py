"""Settings: which exist, and how they are read from files, environment and flags."""

from gglib_runtime.settings.loading import (
    Layer,
    LoadedSettings,
    Origin,
    SettingsSources,
    load_settings,
)
from gglib_runtime.settings.schema import LogFormat, LogLevel, Settings

__all__ = [
    "Layer",
    "LoadedSettings",
    "LogFormat",
    "LogLevel",
    "Origin",
    "Settings",
    "SettingsSources",
    "load_settings",
]
