"""The domain of gglib: models, admission, errors, and the ports that adapters fill.

Imports the standard library alone, performs no I/O, and reads no clock.
"""

__version__ = "0.1.0"
