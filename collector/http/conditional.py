"""Conditional requests: what a server need not send again, because it is remembered here.

Only answers that came with a validator (RFC 9110: ``ETag``, ``Last-Modified``) are remembered, and
of those no more than fit: what was not asked for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.sources.base import Request

MAX_BYTES: Final = 16 << 20
"""Of all bodies together; one is 1 MiB at most."""

_CONDITIONS: Final = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}

_Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


class Answer(NamedTuple):
    """A body, and the headers that ask whether it still is the answer; none if that cannot be."""

    body: bytes
    conditions: Mapping[str, str]

    @classmethod
    def made_of(cls, body: bytes, headers: Mapping[str, str]) -> Self:
        """The answer that came with these headers."""
        conditions = {
            condition: headers[validator]
            for validator, condition in _CONDITIONS.items()
            # Others' bytes come back in a header of ours: nothing that could not be sent.
            if (said := headers.get(validator, "")) and said.isascii() and said.isprintable()
        }
        return cls(body, conditions)


class Answers:
    """The last answer to each request, if it is one that a server can be asked about."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._answers: OrderedDict[_Key, Answer] = OrderedDict()

    def of(self, request: Request) -> Answer | None:
        """What is remembered of the last answer."""
        return self._answers.get(_key(request))

    def keep(self, request: Request, answer: Answer) -> None:
        """Remember an answer in place of the last one; the newest stay."""
        key = _key(request)
        self._forget(key)
        if answer.conditions:
            self._answers[key] = answer
            self._size += len(answer.body)
        while self._size > self._max_bytes:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: _Key) -> None:
        if forgotten := self._answers.pop(key, None):
            self._size -= len(forgotten.body)


def _key(request: Request) -> _Key:
    return request.url, frozenset(request.headers.items())
