"""Bodies with ETag, 304 and gzip (RFC 9110), for all responses that can be cached."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http import HTTPStatus
from time import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDict

from endpoint.http.headers import add_common, licence_link
from endpoint.http.prepared import Message, PreparedResponse, takes_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.licences import Licence

NO_STORE: Final = "no-store"
REVALIDATE: Final = "no-cache"
"""May be cached but must be revalidated on each use, with a 304 if the body is unchanged."""

_ETAG: Final = "ETag"  # aiohttp's constant is spelled "Etag"
_ANY_TAG: Final = "*"
_TAG_DIGITS: Final = 32
_NO_HEADERS: Final = MappingProxyType[str, str]({})
_WEIGHT_ZERO: Final = re.compile(r"\s*q=0(\.0{0,3})?\s*")


def public(max_age_s: float) -> str:
    """Return the ``Cache-Control`` of a body that any cache may keep for so many whole seconds.

    With 0 it asks for each use whether the body has changed.
    """
    return f"public, max-age={max(0, int(max_age_s))}"


class _Prepared(NamedTuple):
    """A response, and the second and the ``Cache-Control`` that it was made for."""

    at_s: int
    cache_control: str
    response: PreparedResponse


class _Answer(NamedTuple):
    """What a client is answered that has the body already, or that has not."""

    status: HTTPStatus
    headers: CIMultiDict[str]
    body: bytes | None


class _Coding:
    """A body in one content coding, with the answers of a 304 and of a 200."""

    def __init__(
        self,
        body: bytes,
        tag: str,
        headers_304: CIMultiDict[str],
        headers_200: CIMultiDict[str],
    ) -> None:
        self.tag = tag
        self.quoted_tag = headers_304[_ETAG]  # what nearly every client sends
        self._if_new = _Answer(HTTPStatus.OK, headers_200, body)
        self._if_known = _Answer(HTTPStatus.NOT_MODIFIED, headers_304, None)
        self._prepared: dict[bool, _Prepared] = {}

    def answer(self, *, is_known: bool) -> _Answer:
        """Return the answer for a client that has the body already, or that has not."""
        return self._if_known if is_known else self._if_new

    def prepared(self, cache_control: str, *, is_known: bool) -> PreparedResponse:
        """Return the response with an answer, which is made once a second."""
        at_s = int(time())
        kept = self._prepared.get(is_known)
        if kept is None or kept.at_s != at_s or kept.cache_control != cache_control:
            status, headers, body = self.answer(is_known=is_known)
            headers = headers.copy()
            headers[hdrs.CACHE_CONTROL] = cache_control
            add_common(headers)
            response = PreparedResponse(Message.of(status, headers, body, at_s))
            kept = self._prepared[is_known] = _Prepared(at_s, cache_control, response)
        return kept.response


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
        coding = self._chosen_by(request)
        status, headers, body = coding.answer(is_known=_is_known(request, coding))
        response = web.Response(status=status, body=body, headers=headers)
        response.headers[hdrs.CACHE_CONTROL] = cache_control or self.cache_control
        return response

    def respond_prepared(self, request: web.Request, cache_control: str) -> web.Response:
        """Return what :meth:`respond` returns, from bytes that are kept for the next one.

        For bodies that are asked for many times a second. Nothing can be added to the response.
        """
        if not takes_messages(request):
            return self.respond(request, cache_control)
        coding = self._chosen_by(request)
        return coding.prepared(cache_control, is_known=_is_known(request, coding))

    def prepare(self, *, gzipped: bool) -> None:
        """Compute now what a response needs, which takes long for a body of megabytes."""
        _ = self._gzip if gzipped else self._identity

    def _chosen_by(self, request: web.Request) -> _Coding:
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "")
        return self._gzip if accepts_gzip(accepted) else self._identity

    @cached_property
    def _identity(self) -> _Coding:
        return self._coding(self.body, self._digest)

    @cached_property
    def _gzip(self) -> _Coding:
        zipped = gzip.compress(self.body, compresslevel=6, mtime=0)
        return self._coding(zipped, f"{self._digest}-gzip", {hdrs.CONTENT_ENCODING: "gzip"})

    def _coding(self, body: bytes, tag: str, more: Mapping[str, str] = _NO_HEADERS) -> _Coding:
        headers_304 = CIMultiDict({_ETAG: f'"{tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING})
        if self.licence is not None:
            headers_304[hdrs.LINK] = licence_link(self.licence)
        headers_200 = headers_304.copy()
        headers_200[hdrs.CONTENT_TYPE] = self.content_type
        headers_200.update(more)
        return _Coding(body, tag, headers_304, headers_200)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:_TAG_DIGITS]


def _is_known(request: web.Request, coding: _Coding) -> bool:
    """Return whether the client has the body already."""
    known = request.headers.get(hdrs.IF_NONE_MATCH)
    return known is not None and (known == coding.quoted_tag or _is_among(request, coding.tag))


def _is_among(request: web.Request, tag: str) -> bool:
    return any(etag.value in (tag, _ANY_TAG) for etag in request.if_none_match or ())


@lru_cache(maxsize=256)  # browsers send the same few values again and again
def accepts_gzip(accepted: str) -> bool:
    """Return whether an ``Accept-Encoding`` allows gzip: by name or else by ``*``, not ``q=0``."""
    weights = {
        coding.strip().lower(): weight
        for coding, _, weight in (item.partition(";") for item in accepted.split(","))
    }
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _WEIGHT_ZERO.fullmatch(weight)
