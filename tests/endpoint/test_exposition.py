"""Text that is compressed once can be continued any number of times."""

from __future__ import annotations

import gzip
import zlib

import hypothesis
from hypothesis import strategies as st

from endpoint.http.exposition import Exposition


@hypothesis.given(st.binary(max_size=200_000), st.lists(st.binary(max_size=500), max_size=3))
@hypothesis.settings(max_examples=30)
def test_each_response_is_the_text_and_what_follows_it(text: bytes, further: list[bytes]) -> None:
    exposition = Exposition(text)
    for more in further:
        assert exposition.followed_by(more) == text + more
        zipped = exposition.zipped_followed_by(more)
        assert gzip.decompress(zipped) == text + more
        # One member: some clients read no further.
        reader = zlib.decompressobj(wbits=31)
        assert reader.decompress(zipped) == text + more
        assert reader.eof
        assert reader.unused_data == b""
