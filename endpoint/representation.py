"""Bytes on their way out: ETag, 304 and gzip (RFC 9110), for everything that is served."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import ETag, web

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_STORE: Final = "no-store"
REVALIDATE: Final = "no-cache"
"""Kept by whoever likes, asked about each time: an unchanged body costs a 304."""

_ANY_TAG: Final = "*"
_TAG_DIGITS: Final = 32
_REFUSED: Final = re.compile(r"\s*q=0(\.0{0,3})?\s*")


def public(max_age_s: float) -> str:
    """``Cache-Control`` of what anyone may keep for so many seconds; at least one."""
    return f"public, max-age={max(1, round(max_age_s))}"


@dataclass(frozen=True)
class Representation:
    """A body that can be served to many: what is made of it is made once.

    The two codings have tags of their own, as a strong tag stands for the bytes that were sent.
    """

    body: bytes
    content_type: str
    cache_control: str

    def answer(self, request: web.Request) -> web.Response:
        """The body, gzipped if the client takes that, or 304 if it has it."""
        zipped = _takes_gzip(request.headers.get("Accept-Encoding", ""))
        tag = f"{self._digest}-gzip" if zipped else self._digest
        headers = {
            "Cache-Control": self.cache_control,
            "ETag": f'"{tag}"',
            "Vary": "Accept-Encoding",
        }
        if _is_among(tag, request.if_none_match or ()):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        headers["Content-Type"] = self.content_type
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=self._zipped if zipped else self.body, headers=headers)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:_TAG_DIGITS]

    @cached_property
    def _zipped(self) -> bytes:
        return gzip.compress(self.body, compresslevel=6, mtime=0)


def _is_among(tag: str, known: Iterable[ETag]) -> bool:
    return any(etag.value in (tag, _ANY_TAG) for etag in known)


def _takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` allows gzip: by name, else by ``*``; ``q=0`` is a no."""
    weights = {
        coding.strip().lower(): weight
        for coding, _, weight in (item.partition(";") for item in accepted.split(","))
    }
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _REFUSED.fullmatch(weight)
