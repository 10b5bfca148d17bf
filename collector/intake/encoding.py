"""Compressed bodies: they are decompressed once their sender is known, and no further than allowed.

aiohttp would decompress a body as it arrives, for anybody, in the event loop.
"""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs

from collector.intake.refusals import RefusedError, too_large, unreadable
from miningmap.rows import MAX_BODY

_GZIP: Final = 31  # zlib's names of the formats
_ZLIB: Final = 15
_RAW: Final = -15
_CODINGS: Final = {"": None, "identity": None, "gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
_EXPECTED: Final = "gzip, deflate, identity"
# A gzip file can have several members. Each takes time, however short it is.
_MOST_MEMBERS: Final = 16
_DEFLATED: Final = 8  # the lower half of the first byte of zlib's format


def coding_of(header: str) -> int | None:
    """Return how a body is compressed, by its ``Content-Encoding``; ``None`` if it is not.

    Raises:
        RefusedError: the coding is none that is understood (415).
    """
    coding = header.strip().lower()
    if coding not in _CODINGS:
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding should be one of {_EXPECTED}",
            {hdrs.ACCEPT_ENCODING: _EXPECTED},
        )
    return _CODINGS[coding]


def decoded(body: bytes, coding: int | None) -> bytes:
    """Return the content of a body.

    Args:
        body: as it was sent.
        coding: of :func:`coding_of`.

    Raises:
        RefusedError: the content is larger than any body may be (413), or damaged (400).
    """
    if coding is None or not body:
        return body
    if coding == _ZLIB and body[0] & 0xF != _DEFLATED:
        coding = _RAW  # "deflate" means zlib's format, but many send the stream without its head
    content = b""
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(coding)
        try:
            content += member.decompress(body, MAX_BODY + 1 - len(content))
        except zlib.error:
            raise unreadable("it cannot be decompressed") from None
        if len(content) > MAX_BODY:
            raise too_large()
        if not member.eof:
            raise unreadable("its compressed data is cut off")
        body = member.unused_data
        if not body:
            return content
    raise unreadable("it has too many compressed parts")
