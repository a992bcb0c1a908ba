"""The domain of gglib: models, admission, errors, and the ports that adapters fill.

Imports the standard library alone and performs no I/O. An event loop and a clock are known only to
the shells around the pure admission queue: `admission_desk` and `in_memory_runtime`.
"""

__version__ = "0.1.0"
