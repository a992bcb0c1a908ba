"""What a GGUF header says about its model, in gglib's words, and what the model can do.

Not here: reading the file (`header`), and the catalog that keeps the facts.
"""

from __future__ import annotations

from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_runtime.gguf.header import GgufHeader
from gglib_runtime.gguf.layout import FILE_TYPES, GUESSED_FILE_TYPE, POOLING_TYPES
from gglib_runtime.gguf.metadata import CHAT_TEMPLATE_KEY

MAX_TEXT_LENGTH = 200
"""Of a name or licence; the rest is cut off."""

ENCODERS = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures that llama.cpp computes without a causal mask, whatever the file says."""

_EMBEDDING_POOLING = ("mean", "cls", "last")


def facts(header: GgufHeader) -> GgufFacts:
    """Translate the header; GgufError if it does not name an architecture."""
    architecture = header.text("general.architecture")
    if not architecture or architecture != _short(architecture):
        raise GgufError(header.path, "does not name an architecture that can be read")
    pooling = header.integer(f"{architecture}.pooling_type")
    return GgufFacts(
        architecture=architecture,
        name=_short(header.text("general.name")),
        parameters=header.parameters or None,
        quantisation=quantisation(header),
        context_length=_size(header, f"{architecture}.context_length"),
        embedding_length=_size(header, f"{architecture}.embedding_length"),
        pooling=None if pooling is None else POOLING_TYPES.get(pooling),
        is_causal=_is_causal(header, architecture),
        chat_template=_template(header),
        layers=_size(header, f"{architecture}.block_count"),
        licence=_short(header.text("general.license")),
    )


def default_capabilities(facts: GgufFacts) -> frozenset[Capability]:
    """What a model of these facts can be asked for, unless its owner says otherwise."""
    if facts.pooling == "rank":
        return frozenset({Capability.RERANK})
    can: set[Capability] = set()
    if facts.is_causal:
        can.add(Capability.CHAT)
    if not facts.is_causal or facts.pooling in _EMBEDDING_POOLING:
        can.add(Capability.EMBEDDINGS)
    return frozenset(can)


def quantisation(header: GgufHeader) -> str | None:
    """The file type's name, else the type that most weights have."""
    file_type = header.file_type
    if file_type is not None:
        named = FILE_TYPES.get(file_type & ~GUESSED_FILE_TYPE)
        if named is not None:
            return named
    types = header.tensor_types
    return max(types, key=lambda name: types[name]) if types else None


def _is_causal(header: GgufHeader, architecture: str) -> bool:
    if architecture in ENCODERS:
        return False
    return header.metadata.get(f"{architecture}.attention.causal") is not False


def _size(header: GgufHeader, key: str) -> int | None:
    value = header.integer(key)
    return value if value is not None and 0 < value < 1 << 32 else None


def _short(text: str | None) -> str | None:
    """One line without control characters, which would reach terminals and logs."""
    line = " ".join((text or "").split())[:MAX_TEXT_LENGTH]
    return "".join(c if c.isprintable() else "\ufffd" for c in line) or None


def _template(header: GgufHeader) -> str | None:
    template = header.text(CHAT_TEMPLATE_KEY)
    # PostgreSQL keeps no NUL in a text.
    return template.replace("\0", "\ufffd") if template else None
