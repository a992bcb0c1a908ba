"""SDKs for Node, as npm installs them: fetched once, and kept in npm's own cache."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

WAIT_SECONDS = 60.0
_OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1")


def install_packages(directory: Path, *packages: str) -> None:
    """Put them into a directory for scripts; what npm cannot fetch skips the test."""
    (directory / "package.json").write_text('{"private": true}')
    try:
        subprocess.run(
            ["npm", "install", *_OPTIONS, *packages],
            cwd=directory,
            capture_output=True,
            timeout=WAIT_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError:
        pytest.skip(f"npm could not fetch {' and '.join(packages)}")
