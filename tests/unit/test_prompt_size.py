"""The size of prompts: text counts by its bytes, an image as an image, wherever it stands."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from gglib_proxy.large_body import LargeBody
from gglib_proxy.prompt_size import IMAGE_BYTES, prompt_bytes

DATA = base64.b64encode(random.Random(7).randbytes(300_000)).decode()
TEXT = "Many words that somebody has written, with blanks between them. "


def openai(data: str) -> dict[str, Any]:
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"model": "a", "messages": [{"role": "user", "content": [url]}]}


def anthropic(data: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": data}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    return {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}


def native(data: str) -> dict[str, Any]:
    return {"prompt": {"prompt_string": "<__media__> ?", "multimodal_data": [data]}}


def sound(data: str) -> dict[str, Any]:
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"messages": [{"role": "user", "content": [part]}]}


def size_of(document: object) -> tuple[int, int]:
    """What is counted of the body, and its bytes."""
    body = json.dumps(document).encode()
    counted = prompt_bytes(body)
    in_pieces = LargeBody()
    for at in range(0, len(body), 70_000):
        in_pieces.add(body[at : at + 70_000])
    assert prompt_bytes(in_pieces) == counted
    return counted, len(body)


@pytest.mark.parametrize("made", [openai, anthropic, native, sound])
@pytest.mark.parametrize("length", [16_400, 70_000, len(DATA)])
def test_an_image_counts_as_one_however_large_its_file_is(made: Any, length: int) -> None:
    counted, size = size_of(made(DATA[:length]))
    assert counted == pytest.approx(size - length + IMAGE_BYTES, abs=40)


def test_every_image_counts() -> None:
    counted, size = size_of([openai(DATA[:20_000]) for _ in range(12)])
    assert counted == pytest.approx(size - 12 * (20_000 - IMAGE_BYTES), abs=12 * 40)


def test_slashes_that_are_escaped_change_nothing() -> None:
    body = json.dumps(openai(DATA)).replace("/", "\\/").encode()
    assert prompt_bytes(body) < 5_000


@pytest.mark.parametrize(
    "document",
    [
        {"prompt": TEXT * 5_000},
        {"messages": [{"role": "user", "content": TEXT * 20}] * 400},
        {"prompt": "文字" * 40_000},
        {"prompt": list(range(100_000))},
        {"prompt": list(range(100_000)), "model": "a"},
        {"prompt": "a\nb" * 40_000 + "."},
        {"prompt": TEXT * 3_000, "note": "x" * 100},
    ],
)
def test_text_counts_by_its_bytes(document: object) -> None:
    body = json.dumps(document, ensure_ascii=False).encode()
    assert prompt_bytes(body) == len(body)


def test_a_picture_within_a_text_is_text_as_it_is_for_the_model() -> None:
    counted, size = size_of({"prompt": f"{TEXT * 300}![]({DATA[:20_000]}) {TEXT * 300}"})
    assert counted == size


def test_text_beside_an_image_counts() -> None:
    text = TEXT * 2_000
    document = [{"text": text}, openai(DATA), {"text": text}]
    counted, size = size_of(document)
    assert counted == pytest.approx(size - len(DATA) + IMAGE_BYTES, abs=40)


@pytest.mark.parametrize("size", [0, 100, 16 * 1024])
def test_a_small_body_is_not_looked_into(size: int) -> None:
    assert prompt_bytes(b"A" * size) == size


@pytest.mark.parametrize("body", [b'"' * 40_000, b"A" * 40_000, b'"' + b"A" * 40_000])
def test_what_is_no_json_is_counted_somehow(body: bytes) -> None:
    assert 0 <= prompt_bytes(body) <= len(body)
