"""What a model's properties may be."""

from __future__ import annotations

from typing import Any

import pytest

from gglib_core.errors import InvalidModel
from gglib_core.models import Capability, GgufFacts
from gglib_core.validation import check_arguments, check_environment, check_model
from tests.catalog_entries import FULL, new_model


def test_a_model_that_uses_every_property_is_accepted() -> None:
    check_model(new_model("full", **FULL))


def test_a_model_of_unknown_training_may_have_any_context() -> None:
    check_model(new_model(context=10**7, facts=GgufFacts(architecture="llama")))


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"name": "7"}, "digits"),
        ({"aliases": ("7",)}, "digits"),
        ({"aliases": ("alpha",)}, "'alpha' is given twice"),
        ({"aliases": ("a", "a")}, "'a' is given twice"),
        ({"paths": ()}, "names no file"),
        ({"paths": ("model.gguf",)}, "not absolute"),
        ({"paths": ("/a\0b",)}, "NUL"),
        ({"paths": ("/a\udcff",)}, "UTF-8"),
        ({"paths": ("/a", "/a")}, "twice"),
        ({"size_bytes": -1}, "size_bytes"),
        ({"capabilities": frozenset()}, "--capability"),
        ({"capabilities": frozenset({Capability.RERANK, Capability.CHAT})}, "rerank"),
        ({"context": 0}, "context is 0"),
        ({"context": 8193}, "8192"),
        ({"parallel": 0}, "from 1 to 256"),
        ({"parallel": 257}, "from 1 to 256"),
        ({"threads": 0}, "threads is 0"),
        ({"max_concurrent": 0}, "max_concurrent is 0"),
        ({"gpu_layers": "-1"}, "gpu_layers"),
        ({"gpu_layers": "some"}, "gpu_layers"),
        ({"gpu_layers": "9\n"}, "gpu_layers"),
        ({"gpu_layers": "\u0663"}, "gpu_layers"),
        ({"idle_seconds": -0.5}, "idle_seconds"),
        ({"idle_seconds": float("nan")}, "idle_seconds"),
        ({"idle_seconds": float("inf")}, "idle_seconds"),
        ({"arguments": ("--port", "1")}, "--port"),
        ({"environment": (("LLAMA_ARG_PORT", "1"),)}, "LLAMA_ARG_PORT"),
        ({"tags": ("",)}, "tag"),
        ({"tags": ("a\tb",)}, "tag"),
        ({"tags": ("t", "t")}, "'t' is given twice"),
        ({"input_cost_per_1k": -0.1}, "input_cost_per_1k"),
        ({"output_cost_per_1k": float("inf")}, "output_cost_per_1k"),
        ({"output_cost_per_1k": float("nan")}, "output_cost_per_1k"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "USD\n"}, "currency"),
        ({"currency": ""}, "currency"),
    ],
)
def test_a_property_that_no_engine_could_use_is_refused(
    properties: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidModel, match=reason):
        check_model(new_model(**({"name": "alpha"} | properties)))


@pytest.mark.parametrize(
    "flag",
    [
        "--host",
        "--port",
        "--reuse-port",
        "-m",
        "--model",
        "-a",
        "--alias",
        "-c",
        "--ctx-size",
        "-np",
        "--parallel",
        "--api-key",
        "--api-key-file",
        "--api-prefix",
        "--ssl-key-file",
        "--ssl-cert-file",
        "--models-dir",
        "--models-max",
        "--no-models-autoload",
        "--hf-repo",
    ],
)
def test_a_flag_that_gglib_sets_itself_is_refused_in_every_spelling(flag: str) -> None:
    spellings = {flag, f"{flag}=x"}
    if flag.startswith("--"):
        spellings |= {f"--{flag[2:].replace('-', '_')}"}
    for spelling in spellings:
        with pytest.raises(InvalidModel, match="gglib's to set"):
            check_arguments(("--temp", "1", spelling))


@pytest.mark.parametrize(
    ("flag", "instead"),
    [("-c", "--ctx"), ("-np", "--parallel"), ("-a", "--name"), ("-hf", "gglib model add")],
)
def test_a_refused_flag_names_what_to_use_instead(flag: str, instead: str) -> None:
    with pytest.raises(InvalidModel, match=instead):
        check_arguments((flag,))


@pytest.mark.parametrize(
    "token",
    ["-mm", "--mmproj", "--model-draft", "-cb", "--cache-ram", "--hostname", "/port", "-ngl"],
)
def test_flags_that_only_begin_alike_are_the_users(token: str) -> None:
    check_arguments((token,))


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A\n", "Ä"])
def test_what_is_no_variable_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidModel, match="environment variable"):
        check_environment(((name, "x"),))


@pytest.mark.parametrize("name", ["LLAMA_ARG_HOST", "LLAMA_API_KEY", "LLAMA_SERVER_X", "AIP_MODE"])
def test_variables_that_change_the_engines_flags_are_refused(name: str) -> None:
    with pytest.raises(InvalidModel, match="--arg"):
        check_environment(((name, "x"),))


def test_a_variable_is_given_once() -> None:
    with pytest.raises(InvalidModel, match="A is given twice"):
        check_environment((("A", "1"), ("A", "2")))
