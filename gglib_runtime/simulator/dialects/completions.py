"""Chat completions: llama-server's, and OpenAI's own, which differ in what surrounds the text."""

from __future__ import annotations

from typing import Any

from gglib_runtime.simulator.failing import ErrorStyle, failure_object
from gglib_runtime.simulator.generation import (
    BUILD,
    Choice,
    Generation,
    data_event,
    error_body,
    json_bytes,
)
from gglib_runtime.simulator.logprobs import chat_logprobs, engine_logprobs

DONE = b"data: [DONE]\n\n"
JsonObject = dict[str, Any]
_NOTHING_MORE: JsonObject = {"refusal": None, "annotations": []}
_PROMPT_DETAILS = {"cached_tokens": 0, "audio_tokens": 0}
_ANSWER_DETAILS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}


class ChatCompletion:
    """POST /v1/chat/completions as llama-server answers it; fills `Dialect`.

    `logprobs` is how many alternatives are shown for each token, or None for no likelihoods.
    """

    __slots__ = ("_generation", "_includes_usage", "_logprobs", "_plain")

    def __init__(
        self,
        generation: Generation,
        *,
        includes_usage: bool = False,
        logprobs: int | None = None,
    ) -> None:
        self._generation = generation
        self._includes_usage = includes_usage
        self._logprobs = logprobs
        self._plain: list[tuple[bytes, bytes]] = []
        """For each choice what surrounds a piece of its text in a stream, if that is all."""

    # a whole answer

    def whole(self) -> bytes:
        generation = self._generation
        choices = [self._whole_choice(*each) for each in enumerate(generation.choices)]
        return json_bytes(
            {
                "choices": choices,
                "created": generation.created,
                "model": generation.model,
                "system_fingerprint": BUILD,
                "object": "chat.completion",
                "usage": generation.usage(),
                "id": generation.id,
                "timings": generation.timings(),
            }
        )

    def _whole_choice(self, index: int, choice: Choice) -> JsonObject:
        found = {"finish_reason": choice.finish, "index": index, "message": self._message(choice)}
        if self._logprobs is None:
            return found
        return found | {"logprobs": {"content": self._entries(choice.words, 0)}}

    def _message(self, choice: Choice) -> JsonObject:
        message: JsonObject = {"role": "assistant", "content": choice.text}
        if not choice.calls:
            return message
        calls = [
            {
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                "id": call.id,
            }
            for call in choice.calls
        ]
        return message | {"content": choice.text or None, "tool_calls": calls}

    # a stream

    def opening(self) -> bytes:
        return self._opening_of(0)

    @property
    def _choice_count(self) -> int:
        return len(self._generation.choices)

    def _opening_of(self, index: int) -> bytes:
        delta: JsonObject = {"role": "assistant", "content": None}
        return data_event(self._chunk([self._piece_choice(index, delta)]))

    def _surroundings(self, index: int) -> tuple[bytes, bytes]:
        frame = self._chunk([self._piece_choice(index, {"content": 0})])
        before, _, after = data_event(frame).partition(b'"content":0')
        return before + b'"content":', after

    def piece(self, index: int) -> bytes:
        choices = self._generation.choices
        if len(choices) == 1:
            return self._event(0, choices[0], index)
        found = [
            (self._opening_of(number) if index == 0 and number else b"")
            + self._event(number, choice, index)
            for number, choice in enumerate(choices)
            if index < choice.count
        ]
        return b"".join(found)

    def _event(self, number: int, choice: Choice, step: int) -> bytes:
        if step >= len(choice.words):
            return data_event(self._chunk([self._piece_choice(number, self._call(choice, step))]))
        word = choice.words[step]
        if self._logprobs is None:
            if not self._plain:
                self._plain = [self._surroundings(index) for index in range(self._choice_count)]
            before, after = self._plain[number]
            return b"%b%b%b" % (before, json_bytes(word), after)
        entry = self._piece_choice(number, {"content": word})
        likely = {"logprobs": {"content": self._entries([word], step)}}
        return data_event(self._chunk([entry | likely]))

    def _call(self, choice: Choice, step: int) -> JsonObject:
        """The piece of a call; the first one says what is called."""
        index, call, piece = choice.call_at(step)
        arguments = {"arguments": call.pieces[piece]}
        if piece:
            return {"tool_calls": [{"index": index, "function": arguments}]}
        function = {"name": call.name} | arguments
        start = {"index": index, "id": call.id, "type": "function", "function": function}
        return {"tool_calls": [start]}

    def closing(self) -> list[bytes]:
        last = [self._final(number) for number in range(self._choice_count)]
        return [*last, DONE]

    def _final(self, number: int) -> bytes:
        generation = self._generation
        finish = generation.choices[number].finish
        chunk = self._chunk([{"finish_reason": finish, "index": number, "delta": {}}])
        timings = generation.timings()
        if not self._includes_usage:
            return data_event(chunk | {"timings": timings})
        usage = self._chunk([]) | {"usage": generation.usage(), "timings": timings}
        return data_event(chunk) + data_event(usage)

    def error(self, status: int, message: str) -> bytes:
        return data_event(error_body(status, message))

    # parts

    def _entries(self, words: list[str], start: int) -> list[JsonObject]:
        return engine_logprobs(words, start, self._logprobs or 0)

    def _piece_choice(self, index: int, delta: JsonObject) -> JsonObject:
        return {"finish_reason": None, "index": index, "delta": delta}

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        return {
            "choices": choices,
            "created": self._generation.created,
            "id": self._generation.id,
            "model": self._generation.model,
            "system_fingerprint": BUILD,
            "object": "chat.completion.chunk",
        }


