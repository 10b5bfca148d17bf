"""The text of metrics that many scrapes share, with further text appended for each of them."""

from __future__ import annotations

import zlib
from typing import Final

# zlib's code for a gzip header and trailer around the data.
_GZIP: Final = 31


class Exposition:
    """Text that is encoded and compressed once.

    Args:
        text: complete lines.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        # A stream that ends at the end of a byte, so that a copy of its compressor can continue it:
        # the parts together are one gzip file, which every client can read.
        self._compressor = zlib.compressobj(wbits=_GZIP)
        self._zipped = self._compressor.compress(text) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def followed_by(self, more: bytes) -> bytes:
        """Return the text, and ``more`` after it."""
        return self._text + more

    def zipped_followed_by(self, more: bytes) -> bytes:
        """Return what :meth:`followed_by` returns as a gzip file."""
        compressor = self._compressor.copy()
        return self._zipped + compressor.compress(more) + compressor.flush()
