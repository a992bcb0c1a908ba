"""The simulator's tokens, its answers' texts and what it says of their likelihood."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_runtime.simulator.logprobs import chat_logprobs, engine_logprobs, text_logprobs
from gglib_runtime.simulator.prose import echoing_words, prose_words
from gglib_runtime.simulator.text import (
    VOCABULARY,
    chat_prompt,
    count_prompt_tokens,
    count_tokens,
    split_tokens,
    text_of,
    token_text,
    tokenize,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(TEXTS)
def test_tokens_turn_back_into_the_text(text: str) -> None:
    tokens = tokenize(text)
    assert "".join(map(token_text, tokens)) == text
    assert len(tokens) == count_tokens(text)
    assert all(0 <= token < VOCABULARY < 2**31 for token in tokens)


TURNS = st.fixed_dictionaries(
    {"role": TEXTS | st.sampled_from(["user", "system", "tool"]), "content": TEXTS | st.none()},
    optional={"tool_calls": st.just([{"function": {"name": "look", "arguments": '{"at": 1}'}}])},
)


@given(st.lists(TURNS, max_size=4), st.sampled_from([[], [{"type": "function"}]]))
def test_a_chat_has_the_tokens_of_its_prompt(turns: list[dict[str, str]], tools: list[str]) -> None:
    assert count_prompt_tokens(turns, tools) == count_tokens(chat_prompt(turns, tools))


def test_long_texts_that_come_again_are_counted_alike() -> None:
    text = "word <|im_end|> " * 50
    assert [count_tokens(text) for _ in range(2)] == [len(split_tokens(text))] * 2


@given(st.integers(0, VOCABULARY - 1))
def test_a_number_stands_for_one_token(token: int) -> None:
    try:
        text = token_text(token)
    except LookupError:
        return
    # A letter or a digit is a word or a number, too, which is what `tokenize` calls it.
    [found] = tokenize(text)
    assert found == token or (len(text) == 1 and text.isalnum() and token == ord(text))


@pytest.mark.parametrize("token", [-1, VOCABULARY, 0xD800, 2**31])
def test_other_numbers_stand_for_nothing(token: int) -> None:
    with pytest.raises(LookupError):
        token_text(token)
    assert text_of([token]) == f"<{token}>"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hello there", ["hello", " there"]),
        ("Understanding", ["Unders", "tandin", "g"]),
        ("in 2024, 15%", ["in", " 202", "4", ",", " 15", "%"]),
        ("<|im_start|>user", ["<|im_start|>", "user"]),
        ("é", ["é"]),
    ],
)
def test_what_is_a_token(text: str, pieces: list[str]) -> None:
    assert split_tokens(text) == pieces


@given(TEXTS, st.integers(1, 700))
def test_answers_have_as_many_tokens_as_they_should(asked: str, count: int) -> None:
    for words in (
        echoing_words("alpha", asked, count),
        prose_words(asked, count, "seed", is_ended=False),
    ):
        assert len(words) == count
        assert count_tokens("".join(words)) == count


def test_the_seed_chooses_the_sentences() -> None:
    texts = {
        "".join(prose_words("a question", 60, str(seed), is_ended=False)) for seed in range(20)
    }
    assert len(texts) > 10
    assert all(text.startswith("You asked: “a question”.") for text in texts)


def test_a_long_question_is_quoted_in_short() -> None:
    text = "".join(prose_words("word " * 500, 200, "seed", is_ended=False))
    assert text.startswith("You asked: “" + "word " * 11 + "word …”.")


@given(TEXTS, st.integers(0, 20))
def test_likelihoods_are_shares_of_one(text: str, most: int) -> None:
    words = split_tokens(text)
    entries = chat_logprobs(words, 0, most)
    assert [entry["token"] for entry in entries] == words
    for entry in entries:
        shares = [math.exp(other["logprob"]) for other in entry["top_logprobs"]]
        assert len(shares) == most
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1
        assert entry["logprob"] < 0
    assert [entry["id"] for entry in engine_logprobs(words, 0, most)] == tokenize(text)
    lists = text_logprobs(words, 0, most, 5)
    assert lists["text_offset"] == [5 + len("".join(words[:n])) for n in range(len(words))]
    assert lists["tokens"] == words


def test_a_token_is_as_likely_in_a_stream_as_in_the_whole() -> None:
    words = ["one", " two", " three"]
    whole = chat_logprobs(words, 0, 3)
    assert [chat_logprobs([word], at, 3)[0] for at, word in enumerate(words)] == whole


def test_calls_and_results_are_part_of_the_prompt() -> None:
    function = {"name": "get", "arguments": '{"a":1}'}
    prompt = chat_prompt(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
            {"role": "tool", "content": "42"},
        ],
        [{"type": "function"}],
    )
    assert '<tools>\n{"type":"function"}\n</tools>' in prompt
    assert '<tool_call>{"name": "get", "arguments": {"a":1}}</tool_call>' in prompt
    assert "<tool_response>\n42\n</tool_response>" in prompt
    assert prompt.endswith("<|im_start|>assistant\n")
