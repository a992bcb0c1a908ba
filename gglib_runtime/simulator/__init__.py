"""A stand-in for llama-server: its flags, its wire, its log lines, no model.

It answers in well-formed nonsense that names the model, as fast or as slowly as it is told, and has
every fault that a supervisor or a proxy must survive. Tests and benchmarks run it where a real
engine would be slow, large, or too well-behaved. Run it as `python -m gglib_runtime.simulator`
with llama-server's flags; `behaviour.py` documents what its environment configures.

Wire and log lines follow llama.cpp 0.6 as measured on a real server; what 0.5 does otherwise when
it is told to stop is there too (`stop_with_requests`). Nothing here imports the rest of gglib.
"""
