"""The simulator keeps the last responses, and no more."""

from __future__ import annotations

from gglib_runtime.simulator.stored_responses import StoredResponse, StoredResponses


def test_the_oldest_is_forgotten() -> None:
    stored = StoredResponses(most=2)
    responses = {name: StoredResponse(turns=[], body=bytes) for name in "abc"}
    for name, response in responses.items():
        stored.put(name, response)
    assert stored.get("a") is None
    assert stored.get("b") is responses["b"]
    assert stored.remove("b")
    assert not stored.remove("b")
    assert stored.get("c") is responses["c"]
