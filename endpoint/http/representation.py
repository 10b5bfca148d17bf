"""Bodies with ETag, 304 and gzip (RFC 9110), for all responses that can be cached."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import ETag, hdrs, web
from multidict import CIMultiDict

from endpoint.http.headers import licence_link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.licences import Licence

NO_STORE: Final = "no-store"
REVALIDATE: Final = "no-cache"
"""May be cached but must be revalidated on each use, with a 304 if the body is unchanged."""

_ETAG: Final = "ETag"  # aiohttp's constant is spelled "Etag"
_ANY_TAG: Final = "*"
_TAG_DIGITS: Final = 32
_WEIGHT_ZERO: Final = re.compile(r"\s*q=0(\.0{0,3})?\s*")


def public(max_age_s: float) -> str:
    """Return the ``Cache-Control`` of a body that any cache may keep for so many whole seconds.

    With 0 it asks for each use whether the body has changed.
    """
    return f"public, max-age={max(0, int(max_age_s))}"


class _Coding(NamedTuple):
    """A body in one content coding, with the headers of a 304 and of a 200."""

    body: bytes
    tag: str
    headers_304: CIMultiDict[str]
    headers_200: CIMultiDict[str]


@dataclass(frozen=True)
class Representation:
    """A body that is served many times: its codings, tags and headers are computed once.

    Each content coding has its own ETag, because a strong ETag identifies the bytes that are sent.

    Attributes:
        body: as it is without a content coding.
        content_type: its media type.
        cache_control: how long it may be cached.
        licence: under which the figures in it may be used, if it has figures.
    """

    body: bytes
    content_type: str
    cache_control: str
    licence: Licence | None = None

    def respond(self, request: web.Request, cache_control: str | None = None) -> web.Response:
        """Return the body, gzipped if the client accepts that, or 304 if the client has it.

        Args:
            request: the request to respond to.
            cache_control: replaces :attr:`cache_control` for this response.
        """
        sent = request.headers
        coding = self._chosen(gzipped=accepts_gzip(sent.get(hdrs.ACCEPT_ENCODING, "")))
        if hdrs.IF_NONE_MATCH in sent and _matches(coding.tag, request.if_none_match or ()):
            status, body, headers = HTTPStatus.NOT_MODIFIED, None, coding.headers_304.copy()
        else:
            status, body, headers = HTTPStatus.OK, coding.body, coding.headers_200.copy()
        headers[hdrs.CACHE_CONTROL] = cache_control or self.cache_control
        return web.Response(status=status, body=body, headers=headers)

    def prepare(self, *, gzipped: bool) -> None:
        """Compute now what a response needs, which takes long for a body of megabytes."""
        self._chosen(gzipped=gzipped)

    def _chosen(self, *, gzipped: bool) -> _Coding:
        return self._gzip if gzipped else self._identity

    @cached_property
    def _identity(self) -> _Coding:
        return self._coding(self.body, self._digest)

    @cached_property
    def _gzip(self) -> _Coding:
        zipped = gzip.compress(self.body, compresslevel=6, mtime=0)
        coding = self._coding(zipped, f"{self._digest}-gzip")
        coding.headers_200[hdrs.CONTENT_ENCODING] = "gzip"
        return coding

    def _coding(self, body: bytes, tag: str) -> _Coding:
        headers_304 = CIMultiDict({_ETAG: f'"{tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING})
        if self.licence is not None:
            headers_304[hdrs.LINK] = licence_link(self.licence)
        headers_200 = headers_304.copy()
        headers_200[hdrs.CONTENT_TYPE] = self.content_type
        return _Coding(body, tag, headers_304, headers_200)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:_TAG_DIGITS]


def _matches(tag: str, known: Iterable[ETag]) -> bool:
    return any(etag.value in (tag, _ANY_TAG) for etag in known)


@lru_cache(maxsize=256)  # browsers send the same few values again and again
def accepts_gzip(accepted: str) -> bool:
    """Return whether an ``Accept-Encoding`` allows gzip: by name or else by ``*``, not ``q=0``."""
    weights = {
        coding.strip().lower(): weight
        for coding, _, weight in (item.partition(";") for item in accepted.split(","))
    }
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _WEIGHT_ZERO.fullmatch(weight)
