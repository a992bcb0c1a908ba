"""Where gglib keeps things: the default directories, and the layout of a data directory.

Creates nothing, except where a function says so. Not here: what is written into the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from gglib_core.errors import GglibError

APPLICATION = "gglib"


def default_config_file() -> Path:
    """The settings file that is read when none is named."""
    return platformdirs.user_config_path(APPLICATION, appauthor=False) / "config.toml"


def default_data_dir() -> Path:
    """The platform's directory for an application's data."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


@dataclass(frozen=True, slots=True)
class DataPaths:
    """The layout of one data directory: everything that gglib writes is below `root`."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file that is used where no database URL is set."""
        return self.root / "gglib.db"

    @property
    def admin_settings(self) -> Path:
        """What admins have set while a server ran."""
        return self.root / "settings.json"

    @property
    def pepper(self) -> Path:
        """What API keys are hashed with: without it none can be recognised."""
        return self.root / "pepper"

    @property
    def unwritten_generations(self) -> Path:
        """Records of requests that no database took before the server ended."""
        return self.root / "unwritten-generations.jsonl"

    @property
    def logs(self) -> Path:
        """What engines print, one set of rotated files per model."""
        return self.root / "logs"

    @property
    def models(self) -> Path:
        """Models that gglib made itself."""
        return self.root / "models"

    @property
    def run(self) -> Path:
        """Facts about the running server."""
        return self.root / "run"

    @property
    def children(self) -> Path:
        """One pidfile for each running engine."""
        return self.run / "children"

    @property
    def server_record(self) -> Path:
        """Who serves this directory, and where: see `gglib_runtime.cli.server`."""
        return self.run / "serve.json"

    @property
    def server_lock(self) -> Path:
        """Held (flock) for as long as a server serves this directory."""
        return self.run / "serve.lock"

    def create(self) -> None:
        """Make the directories; the root and `run` are closed to other users where they are new.

        Raises GglibError.
        """
        try:
            self._create()
        except OSError as error:
            is_file = isinstance(error, FileExistsError)
            raise GglibError(
                f"The data directory {self.root} cannot be used: {error.filename}: "
                f"{'it is no directory' if is_file else error.strerror or error}. Choose another "
                "with --data-dir or GGLIB_DATA_DIR."
            ) from error

    def _create(self) -> None:
        for path, mode in ((self.root, 0o700), (self.run, 0o700), (self.children, 0o700)):
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        for path in (self.logs, self.models):
            path.mkdir(parents=True, exist_ok=True)
