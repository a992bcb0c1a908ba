"""The settings of a running server, followed as files change and admins change them.

Fills the port `Configuration`. A change is judged whole before anything of it counts; what counts
is handed to those who go by it, all at once on the event loop. Settings that nobody can change in a
running server are named as needing a restart.

Not here: reading settings (`gglib_runtime.settings`), and what each of them does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from gglib_core.configuration import ConfigurationView, Values
from gglib_core.errors import ConfigError
from gglib_runtime.settings import Layer, LoadedSettings, Settings
from gglib_runtime.settings.kinds import DatabaseUrl
from gglib_runtime.settings.overrides import read_overrides, write_overrides
from gglib_runtime.settings.schema import Declaration, declarations

POLL_SECONDS = 0.8
SETTLE_SECONDS = 0.1
"""So long a changed file has to stay as it is: one that is being written may have any meaning."""
_FIXED_LAYERS = (Layer.ENVIRONMENT, Layer.FLAG)
_NOT_FOR_ADMINS = frozenset({"data_dir"})
"""The directory that holds what admins have set."""

Apply = Callable[[Settings], None]
"""Takes settings over at once; must not fail, block or wait."""

logger = logging.getLogger(__name__)
_Stamp = tuple[int, int, int] | None


class LiveSettings:
    """What counts now, and who goes by it. Belongs to one event loop."""

    def __init__(self, loaded: LoadedSettings) -> None:
        self._started_with = loaded.settings
        self._loaded = loaded
        self._listeners: list[Apply] = []
        self._changing = anyio.Lock()
        self._overrides_path = loaded.settings.paths.admin_settings
        # Files may have changed since they were read, so that the first look finds them new.
        self._stamps: tuple[_Stamp, _Stamp] | None = None
        self._told_problem = ""
        self._asked = anyio.Event()

    @property
    def settings(self) -> Settings:
        """Those that count, except for what needs a restart."""
        return self._loaded.settings

    def on_change(self, listener: Apply) -> None:
        """Hand `listener` the settings after each change; at once, if they have changed before."""
        self._listeners.append(listener)
        if self._loaded.settings != self._started_with:
            listener(self._loaded.settings)

    # Configuration

    def view(self) -> ConfigurationView:
        settings, origins = self._loaded.settings, self._loaded.origins
        return ConfigurationView(
            values={key: shown(settings, key) for key in declarations()},
            origins={key: str(origin) for key, origin in origins.items()},
            fixed=[key for key, each in origins.items() if each.layer in _FIXED_LAYERS],
            restart_needed=list(self._restart_needed()),
        )

    async def replace(self, values: Values) -> ConfigurationView:
        async with self._changing:
            nothing: Mapping[str, object] = {}
            without = await to_thread.run_sync(self._loaded.sources.load, nothing)
            before = await to_thread.run_sync(read_overrides, self._overrides_path)
            wanted = {
                key: before.get(key, value) if self._is_masked(key, value) else value
                for key, value in values.items()
                if key not in declarations()
                or (value is not None and value != shown(without.settings, key))
            }
            return await self._change(wanted, dict(self._unchangeable(wanted)))

    async def merge(self, values: Values) -> ConfigurationView:
        async with self._changing:
            wanted = dict(await to_thread.run_sync(read_overrides, self._overrides_path))
            for key, value in values.items():
                if value is None and key in declarations():
                    wanted.pop(key, None)
                elif key not in _NOT_FOR_ADMINS and not self._is_masked(key, value):
                    wanted[key] = value
            return await self._change(wanted, dict(self._unchangeable(values)))

    async def reload(self) -> ConfigurationView:
        async with self._changing:
            self._take(await to_thread.run_sync(self._loaded.sources.load))
            return self.view()

    async def _change(
        self, overrides: Mapping[str, object], refused: Mapping[str, str]
    ) -> ConfigurationView:
        """Have these from now on; `refused` are those that cannot be changed, each with why."""
        # Looked at before they are read: what changes meanwhile is seen by the next look.
        config_stamp, _ = await to_thread.run_sync(self._look)
        acceptable = {key: value for key, value in overrides.items() if key not in refused}
        try:
            loaded = await to_thread.run_sync(self._loaded.sources.load, acceptable)
        except ConfigError as error:
            if refused:
                raise _refusal(refused, error) from error
            raise
        if refused:
            raise _refusal(refused)
        with anyio.CancelScope(shield=True):  # what is written counts
            await to_thread.run_sync(write_overrides, self._overrides_path, overrides)
            self._stamps = (config_stamp, await to_thread.run_sync(_stamp, self._overrides_path))
            self._take(loaded)
        return self.view()

    def _unchangeable(self, values: Values) -> Iterator[tuple[str, str]]:
        """What is wrong with those that are not to be set here; null sets nothing."""
        for key, value in values.items():
            origin = self._loaded.origins.get(key)
            if value is None or origin is None or value == shown(self._loaded.settings, key):
                continue
            if key in _NOT_FOR_ADMINS:
                yield key, "is fixed for as long as the server runs"
            elif origin.layer in _FIXED_LAYERS:
                yield key, f"is set by {origin}, which counts for more"

    def _is_masked(self, key: str, value: object) -> bool:
        """Whether that is a secret as it was shown, which is to stay what it is."""
        declaration = declarations().get(key)
        is_secret = declaration is not None and isinstance(declaration.kind, DatabaseUrl)
        return is_secret and value == shown(self._loaded.settings, key)

    def _take(self, loaded: LoadedSettings) -> None:
        before, self._loaded = self._loaded.settings, loaded
        self._told_problem = ""
        now = loaded.settings
        changed = [key for key in declarations() if getattr(before, key) != getattr(now, key)]
        if not changed:
            return
        logger.info("settings have changed: %s", ", ".join(changed))
        waiting = [key for key in self._restart_needed() if key in changed]
        if waiting:
            logger.warning("these count only after a restart: %s", ", ".join(waiting))
        for listener in self._listeners:
            listener(loaded.settings)

    def _restart_needed(self) -> Iterator[str]:
        for key, declaration in declarations().items():
            if declaration.needs_restart and (
                getattr(self._loaded.settings, key) != getattr(self._started_with, key)
            ):
                yield key

    # Files

    async def follow(
        self, poll_seconds: float = POLL_SECONDS, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        """Take changed files over until cancelled; what is wrong with them is logged once."""
        while True:
            with anyio.move_on_after(poll_seconds):
                await self._asked.wait()
            is_asked, self._asked = self._asked.is_set(), anyio.Event()
            if is_asked:
                self._told_problem = ""  # whoever asks is told again
            stamps = await self._settled_stamps(0.0 if is_asked else settle_seconds)
            if is_asked or stamps != self._stamps:
                self._stamps = stamps
                await self.reload_if_right()

    async def _settled_stamps(self, seconds: float) -> tuple[_Stamp, _Stamp]:
        stamps = await to_thread.run_sync(self._look)
        while seconds and stamps != self._stamps:
            await anyio.sleep(seconds)
            before, stamps = stamps, await to_thread.run_sync(self._look)
            if before == stamps:
                break
        return stamps

    def ask_to_reload(self) -> None:
        """Have the files read anew, soon."""
        self._asked.set()

    async def reload_if_right(self) -> None:
        """Read the files anew; where they are wrong, log it and go on as before."""
        try:
            await self.reload()
        except ConfigError as error:
            if str(error) != self._told_problem:
                logger.error("the settings stay as they were. %s", error)
            self._told_problem = str(error)

    def _look(self) -> tuple[_Stamp, _Stamp]:
        return (_stamp(self._loaded.sources.config_file), _stamp(self._overrides_path))


@asynccontextmanager
async def open_live_settings(
    loaded: LoadedSettings, *, poll_seconds: float = POLL_SECONDS
) -> AsyncGenerator[LiveSettings]:
    """The settings, whose files are followed inside the block."""
    live = LiveSettings(loaded)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.follow, poll_seconds)
        try:
            yield live
        except Exception as error:  # raised below: the group would wrap it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def shown(settings: Settings, key: str) -> Any:  # noqa: ANN401 -- whatever JSON has
    """The value of `key` as JSON may have it, without secrets; it can be read as a setting."""
    declaration: Declaration = declarations()[key]
    value = getattr(settings, key)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = declaration.show(value)
    if isinstance(value, tuple) and not isinstance(declaration.kind, DatabaseUrl):
        return _as_list(text)
    return text


def _refusal(refused: Mapping[str, str], error: ConfigError | None = None) -> ConfigError:
    """What cannot be changed here, and what else is wrong."""
    summary = "; ".join(f"{key} {issue}" for key, issue in refused.items())
    message = f"These settings cannot be changed here: {summary}."
    if error is None:
        return ConfigError(message, list(refused.items()))
    return ConfigError(f"{message} {error}", [*refused.items(), *error.problems])


def _as_list(text: str | None) -> Any:  # noqa: ANN401 -- whatever JSON has
    if text and text.startswith("["):
        return json.loads(text)
    return [each.strip() for each in (text or "").split(",") if each.strip()]


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
