"""A stand-in for llama-server: its flags, its wire, its log lines, no model.

It answers in well-formed nonsense, as fast or as slowly as it is told, and has every fault that a
client, a proxy or a supervisor must survive. It stands in for llama-server behind a supervisor
(`python -m gglib_runtime.simulator` with its flags, or as the engine of a catalog entry), or alone
as an endpoint with hosted APIs (`gglib simulate`). `behaviour.py` documents what it can be told.

As an engine, wire and log lines follow llama.cpp 0.6 as measured on a real server; what 0.5 does
otherwise when it is told to stop is there too (`stop_with_requests`). HTTP itself, its limits and
TLS are the data plane's, of which alone anything here is imported.
"""
