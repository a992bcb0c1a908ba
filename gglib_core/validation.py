"""What a model's properties may be: the checks that every store makes before it takes an entry.

Pure: a value is right or InvalidModel is raised. Not here: uniqueness, which only the store of all
models can see, and whether files exist.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from gglib_core.catalog import check_name, known_as
from gglib_core.errors import InvalidModel
from gglib_core.models import Capability, NewModel

MAX_PARALLEL = 256
MAX_TAG_LENGTH = 100
ENGINES = ("simulator",)
"""Besides the llama-server of `serve`."""
MAX_PRICE = 1_000_000.0

_OWNED_FLAGS = {
    "--host": "the engine listens on loopback, where gglib finds it",
    "--port": "gglib chooses a free one",
    "--reuse-port": "no other process may share the engine's port",
    "-m": "the catalog entry names the file",
    "--model": "the catalog entry names the file",
    "-mu": "add the file itself with `gglib model add`",
    "--model-url": "add the file itself with `gglib model add`",
    "-hf": "add the file itself with `gglib model add`",
    "-hfr": "add the file itself with `gglib model add`",
    "--hf-repo": "add the file itself with `gglib model add`",
    "-hff": "add the file itself with `gglib model add`",
    "--hf-file": "add the file itself with `gglib model add`",
    "-dr": "add the file itself with `gglib model add`",
    "--docker-repo": "add the file itself with `gglib model add`",
    "-a": "use --name and --alias of the model",
    "--alias": "use --name and --alias of the model",
    "-c": "use --ctx of the model, the tokens that one request may use",
    "--ctx-size": "use --ctx of the model, the tokens that one request may use",
    "-np": "use --parallel of the model",
    "--parallel": "use --parallel of the model",
    "--api-prefix": "clients see gglib's paths, not the engine's",
}
_OWNED_PREFIXES = {
    "--api-key": "gglib gives each launch a key of its own",
    "--ssl-": "the engine is reached over loopback only; TLS is the gateway's",
    "--models-": "gglib swaps models itself",
    "--no-models-": "gglib swaps models itself",
}
_OWNED_VARIABLES = ("LLAMA_ARG_", "LLAMA_API_KEY", "LLAMA_SERVER_", "AIP_")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CURRENCY = re.compile(r"[A-Z]{3}")
_GPU_LAYERS = re.compile(r"auto|all|\d{1,6}", re.ASCII)


def check_model(model: NewModel) -> None:
    """Raise InvalidModel, which names every one, unless each property is acceptable by itself."""
    problems: list[tuple[str, str]] = []
    for name, check in _checks(model):
        try:
            check()
        except InvalidModel as error:
            problems.append((name, str(error)))
    if problems:
        raise InvalidModel(" ".join(issue for _, issue in problems), problems)


def _checks(model: NewModel) -> Iterator[tuple[str, Callable[[], None]]]:
    """Properties, each with what raises InvalidModel where it is not acceptable."""
    trained = model.facts.context_length
    yield "name", partial(_check_name, model.name)
    yield "aliases", partial(_check_aliases, model)
    yield "path", partial(_check_file, model)
    yield "capabilities", partial(_check_capabilities, model)
    yield "context", partial(check_context, model.context, trained=trained)
    yield "parallel", partial(check_parallel, model.parallel)
    yield "threads", partial(_check_at_least_one, "threads", model.threads)
    yield "max_concurrent", partial(_check_at_least_one, "max_concurrent", model.max_concurrent)
    yield "gpu_layers", partial(check_gpu_layers, model.gpu_layers)
    yield "idle_seconds", partial(check_idle_seconds, model.idle_seconds)
    yield "arguments", partial(check_arguments, model.arguments)
    yield "environment", partial(check_environment, model.environment)
    yield "tags", partial(check_tags, model.tags)
    yield "engine", partial(check_engine, model.engine)
    for name in ("input_cost_per_1k", "output_cost_per_1k"):
        yield name, partial(check_price, name, getattr(model, name))
    yield "currency", partial(check_currency, model.currency)


def check_context(context: int | None, *, trained: int | None = None) -> None:
    """A context is positive and within what the model was trained for, where that is known."""
    _check_at_least_one("context", context)
    if context is not None and trained is not None and context > trained:
        raise InvalidModel(
            f"A context of {context} is more than the {trained} tokens that the model was trained "
            "for."
        )


def check_parallel(parallel: int | None) -> None:
    """As many slots as llama-server can have."""
    if parallel is not None and not 1 <= parallel <= MAX_PARALLEL:
        raise InvalidModel(f"parallel is {parallel}; it has to be from 1 to {MAX_PARALLEL}.")


def check_gpu_layers(gpu_layers: str | None) -> None:
    """As llama-server's `-ngl` takes it."""
    if gpu_layers is not None and _GPU_LAYERS.fullmatch(gpu_layers) is None:
        raise InvalidModel(f"gpu_layers is {gpu_layers!r}; it has to be a number, `auto` or `all`.")


