"""`python -m tests.fuzz TARGET [libFuzzer's options]`: fuzz one target with atheris.

What is found goes beside the kept corpus, from which it starts; see CONTRIBUTING for `make fuzz`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gglib_proxy", "h11"]):
    from tests.fuzz.targets import TARGETS

name, *options = sys.argv[1:]
atheris.Setup([sys.argv[0], *options], TARGETS[name])
atheris.Fuzz()
