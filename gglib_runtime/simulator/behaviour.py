"""What the simulator is told to do: timing and faults, from its environment, a file or a request.

`GGLIB_SIM` holds one JSON object, or `@PATH` of a file with one (or with TOML), which is read at
start. Its keys are the fields of `Behaviour`; an unknown key ends the process with exit code 2, so
that a misspelt fault does not pass for a healthy engine. A request may change the fields of
`AnswerPlan` for itself with a root field `gglib_sim` in its JSON body, which proxies pass on
untouched. The admin API takes the same fields.

`GGLIB_SIM_RECORD` names a file for events: see `records.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gglib_runtime.simulator.faults.schema import Count, Fault, Seconds
from gglib_runtime.simulator.limits import RateLimit
from gglib_runtime.simulator.problems import explained

ENVIRONMENT_NAME = "GGLIB_SIM"
REQUEST_FIELD = "gglib_sim"

Positive = Annotated[float, Meta(gt=0)]

LoadFailure = Literal[
    "out_of_memory", "bad_file", "unknown_architecture", "bad_flag", "port_taken", "killed"
]


class AnswerPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one inference request is answered."""

    profile: str | None = None
    """Whose latencies the answers have: a shipped profile, a file of one or of measurements, `auto`
    for what the model's name tells, `none`. None leaves it to the two fields below."""
    slowdown: Positive = 1.0
    """Multiplies what the profile says."""
    seed: int | None = None
    """Of everything that is drawn. Of one request: its draws depend on that, not on its number."""
    first_token_seconds: Seconds = 0.0
    """Time in the slot before the first byte of the answer; where given, no profile counts."""
    token_seconds: Seconds = 0.0
    """Time between two tokens; a whole answer waits for all of them."""
    tokens: Count = 0
    """Tokens of an answer, unless the request's limit is lower; 0 is what the profile says, or 8
    where it says nothing."""
    hold_until: str | None = None
    """A file; the answer stops before its next chunk until the file exists."""
    hold_after_chunks: int = 0
    """Streamed chunks that are sent before the hold; 0 holds the head back."""
    faults: tuple[Fault, ...] = ()
    """The first that strikes counts."""
    notice_gone: bool = True
    """Whether a client that leaves ends a whole (not streamed) answer; llama-server is slow to see
    it while another request is active."""


