"""Why an engine ended: its class and the line that says it."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from gglib_core.errors import LaunchFailure
from gglib_runtime.simulator.failures import failure_lines
from gglib_runtime.supervisor.failures import classify, refusal_of
from gglib_runtime.supervisor.launching import Launch, exit_error

if TYPE_CHECKING:
    from gglib_runtime.supervisor.child import Child

LOADING = "0.00.012.000 I srv  load_model: loading model '/m.gguf'"
GENERIC = "0.00.020.000 E srv  llama_server: exiting due to model loading error"


@pytest.mark.parametrize(
    "name", ["out_of_memory", "bad_file", "unknown_architecture", "bad_flag", "port_taken"]
)
def test_what_the_stand_in_engine_says_is_understood(name: str) -> None:
    lines = failure_lines(name, model="/m.gguf", host="127.0.0.1", port=1)  # type: ignore[arg-type]
    assert classify(1, lines)[0] == name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "gguf_init_from_file: failed to open GGUF file '/m.gguf' (No such file or directory)",
            LaunchFailure.BAD_FILE,
        ),
        ("gguf_init: invalid magic characters: 'abcd', expected 'GGUF'", LaunchFailure.BAD_FILE),
        ("gguf_init_from_file_impl: failed to read magic", LaunchFailure.BAD_FILE),
        (
            "tensor 'blk.0' data is not within the file bounds, model is corrupted or incomplete",
            LaunchFailure.BAD_FILE,
        ),
        ("llama_mmap: mmap failed: Cannot allocate memory", LaunchFailure.OUT_OF_MEMORY),
        ("alloc: failed to allocate CPU buffer of size 9663676416", LaunchFailure.OUT_OF_MEMORY),
        (
            "ggml_cuda: allocating 999.00 MiB on device 0: cudaMalloc failed: out of memory",
            LaunchFailure.OUT_OF_MEMORY,
        ),
        ("terminate called after throwing 'std::bad_alloc'", LaunchFailure.OUT_OF_MEMORY),
        ("ggml_vulkan: ErrorOutOfDeviceMemory", LaunchFailure.OUT_OF_MEMORY),
        (
            "error loading model architecture: unknown model architecture: 'new'",
            LaunchFailure.UNKNOWN_ARCHITECTURE,
        ),
        ("error: invalid argument: --x", LaunchFailure.BAD_FLAG),
        ('error while handling argument "--port": stoi', LaunchFailure.BAD_FLAG),
        (
            "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 80",
            LaunchFailure.PORT_TAKEN,
        ),
        ("error: the supplied chat template is not valid", LaunchFailure.BAD_FLAG),
        ("mmproj: failed to load clip model", LaunchFailure.BAD_FILE),
    ],
)
def test_a_telling_line_gives_class_and_detail(line: str, expected: LaunchFailure) -> None:
    failure, detail = classify(1, [LOADING, f"0.00.013.000 E {line}", GENERIC])
    assert failure is expected
    assert detail == line


def test_the_first_telling_line_is_the_cause() -> None:
    lines = ["E failed to allocate buffer", "E failed to load model, '/m.gguf'"]
    assert classify(1, lines) == (LaunchFailure.OUT_OF_MEMORY, "E failed to allocate buffer")


@pytest.mark.parametrize(
    "harmless",
    [
        "W warning: failed to mlock 9-byte buffer: Cannot allocate memory",
        "E common_fit_params: encountered an error while trying to fit params: failed to load",
    ],
)
def test_lines_that_mislead_are_passed_over(harmless: str) -> None:
    lines = [harmless, "E unknown model architecture: 'x'"]
    assert classify(1, lines)[0] is LaunchFailure.UNKNOWN_ARCHITECTURE
    assert classify(1, [harmless])[0] is LaunchFailure.CRASHED


@pytest.mark.parametrize(
    ("code", "expected", "word"),
    [
        (-9, LaunchFailure.KILLED, "SIGKILL"),
        (-15, LaunchFailure.KILLED, "SIGTERM"),
        (-11, LaunchFailure.CRASHED, "SIGSEGV"),
        (-6, LaunchFailure.CRASHED, "SIGABRT"),
        (-99, LaunchFailure.CRASHED, "signal 99"),
        (127, LaunchFailure.NO_ENGINE, "cannot be executed"),
        (126, LaunchFailure.NO_ENGINE, "cannot be executed"),
        (0, LaunchFailure.CRASHED, "code 0"),
        (3, LaunchFailure.CRASHED, "code 3"),
    ],
)
def test_without_a_telling_line_the_exit_code_speaks(
    code: int, expected: LaunchFailure, word: str
) -> None:
    for lines in ([], [LOADING]):
        failure, detail = classify(code, lines)
        assert failure is expected
        assert word in detail


def test_a_detail_is_one_line_of_bearable_length() -> None:
    _, detail = classify(1, ["0.00.013.000 E failed to allocate " + "x" * 10_000])
    assert len(detail) < 400
    assert detail.startswith("failed to allocate")


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.EMFILE, LaunchFailure.OUT_OF_FILES),
        (errno.ENFILE, LaunchFailure.OUT_OF_FILES),
        (errno.ENOMEM, LaunchFailure.OUT_OF_MEMORY),
        (errno.EACCES, LaunchFailure.CRASHED),
    ],
)
def test_a_system_that_starts_no_process_is_understood(number: int, failure: LaunchFailure) -> None:
    found, detail = refusal_of(OSError(number, os.strerror(number)))
    assert found is failure
    assert os.strerror(number) in detail


def missing(launch: Launch, line: str) -> str:
    launch.tail.append(line)
    error = exit_error(launch, cast("Child", SimpleNamespace(exit_code=1)))
    assert error.failure is LaunchFailure.BAD_FILE
    return error.detail


@pytest.mark.parametrize(
    "line",
    [
        "gguf_init_from_file: failed to open GGUF file '/m/a.gguf' (No such file or directory)",
        "error loading model: failed to open /m/a.gguf: No such file or directory",
    ],
)
def test_a_file_that_is_missing_is_said_to_be_with_what_to_do(line: str) -> None:
    launch = Launch(model_id=1, name="my model", context=512, path="/m/a.gguf")
    assert missing(launch, line) == (
        "its file /m/a.gguf is missing. Bring it back, or name the one to use: "
        "gglib model edit 'my model' --path PATH"
    )


def test_another_file_that_is_missing_is_told_of_by_the_engine() -> None:
    launch = Launch(model_id=1, name="a", context=512, path="/m/a.gguf")
    assert "/m/mmproj.gguf" in missing(
        launch, "mmproj: failed to open /m/mmproj.gguf: No such file or directory"
    )
