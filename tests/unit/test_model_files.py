"""Files as those who add models from elsewhere name them: read, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from gglib_core.errors import GgufError
from gglib_core.models import Capability
from gglib_core.stored_models import ModelFiles
from gglib_runtime.gguf.model_files import GgufModelFiles
from tests.gguf_files import write_tiny

FILES: ModelFiles = GgufModelFiles()


async def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "tiny-a")
    for engine in (None, "simulator"):
        file = await FILES.describe(str(path), engine=engine)
        assert (file.stem, file.paths, file.size_bytes) == (
            "tiny-a",
            (str(path),),
            path.stat().st_size,
        )
        assert file.capabilities == FILES.default_capabilities(file.facts) == {Capability.CHAT}


async def test_the_simulator_needs_a_name_alone() -> None:
    file = await FILES.describe("org/slowpoke", engine="simulator")
    assert (file.stem, file.facts.architecture) == ("org/slowpoke", "simulator")


@pytest.mark.parametrize(
    "path",
    ["", "relative.gguf", "~/x.gguf", "/no/such.gguf", "/", "/a\0b", "/\ud800", "/" + "x" * 5000],
)
async def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(GgufError) as caught:
        await FILES.describe(path)
    assert [name for name, _ in caught.value.problems] == ["path"]


async def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"no model")
    for path in (wrong, tmp_path):
        with pytest.raises(GgufError):
            await FILES.describe(str(path))
