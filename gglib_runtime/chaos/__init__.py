"""The fault matrix against somebody's own configuration: what `gglib chaos` does.

Each experiment starts a `gglib serve` of its own, with the user's settings, a data directory that
is thrown away, and simulated engines; makes one fault; and says whether gglib kept the promise that
docs/reliability.md makes for it. Nothing that runs is touched.
"""
