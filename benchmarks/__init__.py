"""Measurements of gglib on this machine: `python -m benchmarks`, or `make bench`."""
