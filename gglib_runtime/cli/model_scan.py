"""`gglib model scan`: takes all models of a directory into the catalog.

Not here: what a model file is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gglib_core.errors import GgufError, InvalidModel, NameTaken
from gglib_runtime.cli.catalog import open_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import note, print_json, printable

if TYPE_CHECKING:
    from gglib_core.models import NewModel
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.settings import LoadedSettings

_PROJECTOR = "mmproj"


class Outcome(StrEnum):
    """What became of one file."""

    ADDED = "added"
    KNOWN = "known"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One file, or one set of shards, by its first."""

    path: str
    outcome: Outcome
    name: str | None = None
    """The model's."""
    reason: str | None = None
    """Why it was skipped or refused."""


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", "is_rehearsal", is_flag=True, help="Only say what would be done.")
@as_json
@with_settings()
def scan(loaded: LoadedSettings, directory: Path, is_rehearsal: bool, as_json: bool) -> None:
    """Add all GGUF models below a directory that are new to the catalog.

    Files that cannot be added are named with the reason; that is no failure.
    """
    findings: list[Finding] = []
    with open_store(loaded.settings) as store:
        add = Rehearsal(store).add if is_rehearsal else store.add
        for path in model_files(directory):
            findings.append(_adopt(store, add, path))
            if not as_json:
                _print(findings[-1])
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        click.echo(_summary(findings, directory, is_rehearsal=is_rehearsal))


@dataclass
class Rehearsal:
    """Refuses what the catalog would refuse, and adds nothing."""

    store: SqlModelStore
    names: dict[str, str] = field(default_factory=dict[str, str])
    """The names that earlier models would have, and which files would have them."""

    def __post_init__(self) -> None:
        self.names |= {name: model.name for name, model in self.store.snapshot().names.items()}

    def add(self, new: NewModel) -> None:
        from gglib_core.validation import check_model

        check_model(new)
        if new.name in self.names:
            raise NameTaken(new.name, self.names[new.name])
        self.names[new.name] = new.name


def model_files(directory: Path) -> Iterator[Path]:
    """The GGUF files below `directory`, one of each set of shards, in order."""
    from gglib_runtime.gguf.shards import shard_stem

    for folder, folders, files in os.walk(directory.absolute(), onerror=_warn):
        folders.sort()
        seen: set[tuple[str, str]] = set()
        for name in sorted(files):
            if not name.lower().endswith(".gguf"):
                continue
            # Shards of one model differ in nothing else than their number.
            key = shard_stem(name), name[-len("-00001.gguf") :]
            if key not in seen:
                seen.add(key)
                yield Path(folder, name)


def _warn(error: OSError) -> None:
    note(f"gglib: warning: {printable(error.filename)}: {error.strerror}")


def _adopt(store: SqlModelStore, add: Callable[[NewModel], object], path: Path) -> Finding:
    from gglib_core.models import NewModel
    from gglib_runtime.gguf.description import describe_model

    if _PROJECTOR in path.name.lower():
        reason = "a projector, which is part of another model"
        return Finding(path=str(path), outcome=Outcome.SKIPPED, reason=reason)
    try:
        described = describe_model(path)
        first = described.paths[0]
        known = store.find_file(first)
        if known is not None:
            return Finding(path=first, outcome=Outcome.KNOWN, name=known.name)
        new = NewModel(
            name=described.stem,
            paths=described.paths,
            size_bytes=described.size_bytes,
            facts=described.facts,
            capabilities=described.capabilities,
        )
        add(new)
    except (GgufError, InvalidModel, NameTaken) as error:
        return Finding(path=str(path), outcome=Outcome.REFUSED, reason=_reason(error))
    return Finding(path=first, outcome=Outcome.ADDED, name=new.name)


def _reason(error: GgufError | InvalidModel | NameTaken) -> str:
    if isinstance(error, GgufError):
        return error.reason
    return f"{error} `gglib model add` takes it under another --name."


def _print(finding: Finding) -> None:
    detail = f" as {finding.name}" if finding.name else f": {finding.reason}"
    click.echo(f"{finding.outcome:8}{printable(finding.path)}{printable(detail)}")


def _summary(findings: Sequence[Finding], directory: Path, *, is_rehearsal: bool) -> str:
    if not findings:
        return f"There is no .gguf file below {printable(directory)}."
    counts = {each: sum(found.outcome is each for found in findings) for each in Outcome}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"{said}. Nothing was changed (--dry-run)." if is_rehearsal else f"{said}."
