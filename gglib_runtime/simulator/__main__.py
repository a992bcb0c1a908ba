"""Runs the simulator: `python -m gglib_runtime.simulator -m FILE --port N …`."""

from __future__ import annotations

import os
import sys

from gglib_runtime.simulator.process import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))
