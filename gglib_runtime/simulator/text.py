"""The simulator's language: its tokens, which can be turned back, and its chat template.

A token is a piece of a word of six letters at most, with the space before it, up to three digits
with theirs, one of the template's marks, or any other single character. Its number tells what it
is, so that no vocabulary has to be kept and every number fits in 31 bits.

Not here: what answers say (`prose.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec

_LETTERS = 6
_CODES = 27**_LETTERS
_MARKS = ("<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_CHARACTERS = 0x110000
_FIRST_MARK = _CHARACTERS
_FIRST_NUMBER = _FIRST_MARK + len(_MARKS)
_FIRST_WORD = _FIRST_NUMBER + 2 * 1110
VOCABULARY = _FIRST_WORD + 4 * _CODES
"""How many tokens there are."""
_TOKEN = re.compile(
    r" ?[A-Za-z][a-z]{0,5}| ?[0-9]{1,3}|<\|(?:im_start|im_end|fim_prefix|fim_suffix|fim_middle)\|>"
    r"|.",
    re.DOTALL,
)
_WORTH_KEEPING, _TOO_MUCH_TO_KEEP = 200, 65_536
"""Between so many characters a text's number of tokens is remembered."""
_SURROGATES = range(0xD800, 0xE000)
_FIRST_OF_LENGTH = (0, 0, 10, 110)
"""Where numbers of one, two and three digits begin."""

split_tokens = _TOKEN.findall
"""The texts of a text's tokens."""


def count_tokens(text: str) -> int:
    """How many tokens `text` has."""
    if _WORTH_KEEPING < len(text) < _TOO_MUCH_TO_KEEP:
        return _counted(text)
    return len(split_tokens(text))


@lru_cache(maxsize=128)
def _counted(text: str) -> int:
    """Of texts that may come again: an agent sends all that was said with each request."""
    return len(split_tokens(text))


def tokenize(text: str) -> list[int]:
    """The tokens of `text`."""
    return [token_number(piece) for piece in split_tokens(text)]


def token_number(piece: str) -> int:
    """The number of the token that `piece` is; `piece` is one of `split_tokens`."""
    word = piece.lstrip(" ") if len(piece) > 1 else piece
    has_space = len(word) < len(piece)
    if word[0].isascii() and word[0].isalpha():
        is_capital = word[0].isupper()
        return _FIRST_WORD + (2 * is_capital + has_space) * _CODES + _word_code(word.lower())
    if word.isascii() and word.isdigit():
        return _FIRST_NUMBER + 1110 * has_space + _FIRST_OF_LENGTH[len(word)] + int(word)
    return ord(word) if len(word) == 1 else _FIRST_MARK + _MARKS.index(word)


def token_text(token: int) -> str:
    """What `token` stands for; raises LookupError where it stands for nothing."""
    if not 0 <= token < VOCABULARY or token in _SURROGATES:
        raise LookupError(token)
    if token < _FIRST_MARK:
        return chr(token)
    if token < _FIRST_NUMBER:
        return _MARKS[token - _FIRST_MARK]
    if token < _FIRST_WORD:
        return _number_text(token - _FIRST_NUMBER)
    return _word_text(token - _FIRST_WORD)


def text_of(tokens: Sequence[int]) -> str:
    """The text of the tokens; one that stands for nothing shows as its number."""
    return "".join(map(_text_or_number, tokens))


def _text_or_number(token: int) -> str:
    try:
        return token_text(token)
    except LookupError:
        return f"<{token}>"


def _word_code(letters: str) -> int:
    code = 0
    for letter in letters:
        code = code * 27 + ord(letter) - 96
    return code


def _word_text(value: int) -> str:
    flags, code = divmod(value, _CODES)
    letters: list[str] = []
    while code:
        code, letter = divmod(code, 27)
        if not letter:  # a hole: no word has a zero inside
            raise LookupError(value + _FIRST_WORD)
        letters.append(chr(letter + 96))
    if not letters:
        raise LookupError(value + _FIRST_WORD)
    word = "".join(reversed(letters))
    return (" " if flags & 1 else "") + (word.capitalize() if flags & 2 else word)


def _number_text(value: int) -> str:
    has_space, value = divmod(value, 1110)
    digits = next(length for length in (3, 2, 1) if value >= _FIRST_OF_LENGTH[length])
    return " " * has_space + f"{value - _FIRST_OF_LENGTH[digits]:0{digits}}"


# messages


def content_text(content: Any) -> str:  # noqa: ANN401
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part_text, cast("list[Any]", content)))
    return ""


def _part_text(part: Any) -> str:  # noqa: ANN401
    if not hasattr(part, "get"):
        return ""
    nested: Any = part.get("content")  # a tool's result
    return str(part.get("text", "")) + (content_text(nested) if nested else "")


def chat_prompt(messages: Sequence[dict[str, Any]], tools: Sequence[Any] = ()) -> str:
    """The messages in ChatML, after what tools there are, ready for the assistant's turn."""
    spoken = [*_listed(tools), *map(_spoken, messages)]
    turns = "".join([f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in spoken])
    return turns + "<|im_start|>assistant\n"


def count_prompt_tokens(messages: Sequence[dict[str, Any]], tools: Sequence[Any] = ()) -> int:
    """How many tokens `chat_prompt` has: no token reaches into another turn, or out of its text."""
    total = _PROMPT_END_TOKENS
    for role, text in _listed(tools):
        total += _turn_tokens(role, text)
    for message in messages:
        total += _turn_tokens(*_spoken(message))
    return total


def _turn_tokens(role: str, text: str) -> int:
    named = _ROLE_TOKENS.get(role) or count_tokens(role)
    return _MARK_TOKENS + named + count_tokens(text)


def _spoken(message: dict[str, Any]) -> tuple[str, str]:
    """Who speaks in a message, and what is said."""
    role, text = message.get("role", "user"), content_text(message.get("content"))
    if role == "tool":
        role, text = "user", f"<tool_response>\n{text}\n</tool_response>"
    calls: Any = message.get("tool_calls")
    if calls:
        text = "\n".join(filter(None, [text, *map(_call_text, calls)]))
    return role if isinstance(role, str) else str(role), text


def _call_text(call: Any) -> str:  # noqa: ANN401
    function: Any = call.get("function") or {}
    name, arguments = function.get("name", ""), function.get("arguments", "{}")
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def _listed(tools: Sequence[Any]) -> list[tuple[str, str]]:
    """The turn that says which tools there are, if there are any."""
    if not tools:
        return []
    listed = "\n".join(msgspec.json.encode(tool).decode() for tool in tools)
    text = (
        f"# Tools\n\nFunctions you may call:\n<tools>\n{listed}\n</tools>\n\n"
        'Write a call as\n<tool_call>{"name": <name>, "arguments": <json object>}</tool_call>'
    )
    return [("system", text)]


_ROLE_TOKENS = {role: count_tokens(role) for role in ("system", "user", "assistant", "developer")}
_MARK_TOKENS = count_tokens("<|im_start|>\n<|im_end|>\n")
_PROMPT_END_TOKENS = count_tokens("<|im_start|>assistant\n")
