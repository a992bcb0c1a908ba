"""Checks what gglib keeps: the data directory, the database, the models' files, leftover engines.

Not here: mending any of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gglib_runtime.catalog import migration
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.store import SqlModelStore
from gglib_runtime.cli.catalog import unknown_model
from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.cli.fitting import too_large
from gglib_runtime.cli.quantities import rounded_size
from gglib_runtime.supervisor.pidfile import list_children

if TYPE_CHECKING:
    from gglib_core.models import Model
    from gglib_runtime.settings import Settings

_SCARCE_BYTES = 1024**3
_TOO_FEW_BYTES = 50 * 1024**2


def check_data_directory(settings: Settings) -> Iterator[Finding]:
    """Whether it can be written, and how much room it has."""
    root = settings.data_dir
    standing = next(path for path in (root, *root.parents) if path.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        advice = f"Make {standing} writable, or choose another with --data-dir."
        yield fail("data directory", f"{root} cannot be written", advice)
        return
    state = "writable" if standing == root else "will be made at the first start"
    yield ok("data directory", f"{root}, {state}")
    free = shutil.disk_usage(standing).free
    said = f"{rounded_size(free)} free in {standing}"
    if free < _TOO_FEW_BYTES:
        yield fail("disk", said, "Free some space: database and logs need it.")
    elif free < _SCARCE_BYTES:
        yield warn("disk", said, "Free some space: database and logs need it.")
    else:
        yield ok("disk", said)


def check_database(settings: Settings) -> Iterator[Finding]:
    """Whether it opens, has the right schema, and lists files that exist."""
    url = settings.effective_database_url
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and not Path(path).exists():  # opening it would make it
        yield ok("database", "none yet; made at the first start")
        return
    with open_database(url) as engine:
        found = migration.current(engine)
        if found == migration.HEAD:
            yield ok("database", f"opens, schema {found}")
            store = SqlModelStore(engine)
            yield _models(store.list())
            yield from _default_model(store, settings.default_model)
        elif found is None or found < migration.HEAD:
            yield warn(
                "database",
                f"schema {found or 'none'}, and {migration.HEAD} is the newest",
                "The next start brings it up to date, and so does `gglib db upgrade`.",
            )
        else:
            yield fail(
                "database",
                f"schema {found} is of a newer gglib; this one knows up to {migration.HEAD}",
                "Install the newer gglib, or use another database.",
            )


def check_orphans(settings: Settings) -> Iterator[Finding]:
    """Whether engines run whose gglib has gone."""
    children = list_children(settings.paths.children)
    orphans = [
        f"{each.record.model} (pid {each.record.pid})" for each in children if each.is_orphan
    ]
    if orphans:
        advice = "The next start of `gglib serve` ends them."
        yield warn("leftover engines", ", ".join(orphans), advice)
    else:
        yield ok("leftover engines", "none")


def _default_model(store: SqlModelStore, name: str | None) -> Iterator[Finding]:
    if name is None or store.snapshot().resolve_model(name) is not None:
        return
    advice = "Until then requests that name no model are refused, unless one is loaded."
    yield warn("default model", str(unknown_model(store, name)), advice)


def _models(models: Sequence[Model]) -> Finding:
    missing = [each.name for each in models if not all(Path(path).exists() for path in each.paths)]
    if missing:
        advice = "Bring the files back, name new ones (`gglib model edit X --path`), or `model rm`."
        return warn("models", f"files are missing of {', '.join(missing)}", advice)
    if large := [reason for each in models if (reason := too_large(each))]:
        advice = "Unless GPUs hold the rest, take smaller models or smaller quantisations of them."
        return warn("models", "; ".join(large), advice)
    return ok("models", f"{len(models)} in the catalog")