class HostedChatCompletion(ChatCompletion):
    """The same as OpenAI answers it."""

    __slots__ = ()

    def whole(self) -> bytes:
        generation = self._generation
        choices = [self._whole_choice(*each) for each in enumerate(generation.choices)]
        return json_bytes(
            {
                "id": generation.id,
                "object": "chat.completion",
                "created": generation.created,
                "model": generation.model,
                "choices": choices,
                "usage": hosted_usage(generation),
                "service_tier": "default",
                "system_fingerprint": "fp_simulator",
            }
        )

    def _whole_choice(self, index: int, choice: Choice) -> JsonObject:
        entries = None if self._logprobs is None else self._entries(choice.words, 0)
        return {
            "index": index,
            "message": self._message(choice),
            "logprobs": None if entries is None else {"content": entries, "refusal": None},
            "finish_reason": choice.finish,
        }

    def _message(self, choice: Choice) -> JsonObject:
        if choice.calls:
            return super()._message(choice) | _NOTHING_MORE
        return {"role": "assistant", "content": choice.text} | _NOTHING_MORE

    def _opening_of(self, index: int) -> bytes:
        calls = bool(self._generation.choices[index].calls)
        delta = {"role": "assistant", "content": None if calls else "", "refusal": None}
        return data_event(self._chunk([self._piece_choice(index, delta)]))

    def _final(self, number: int) -> bytes:
        finish = self._generation.choices[number].finish
        choice = self._piece_choice(number, {}) | {"finish_reason": finish}
        return data_event(self._chunk([choice]))

    def closing(self) -> list[bytes]:
        *last, done = super().closing()
        if not self._includes_usage:
            return [*last, done]
        usage = self._chunk([]) | {"usage": hosted_usage(self._generation)}
        return [*last, data_event(usage), done]

    def error(self, status: int, message: str) -> bytes:
        return data_event(failure_object(ErrorStyle.OPENAI, status, message))

    def _entries(self, words: list[str], start: int) -> list[JsonObject]:
        return chat_logprobs(words, start, self._logprobs or 0)

    def _piece_choice(self, index: int, delta: JsonObject) -> JsonObject:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        chunk: JsonObject = {
            "id": self._generation.id,
            "object": "chat.completion.chunk",
            "created": self._generation.created,
            "model": self._generation.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
            "choices": choices,
        }
        return chunk | {"usage": None} if self._includes_usage else chunk


def hosted_usage(generation: Generation) -> JsonObject:
    """OpenAI's account: the tokens of all answers."""
    count = sum([choice.count for choice in generation.choices])
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": count,
        "total_tokens": generation.prompt_tokens + count,
        "prompt_tokens_details": _PROMPT_DETAILS,
        "completion_tokens_details": _ANSWER_DETAILS,
    }
