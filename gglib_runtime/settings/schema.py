"""Which settings exist: their types, defaults, bounds and meanings.

The one list of them: documentation, flags and error messages are made from it. Not here: where a
value comes from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from gglib_core.keys import Allowance
from gglib_core.rate_limiting import LimitRule
from gglib_runtime.listen_address import ListenAddress, listen_address
from gglib_runtime.paths import DataPaths, default_data_dir
from gglib_runtime.settings.access_kinds import HostNames, Networks, Origins
from gglib_runtime.settings.kinds import (
    Amount,
    Choice,
    DatabaseUrl,
    Directory,
    Duration,
    File,
    FileMode,
    Kind,
    ListenHost,
    Program,
    Size,
    Switch,
    Text,
    Whole,
)
from gglib_runtime.settings.limit_rules import LimitRules

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]

_DAY = 86400.0
_MONTH = 30 * _DAY
_TEN_YEARS = 3650 * _DAY
_KIB, _MIB, _GIB, _TIB = 1024, 1024**2, 1024**3, 1024**4

_DURATION = Duration(minimum=0, maximum=_MONTH)
_COUNT = Whole(minimum=0, maximum=1_000_000_000)
_BUDGET = Amount(minimum=0, maximum=1_000_000_000)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of one setting besides its name, type and default."""

    kind: Kind
    meaning: str
    shown_default: str | None = None
    """The default in words, where its value says too little."""
    needs_restart: bool = False
    """Whether a running server goes on with the value that it began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; within bounds when it comes from `load_settings`."""

    host: Annotated[
        str,
        About(
            ListenHost(),
            "Where the endpoint listens: an address, unix:PATH, or a socket that whoever starts "
            "gglib passes, which is fd://NUMBER or systemd.",
            needs_restart=True,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        About(
            Whole(minimum=0, maximum=65535),
            "TCP port of the endpoint; 0 takes any that is free.",
            needs_restart=True,
        ),
    ] = 8080
    unix_socket_mode: Annotated[
        int,
        About(
            FileMode(),
            "Who may connect to a unix socket: the mode of its file.",
            needs_restart=True,
        ),
    ] = 0o600
    tls_cert: Annotated[
        Path | None,
        About(
            File(),
            "Certificate of the endpoint, with its chain behind it, in PEM form; with it, clients "
            "have to speak TLS. Read again when it changes.",
            "none: plain HTTP",
            needs_restart=True,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        About(
            File(),
            "Private key of `tls_cert`, in PEM form, not encrypted.",
            "none",
            needs_restart=True,
        ),
    ] = None
    data_dir: Annotated[
        Path,
        About(
            Directory(),
            "Directory for everything that gglib writes: database, logs, facts about the running "
            "server, the demo model.",
            "the platform's, `~/.local/share/gglib` on Linux",
            needs_restart=True,
        ),
    ] = field(default_factory=default_data_dir)
    database_url: Annotated[
        str | None,
        About(
            DatabaseUrl(), "Database of the catalog.", "SQLite in `data_dir`", needs_restart=True
        ),
    ] = None
    llama_server: Annotated[
        str | None,
        About(
            Program(),
            "The llama-server to run.",
            "`llama-server` on PATH, else the embedded one",
            needs_restart=True,
        ),
    ] = None

    no_auth: Annotated[
        bool,
        About(
            Switch(),
            "Let whoever reaches the endpoint do everything, with no API key. Else that is so only "
            "while no key exists and nobody but this machine can reach it.",
        ),
    ] = False
    trusted_proxies: Annotated[
        tuple[str, ...],
        About(
            Networks(),
            "Networks of proxies whose `X-Forwarded-For` is believed, where it matters who a "
            "client without a key is; `unix` is whoever connects to a unix socket.",
            "none",
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        About(
            HostNames(),
            "More names by which clients may call an endpoint on loopback, in the header `Host`; "
            "`*` is any.",
            "none but those of this machine",
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...] | None,
        About(
            Origins(),
            "Web pages that may use the endpoint from a browser, by their origins; `*` is any.",
            "those from this machine",
        ),
    ] = None

    default_model: Annotated[
        str | None,
        About(
            Text(expected="the name of a model", bounds="a model's name"),
            "Model for requests that name none, while none is loaded.",
            "the only model, if there is one",
        ),
    ] = None
    default_ctx: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=16 * _MIB),
            "Tokens that one request may use, where the model does not say; never more than the "
            "model was trained for.",
            needs_restart=True,
        ),
    ] = 4096
    default_parallel: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=256),
            "Requests that an engine decodes at once, where the model does not say; each has a "
            "context of its own.",
        ),
    ] = 4
    cache_ram_bytes: Annotated[
        int,
        About(
            Size(minimum=0, maximum=_TIB),
            "Memory for the prompt cache of each engine, passed in MiB as `--cache-ram`; 0 "
            "switches the cache off.",
        ),
    ] = 512 * _MIB

    max_resident: Annotated[
        int, About(Whole(minimum=1, maximum=64), "Models that are loaded at the same time.")
    ] = 1
    idle_seconds: Annotated[
        float,
        About(_DURATION, "A model without a request for this long is unloaded; 0 never unloads."),
    ] = 0.0
    quantum_seconds: Annotated[
        float,
        About(
            Duration(minimum=0, maximum=3600),
            "Time that a model is served before one that waits gets its turn; 0 swaps as soon as "
            "running answers have ended.",
        ),
    ] = 10.0
    queue_limit: Annotated[
        int, About(Whole(minimum=1, maximum=1_000_000), "Requests that may wait for a model.")
    ] = 1024
    queue_seconds: Annotated[
        float, About(_DURATION, "Time that a request may wait for its model; 0 is no limit.")
    ] = 300.0
    load_stall_seconds: Annotated[
        float,
        About(_DURATION, "A load that shows no progress for this long is given up; 0 is no limit."),
    ] = 60.0
    wedge_seconds: Annotated[
        float,
        About(
            _DURATION,
            "A loaded model that has requests but gives no byte, prints nothing and shows no "
            "progress for this long, or answers with server errors alone, is ended, and loaded "
            "anew for the next request; 0 never does it.",
        ),
    ] = 120.0
    max_answer_seconds: Annotated[
        float,
        About(
            _DURATION,
            "Time that an answer may take once its model is loaded, so that it cannot keep other "
            "models waiting; 0 is no limit.",
        ),
    ] = 0.0
    stop_grace_seconds: Annotated[
        float,
        About(
            Duration(minimum=0, maximum=3600),
            "Time that an engine has to end by itself before it is killed.",
        ),
    ] = 5.0
    drain_seconds: Annotated[
        float,
        About(_DURATION, "Time that running answers have to end when gglib is told to stop."),
    ] = 30.0

    stream_grace_seconds: Annotated[
        float,
        About(
            _DURATION,
            "A streaming request that waits longer gets its response headers, and comments while "
            "it goes on waiting.",
        ),
    ] = 1.0
    comment_interval_seconds: Annotated[
        float,
        About(
            Duration(minimum=0.1, maximum=_MONTH),
            "Time between the comments that a waiting stream gets.",
        ),
    ] = 10.0

    requests_per_minute: Annotated[
        int,
        About(
            _COUNT,
            "Requests that each key may make in a minute, or each address where no key is needed, "
            "unless the key says otherwise; 0 is no limit.",
        ),
    ] = 0
    tokens_per_minute: Annotated[
        int,
        About(_COUNT, "Tokens, of prompts and answers, in the same way; 0 is no limit."),
    ] = 0
    concurrent_requests: Annotated[
        int,
        About(_COUNT, "Requests at the same time, in the same way; 0 is no limit."),
    ] = 0
    budget_per_day: Annotated[
        float,
        About(
            _BUDGET,
            "Money for a day (UTC), in the same way, by the prices of models; 0 is no limit.",
        ),
    ] = 0.0
    budget_per_month: Annotated[
        float,
        About(_BUDGET, "Money for a calendar month (UTC), in the same way; 0 is no limit."),
    ] = 0.0
    limits: Annotated[
        tuple[LimitRule, ...],
        About(
            LimitRules(),
            "Further limits by model, endpoint and key; all that match a request hold.",
            "none",
        ),
    ] = ()

    max_body_bytes: Annotated[
        int,
        About(
            Size(minimum=_KIB, maximum=4 * _GIB),
            "Largest request body; llama-server itself refuses more than 100 MiB.",
        ),
    ] = 64 * _MIB
    max_buffered_bytes: Annotated[
        int,
        About(
            Size(minimum=_KIB, maximum=_TIB),
            "Most memory for the bodies of all requests together; at least `max_body_bytes`.",
        ),
    ] = 512 * _MIB
    max_header_bytes: Annotated[
        int,
        About(Size(minimum=_KIB, maximum=_MIB), "Largest request head, the request line included."),
    ] = 64 * _KIB
    max_header_count: Annotated[
        int, About(Whole(minimum=8, maximum=10_000), "Most headers in a request.")
    ] = 100
    max_connections: Annotated[
        int,
        About(
            Whole(minimum=0, maximum=1_000_000),
            "Connections of clients, idle ones too; more get 503. Never more than open files "
            "allow; 0 is no limit.",
            needs_restart=True,
        ),
    ] = 20_000
    max_connections_per_peer: Annotated[
        int,
        About(
            Whole(minimum=0, maximum=1_000_000),
            "Connections from one address, or from one /64 network of IPv6; 0 is no limit.",
            needs_restart=True,
        ),
    ] = 0
    max_concurrent_requests: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=1_000_000),
            "Requests for models that are served at the same time; more get 503.",
        ),
    ] = 10_000
    max_control_requests: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=100_000),
            "Other requests that are served at the same time: lists, loads, who follows records; "
            "more get 503. For `/ready`, `/metrics` and `/admin` there is some room beyond.",
        ),
    ] = 500
    max_pipelined_requests: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=1000),
            "Requests of one connection that wait behind the one being answered; those beyond "
            "have to be sent again.",
        ),
    ] = 8

    header_timeout_seconds: Annotated[
        float,
        About(_DURATION, "Time that a client has to send the head of a request; 0 is no limit."),
    ] = 30.0
    body_timeout_seconds: Annotated[
        float, About(_DURATION, "Time that a client may pause within a body; 0 is no limit.")
    ] = 30.0
    keepalive_timeout_seconds: Annotated[
        float,
        About(_DURATION, "An idle connection of a client is closed after this; 0 is no limit."),
    ] = 75.0
    slow_reader_seconds: Annotated[
        float,
        About(
            _DURATION,
            "A client that takes no byte for this long, while bytes wait, is cut; 0 is no limit.",
        ),
    ] = 60.0
    connect_timeout_seconds: Annotated[
        float,
        About(
            _DURATION,
            "Time that connecting to an engine may take; 0 is no limit.",
            needs_restart=True,
        ),
    ] = 5.0
    first_byte_timeout_seconds: Annotated[
        float,
        About(_DURATION, "Time that an engine may take to begin its answer; 0 is no limit."),
    ] = 0.0
    chunk_timeout_seconds: Annotated[
        float, About(_DURATION, "Time that an engine may pause within an answer; 0 is no limit.")
    ] = 0.0
    request_timeout_seconds: Annotated[
        float,
        About(
            _DURATION, "Time that an answer may take once its request is complete; 0 is no limit."
        ),
    ] = 0.0

    log_level: Annotated[
        LogLevel,
        About(
            Choice(options=("debug", "info", "warning", "error")),
            "Least severity of gglib's own log lines.",
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        About(
            Choice(options=("console", "json")),
            "Form of gglib's own log lines.",
            needs_restart=True,
        ),
    ] = "console"
    slow_request_seconds: Annotated[
        float,
        About(_DURATION, "A request that takes longer is named in the log; 0 never does it."),
    ] = 60.0
    log_file_bytes: Annotated[
        int,
        About(
            Size(minimum=64 * _KIB, maximum=_TIB),
            "Size at which the log file of a model's engine is rotated.",
            needs_restart=True,
        ),
    ] = 10 * _MIB
    log_file_count: Annotated[
        int,
        About(
            Whole(minimum=1, maximum=1000),
            "Log files that are kept for each model.",
            needs_restart=True,
        ),
    ] = 3
    generation_retention_seconds: Annotated[
        float,
        About(
            Duration(minimum=0, maximum=_TEN_YEARS),
            "Time that the records of requests and of swaps are kept; 0 keeps them for ever.",
        ),
    ] = 7 * _DAY
    otel_enabled: Annotated[
        bool,
        About(
            Switch(),
            "Send traces of requests with OpenTelemetry; its own `OTEL_…` variables say where to. "
            "Needs `gglib[otel]`.",
            needs_restart=True,
        ),
    ] = False

    @property
    def paths(self) -> DataPaths:
        """The layout of `data_dir`."""
        return DataPaths(self.data_dir)

    @property
    def listen_address(self) -> ListenAddress:
        """What `host` and `port` say."""
        return listen_address(self.host, self.port)

    @property
    def allowance(self) -> Allowance:
        """What each caller may use whose key says nothing else."""
        return Allowance(
            requests_per_minute=self.requests_per_minute or None,
            tokens_per_minute=self.tokens_per_minute or None,
            concurrent_requests=self.concurrent_requests or None,
            budget_per_day=self.budget_per_day or None,
            budget_per_month=self.budget_per_month or None,
        )

    @property
    def effective_database_url(self) -> str:
        """`database_url`, or the SQLite file in `data_dir`."""
        return self.database_url or f"sqlite:///{self.paths.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One setting as the rest of the program asks for it."""

    kind: Kind
    meaning: str
    shown_default: str
    is_optional: bool
    """Whether it may be without a value; an empty text then means that."""
    needs_restart: bool
    """Whether a running server goes on with the value that it began with."""

    def show(self, value: object) -> str | None:
        """`value` as a person would write it, without secrets; None where there is none."""
        return None if value is None else self.kind.show(value)


@cache
def declarations() -> dict[str, Declaration]:
    """Every setting by its key, in the order of the documentation."""
    hints = get_type_hints(Settings, include_extras=True)
    return {each.name: _declare(each, hints[each.name]) for each in dataclasses.fields(Settings)}


def _declare(each: dataclasses.Field[Any], hint: Any) -> Declaration:  # noqa: ANN401 -- a type form
    about: About = hint.__metadata__[0]
    return Declaration(
        kind=about.kind,
        meaning=about.meaning,
        shown_default=about.shown_default or about.kind.show(each.default),
        is_optional=each.default is None,
        needs_restart=about.needs_restart,
    )


def contradictions(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Keys whose values do not go together with others', each with what is expected of it."""
    found: list[tuple[str, str]] = []
    if settings.max_buffered_bytes < settings.max_body_bytes:
        largest = declarations()["max_body_bytes"].show(settings.max_body_bytes)
        found.append(("max_buffered_bytes", f"at least max_body_bytes, which is {largest}"))
    if settings.tls_key is None and settings.tls_cert is not None:
        found.append(("tls_key", "a file, for tls_cert needs its key"))
    if settings.tls_cert is None and settings.tls_key is not None:
        found.append(("tls_cert", "a file, for tls_key is nothing without its certificate"))
    return tuple(found)
