"""llama-server's command line, as far as a supervisor uses it.

Unknown flags and bad values end the process with llama-server's own words. Flags that only change
how a real model computes are accepted and ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_MODEL = "model.gguf"
DEFAULT_CONTEXT = 4096
DEFAULT_SLOTS = 4
_CONTEXT_STEP = 256

_VALUE_FLAGS = {
    "-m": "model", "--model": "model",
    "-a": "alias", "--alias": "alias",
    "--host": "host", "--port": "port", "--api-key": "key",
    "-c": "context", "--ctx-size": "context",
    "-np": "slots", "--parallel": "slots",
    "-ub": "ubatch", "--ubatch-size": "ubatch",
    "--pooling": "pooling",
    "-lv": "verbosity", "--verbosity": "verbosity", "--log-verbosity": "verbosity",
    "-s": "seed", "--seed": "seed",
    # the simulator's own
    "--profile": "profile", "--scenario": "scenario", "--max-concurrent": "max_concurrent",
    "--admin-key": "admin_key",
}  # fmt: skip
_SWITCHES = {
    "--embeddings": "embeddings", "--embedding": "embeddings",
    "--rerank": "rerank", "--reranking": "rerank",
    "--metrics": "metrics", "--props": "props", "--no-slots": "no_slots",
    "--log-disable": "log_disable",
    "--alone": "alone",  # the simulator's own
}  # fmt: skip
_NUMBERS = frozenset({"port", "context", "slots", "ubatch", "verbosity", "seed", "max_concurrent"})
_IGNORED_VALUE_FLAGS = """
-t --threads -tb --threads-batch -ngl --gpu-layers --n-gpu-layers -b --batch-size --cache-ram -n
--predict --n-predict -to --timeout --threads-http --sse-ping-interval --slot-save-path
--chat-template --chat-template-file --reasoning-format --reasoning --reasoning-budget -lm
--load-mode -fit --fit -fa --flash-attn -ctk --cache-type-k -ctv --cache-type-v --lora
--lora-scaled --mmproj -md --spec-draft-model --spec-type --spec-draft-n-max --temp
--top-k --top-p --min-p --sleep-idle-seconds -ts --tensor-split -mg --main-gpu -sm --split-mode
-dev --device --rope-scaling --rope-freq-base --rope-freq-scale --log-colors --log-file
--cache-reuse --numa --kv-unified-per-slot -ot --override-tensor -ncmoe --n-cpu-moe
"""
_IGNORED_SWITCHES = """
--jinja --no-jinja --no-webui --no-ui --webui --ui --offline --slots --no-warmup --mlock --no-mmap
--cont-batching -cb --no-cont-batching --log-prefix --no-log-prefix --log-timestamps
--no-log-timestamps --kv-unified -kvu --swa-full --check-tensors
"""


class BadArgument(ValueError):
    """The command line is one that llama-server refuses, with its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command line says."""

    model: str = DEFAULT_MODEL
    alias: str
    names: tuple[str, ...] = ()
    """All names of the model, sorted; `alias` is the first."""
    is_alone: bool = False
    """Whether it is an endpoint of its own, with the APIs of OpenAI and Anthropic as they are."""
    host: str = "127.0.0.1"
    port: int = 8080
    keys: tuple[str, ...] = ()
    slots: int = DEFAULT_SLOTS
    slot_context: int = DEFAULT_CONTEXT
    """Tokens that one request may use."""
    ubatch: int = 512
    pooling: str | None = None
    embeddings: bool = False
    rerank: bool = False
    metrics: bool = False
    props: bool = False
    shows_slots: bool = True
    logs: bool = True
    seed: int | None = None
    """Of all that is drawn; llama-server draws its own for a negative one."""
    profile: str | None = None
    scenario: str | None = None
    max_concurrent: int | None = None
    admin_key: str = ""

    @property
    def is_encoder(self) -> bool:
        """Whether the model cannot generate: known by a pooling that no causal model has."""
        return self.rerank or (self.embeddings and self.pooling in {"cls", "rank"})


def parse_arguments(argv: Sequence[str], key: str = "") -> Arguments:
    """Read `argv` without the program's name; raises BadArgument.

    `key` is what the environment sets, which a flag overrides.
    """
    found: dict[str, str] = {"key": key}
    tokens = iter(argv)
    ignored_values, ignored_switches = _IGNORED_VALUE_FLAGS.split(), _IGNORED_SWITCHES.split()
    for flag in tokens:
        if (name := _SWITCHES.get(flag)) is not None:
            found[name] = flag
        elif (name := _VALUE_FLAGS.get(flag)) is not None:
            found[name] = _value(flag, next(tokens, None), is_number=name in _NUMBERS)
        elif flag in ignored_values:
            _value(flag, next(tokens, None))
        elif flag not in ignored_switches:
            raise BadArgument(f"error: invalid argument: {flag}")
    return _arguments(found)


def _value(flag: str, value: str | None, *, is_number: bool = False) -> str:
    failure = f'error while handling argument "{flag}": '
    if value is None:
        raise BadArgument(failure + "expected value for argument")
    if is_number:
        try:
            int(value)
        except ValueError:
            raise BadArgument(failure + "stoi") from None
    return value


def _arguments(found: dict[str, str]) -> Arguments:
    model = found.get("model", DEFAULT_MODEL)
    slots = int(found.get("slots", 0))
    names = tuple(sorted(found.get("alias", model).split(",")))
    return Arguments(
        model=model,
        # With several aliases llama-server answers with the first in the alphabet.
        alias=names[0],
        names=names,
        is_alone="alone" in found,
        host=found.get("host", "127.0.0.1"),
        port=int(found.get("port", 8080)),
        keys=tuple(key for key in found.get("key", "").split(",") if key),
        slots=slots if slots > 0 else DEFAULT_SLOTS,
        slot_context=_slot_context(int(found.get("context", 0)), slots),
        ubatch=int(found.get("ubatch", 512)),
        pooling=found.get("pooling"),
        embeddings="embeddings" in found or "rerank" in found,
        rerank="rerank" in found,
        metrics="metrics" in found,
        props="props" in found,
        shows_slots="no_slots" not in found,
        logs="log_disable" not in found and int(found.get("verbosity", 3)) >= 3,
        seed=_not_negative(found.get("seed")),
        profile=found.get("profile"),
        scenario=found.get("scenario"),
        max_concurrent=_not_negative(found.get("max_concurrent")),
        admin_key=found.get("admin_key", ""),
    )


def _not_negative(value: str | None) -> int | None:
    return None if value is None or int(value) < 0 else int(value)


def _slot_context(context: int, slots: int) -> int:
    """A given number of slots divides the context; without one, each slot may use all of it."""
    each = (context or DEFAULT_CONTEXT) // max(slots, 1)
    return -(-each // _CONTEXT_STEP) * _CONTEXT_STEP
