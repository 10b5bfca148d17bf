"""Conditional requests: a server does not have to send an unchanged response again.

Only responses with a validator (RFC 9110: ``ETag``, ``Last-Modified``) are cached, up to a total
size; beyond it the least recently stored ones are evicted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.sources.base import Request

MAX_BYTES: Final = 16 << 20
"""The total size of all cached bodies; a single one is at most 1 MiB."""

_CONDITIONS: Final = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}

_Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


class CachedResponse(NamedTuple):
    """A response body, and the request headers that ask whether it is still current.

    ``conditions`` is empty if the response has no validator.
    """

    body: bytes
    conditions: Mapping[str, str]

    @classmethod
    def of(cls, body: bytes, headers: Mapping[str, str]) -> Self:
        """Return the cached form of a response with these headers."""
        conditions = {
            condition: headers[validator]
            for validator, condition in _CONDITIONS.items()
            # The server's bytes become a header of the next request, so they have to be sendable.
            if (value := headers.get(validator, "")) and value.isascii() and value.isprintable()
        }
        return cls(body, conditions)


class ResponseCache:
    """The last response to each request, if it has a validator."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._responses: OrderedDict[_Key, CachedResponse] = OrderedDict()

    def get(self, request: Request) -> CachedResponse | None:
        """Return the cached response to a request."""
        return self._responses.get(_key(request))

    def store(self, request: Request, response: CachedResponse) -> None:
        """Cache a response in place of the last one, and evict the oldest ones above the limit."""
        key = _key(request)
        self._evict(key)
        if response.conditions:
            self._responses[key] = response
            self._size += len(response.body)
        while self._size > self._max_bytes:
            self._evict(next(iter(self._responses)))

    def _evict(self, key: _Key) -> None:
        if evicted := self._responses.pop(key, None):
            self._size -= len(evicted.body)


def _key(request: Request) -> _Key:
    return request.url, frozenset(request.headers.items())
