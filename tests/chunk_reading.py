"""Reading what an upstream sends as its connection does: whole chunks are not fed to the reader."""

from __future__ import annotations

from gglib_proxy.http1.responses import ResponseReader


def read_on(reader: ResponseReader, data: bytes) -> bytes:
    """What of the body has come with the data; raises ResponseError like `feed`."""
    piece = reader.whole_chunk(data)
    if piece is not None:
        return piece
    reader.feed(data)
    return b"".join(reader.chunks)