class Behaviour(AnswerPlan, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one simulator process lives and answers."""

    models: dict[str, str] = {}
    """Profiles by globs of models' names, tried in order before `profile`."""
    scenario: str | None = None
    """The scenario that plays from the start: a shipped one, or a file."""
    limits: tuple[RateLimit, ...] = ()
    """What beyond gets 429."""
    max_concurrent: Annotated[int, Meta(ge=1)] | None = None
    """Inference requests at once; what is beyond is told that the server is overloaded."""

    bind_seconds: float = 0.0
    """Time before the port is bound: connections are refused so long."""
    load_seconds: float = 0.0
    load_until: str | None = None
    """A file; loading does not end before it exists."""
    load_log_seconds: float | None = None
    """A progress line this often while loading; None prints none, like llama-server."""
    never_ready: bool = False
    """Load for ever."""

    fail_load: LoadFailure | None = None
    """Exit instead of becoming ready, with llama-server's last lines for that class.
    `bad_flag` and `port_taken` strike before loading, the others after `load_seconds`."""
    exit_code: int = 1
    """The exit code of a failed load."""
    exit_lines: tuple[str, ...] | None = None
    """Last lines of a failed load, in place of llama-server's; alone, they make the load fail."""

    crash_after_answers: int | None = None
    """Die of `crash_signal` once this many inference requests were answered."""
    crash_signal: int = 9

    ignore_term: bool = False
    """Ignore SIGTERM and SIGINT from the start; only SIGKILL helps."""
    stop_seconds: float = 0.0
    """Time between SIGTERM and exit, beyond what requests take."""
    stop_listening: bool = True
    """Close the listener and idle connections on SIGTERM; else only after `stop_seconds`, with no
    request answered meanwhile, so that a test can see what is sent into a stopping engine."""
    stop_with_requests: Literal["wait", "cut"] = "wait"
    """On SIGTERM with requests running: `wait` sends nothing more and stays until their clients
    have closed (llama.cpp 0.5); `cut` closes their connections and exits (llama.cpp 0.6)."""

    key: Literal["own", "any", "other", "ignored"] = "own"
    """Which key opens the engine: its own; any, but one must come; none that was agreed; or no key
    is needed at all."""
    alias: str | None = None
    """Report this model name, whatever the flags say."""

    fork: Literal["helper", "server"] | None = None
    """`helper`: a grandchild that serves nothing holds our pipes and outlives us, for a minute at
    most. `server`: the started process only waits, like a script that does not `exec`; its child
    serves."""

    close_idle: Literal["after_answer", "on_next_request"] | None = None
    """Close a connection that was promised to stay, right after an answer or as more bytes come."""
    keep_alive_seconds: float = 5.0
    keep_alive_answers: int = 100

    silent: bool = False
    """No log lines at all."""
    chatter_lines: int = 0
    """Extra log lines while loading and for each request."""
    chatter_line_bytes: int = 80_000
    """Their length."""
    ballast_bytes: int = 0
    """Memory taken, in steps, while loading."""
    ballast_held_seconds: Seconds = 0.0
    """How long that memory stays taken after the process has ended, by a child that outlives it."""

    @property
    def fails_to_load(self) -> bool:
        return self.fail_load is not None or self.exit_lines is not None


class BadBehaviour(ValueError):
    """The simulator is told something that it does not understand."""


def read_behaviour(environment: Mapping[str, str]) -> Behaviour:
    """The behaviour that the environment asks for; raises BadBehaviour."""
    text = environment.get(ENVIRONMENT_NAME, "")
    try:
        if text.startswith("@"):
            return behaviour_from_file(Path(text[1:]))
        return msgspec.json.decode(text or "{}", type=Behaviour)
    except msgspec.DecodeError as error:
        raise BadBehaviour(f"{ENVIRONMENT_NAME}: {explained(error, Behaviour)}") from error
    except BadBehaviour as error:
        raise BadBehaviour(f"{ENVIRONMENT_NAME}: {error}") from error


def behaviour_from_file(path: Path) -> Behaviour:
    """What a file says, JSON or TOML; raises BadBehaviour."""
    try:
        text = path.read_text()
        if path.suffix != ".toml":
            return msgspec.json.decode(text or "{}", type=Behaviour)
        return msgspec.convert(_toml(text), Behaviour)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadBehaviour(f"{path}: {explained(error, Behaviour)}") from error


def told_by(
    behaviour: Behaviour,
    *,
    seed: int | None = None,
    profile: str | None = None,
    scenario: str | None = None,
    max_concurrent: int | None = None,
) -> Behaviour:
    """`behaviour` with what a command line says on top."""
    said: dict[str, Any] = {
        "seed": seed,
        "profile": profile,
        "scenario": scenario,
        "max_concurrent": max_concurrent or None,
    }
    return msgspec.structs.replace(
        behaviour, **{name: value for name, value in said.items() if value is not None}
    )


def changed_behaviour(behaviour: Behaviour, changes: object) -> Behaviour:
    """`behaviour` with what the object `changes`; raises BadBehaviour."""
    names = Behaviour.__struct_fields__
    try:
        given = msgspec.convert(changes, dict[str, object])
        wanted = msgspec.convert(changes, Behaviour)
    except msgspec.ValidationError as error:
        raise BadBehaviour(explained(error, Behaviour)) from error
    return msgspec.structs.replace(
        behaviour, **{name: getattr(wanted, name) for name in names if name in given}
    )


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def changed_plan(plan: AnswerPlan, changes: object) -> AnswerPlan:
    """`plan` with what a request's `gglib_sim` field changes; raises BadBehaviour."""
    names = AnswerPlan.__struct_fields__
    try:
        given = msgspec.convert(changes, dict[str, object])
        wanted = msgspec.convert(changes, AnswerPlan)
    except msgspec.ValidationError as error:
        raise BadBehaviour(f"{REQUEST_FIELD}: {explained(error, AnswerPlan)}") from error
    return AnswerPlan(**{name: getattr(wanted if name in given else plan, name) for name in names})
