"""Writes the lists of docs/strictness.md: `python -m tests.http1_corpus.reference`."""

from __future__ import annotations

from collections import defaultdict

from tests.http1_corpus import CASES
from tests.http1_corpus.nginx import DIFFERENCES, NGINX_VERSION
from tests.http1_corpus.responses import RESPONSES, Fate


def refusals() -> str:
    """What is refused, by status."""
    names: defaultdict[int, list[str]] = defaultdict(list)
    for case in CASES:
        if case.status is not None:
            names[case.status].append(case.name)
    return "\n".join(
        f"- **{status}** ({len(each)}): {'; '.join(each)}."
        for status, each in sorted(names.items())
    )


def broken_responses() -> str:
    """What no engine may answer."""
    names = [case.name for case in RESPONSES if case.fate is Fate.BROKEN]
    return f"- **502**, or a cut ({len(names)}): {'; '.join(names)}."


def nginx_differences() -> str:
    """Where nginx does otherwise, and why."""
    lines = [f"- {why} ({len(names)})" for why, names in DIFFERENCES.items()]
    return "\n".join([f"Of {len(CASES)} requests, nginx {NGINX_VERSION}:", "", *lines])


if __name__ == "__main__":
    print(refusals(), broken_responses(), nginx_differences(), sep="\n\n")  # noqa: T201