def check_idle_seconds(idle_seconds: float | None) -> None:
    """A duration, or 0 for never."""
    if idle_seconds is not None and not (math.isfinite(idle_seconds) and idle_seconds >= 0):
        raise InvalidModel(
            f"idle_seconds is {idle_seconds:g}; it has to be 0 (never unload) or more."
        )


def check_arguments(arguments: Sequence[str]) -> None:
    """Extra engine arguments may not set what gglib sets itself."""
    for token in arguments:
        _check_text("argument", token)
        reason = _owned(token)
        if reason is not None:
            raise InvalidModel(f"The argument {token!r} is gglib's to set: {reason}.")


def check_environment(environment: Iterable[tuple[str, str]]) -> None:
    """Names that a shell would take, each once, and none that changes what gglib sets itself."""
    seen: set[str] = set()
    for name, value in environment:
        if _VARIABLE.fullmatch(name) is None:
            raise InvalidModel(f"{name!r} is no name for an environment variable.")
        if name in seen:
            raise InvalidModel(f"The environment variable {name} is given twice.")
        if name.startswith(_OWNED_VARIABLES):
            raise InvalidModel(
                f"The environment variable {name} is kept from engines, because it changes their "
                "flags: use --arg for a flag."
            )
        _check_text(f"value of {name}", value)
        seen.add(name)


def check_tags(tags: Sequence[str]) -> None:
    """Short printable labels, each once."""
    for tag in tags:
        if not tag.isprintable() or tag != tag.strip() or not 0 < len(tag) <= MAX_TAG_LENGTH:
            raise InvalidModel(
                f"The tag {tag!r} has to be 1 to {MAX_TAG_LENGTH} printable characters without "
                "blanks around it."
            )
    _check_distinct("tag", tags)


def check_engine(engine: str | None) -> None:
    """One that gglib knows by its name, or the one of `serve`."""
    if engine is not None and engine not in ENGINES:
        known = ", ".join(ENGINES)
        raise InvalidModel(f"There is no engine {engine!r}; give {known}, or none.")


def check_price(name: str, price: float) -> None:
    """Money that can be counted."""
    if not 0 <= price <= MAX_PRICE:  # which no comparison with NaN is
        raise InvalidModel(f"{name} is {price:g}; it has to be from 0 to {MAX_PRICE:g}.")


def check_currency(currency: str) -> None:
    """A code such as those of ISO 4217."""
    if _CURRENCY.fullmatch(currency) is None:
        raise InvalidModel(
            f"currency is {currency!r}; it has to be three capital letters, such as USD or EUR."
        )


def _check_name(name: str) -> None:
    _check_text("name", check_name(name))


def _check_aliases(model: NewModel) -> None:
    for alias in model.aliases:
        _check_name(alias)
    _check_distinct("name", known_as(model))


def _check_file(model: NewModel) -> None:
    if not model.paths:
        raise InvalidModel(f"The model {model.name!r} names no file.")
    for path in model.paths:
        _check_text("path", path)
        if not path.startswith("/"):
            raise InvalidModel(f"The path {path!r} is not absolute.")
    _check_distinct("path", model.paths)
    if model.size_bytes < 0:
        raise InvalidModel(f"size_bytes is {model.size_bytes}; a size is not negative.")


def _check_capabilities(model: NewModel) -> None:
    if not model.capabilities:
        known = ", ".join(Capability)
        raise InvalidModel(
            f"The model {model.name!r} has no capability: give it one of {known} with --capability."
        )
    if Capability.RERANK in model.capabilities and len(model.capabilities) > 1:
        raise InvalidModel(
            "A model that reranks does nothing else while it runs: give it the capability rerank "
            "alone, and add the file once more under another name for the others."
        )


def _check_at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InvalidModel(f"{name} is {value}; it has to be 1 or more.")


def _check_distinct(what: str, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise InvalidModel(f"The {what} {value!r} is given twice.")


def _check_text(what: str, text: str) -> None:
    """What a process's arguments and a database's text can both hold."""
    if "\0" in text:
        raise InvalidModel(f"The {what} {text!r} has a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidModel(f"The {what} {text!r} is not valid UTF-8.") from None


def _owned(token: str) -> str | None:
    """Why an engine's flag may not be given, or None. llama-server reads `--a_b` as `--a-b`."""
    flag = token.partition("=")[0]
    if flag.startswith("--"):
        flag = flag.replace("_", "-")
    if flag in _OWNED_FLAGS:
        return _OWNED_FLAGS[flag]
    owners = (reason for prefix, reason in _OWNED_PREFIXES.items() if flag.startswith(prefix))
    return next(owners, None)
