"""Bytes on their way out: ETag, 304 and gzip (RFC 9110), for everything that is served."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import ETag, hdrs, web
from multidict import CIMultiDict

from endpoint.http.headers import COMMON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_STORE: Final = "no-store"
REVALIDATE: Final = "no-cache"
"""Kept by whoever likes, asked about each time: an unchanged body costs a 304."""

_ANY_TAG: Final = "*"
_TAG_DIGITS: Final = 32
_REFUSED: Final = re.compile(r"\s*q=0(\.0{0,3})?\s*")


def public(max_age_s: float) -> str:
    """``Cache-Control`` of what anyone may keep for so many seconds; at least one."""
    return f"public, max-age={max(1, int(max_age_s))}"


@dataclass(frozen=True)
class Representation:
    """A body that can be served to many: what is made of it is made once.

    The two codings have tags of their own, as a strong tag stands for the bytes that were sent.
    """

    body: bytes
    content_type: str
    cache_control: str

    def answer(self, request: web.Request, cache_control: str | None = None) -> web.Response:
        """The body, gzipped if the client takes that, or 304 if it has it.

        Args:
            request: what is answered.
            cache_control: of this answer, where it is not the same at all times.
        """
        asked = request.headers
        coding = self._zipped if _takes_gzip(asked.get(hdrs.ACCEPT_ENCODING, "")) else self._plain
        if hdrs.IF_NONE_MATCH in asked and _is_among(coding.tag, request.if_none_match or ()):
            status, body, headers = HTTPStatus.NOT_MODIFIED, None, coding.kept.copy()
        else:
            status, body, headers = HTTPStatus.OK, coding.body, coding.headers.copy()
        headers[hdrs.CACHE_CONTROL] = cache_control or self.cache_control
        return web.Response(status=status, body=body, headers=headers)

    @cached_property
    def _plain(self) -> _Coding:
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: self.content_type}
        return _Coding(self.body, self._digest, headers)

    @cached_property
    def _zipped(self) -> _Coding:
        zipped = gzip.compress(self.body, compresslevel=6, mtime=0)
        headers: dict[str, str] = {
            hdrs.CONTENT_TYPE: self.content_type,
            hdrs.CONTENT_ENCODING: "gzip",
        }
        return _Coding(zipped, f"{self._digest}-gzip", headers)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:_TAG_DIGITS]


class _Coding:
    """A body as it is sent, and the headers that go with it: all of them, so none is added later.

    Args:
        body: as it is sent.
        tag: that stands for these bytes.
        described: the headers that say what they are.
    """

    def __init__(self, body: bytes, tag: str, described: Mapping[str, str]) -> None:
        self.body = body
        self.tag = tag
        self.kept = CIMultiDict(COMMON)
        """The headers of a 304."""
        self.kept.update({"ETag": f'"{tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING})
        self.headers = self.kept.copy()
        self.headers.update(described)


def _is_among(tag: str, known: Iterable[ETag]) -> bool:
    return any(etag.value in (tag, _ANY_TAG) for etag in known)


@lru_cache(maxsize=256)  # browsers send the same few over and over
def _takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` allows gzip: by name, else by ``*``; ``q=0`` is a no."""
    weights = {
        coding.strip().lower(): weight
        for coding, _, weight in (item.partition(";") for item in accepted.split(","))
    }
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _REFUSED.fullmatch(weight)
