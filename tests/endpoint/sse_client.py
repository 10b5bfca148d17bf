"""A client of ``/api/v1/stream``, as a browser's EventSource is one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

from streams.redis.event_log import EventId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, ClientSession, web
    from aiohttp.test_utils import TestClient

STREAM = "/api/v1/stream"
DEADLINE_S = 10.0


class Told(NamedTuple):
    """One block of the stream; empty where it lacks a field."""

    event: str
    id: str
    data: bytes
    comment: str
    retry: str


class Listener:
    """Reads an answer block by block."""

    def __init__(self, answer: ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> Told:
        """The next block; EOFError at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_S):
            while (line := await self.answer.content.readline()) not in {b"\n", b"\r\n"}:
                if not line:
                    raise EOFError
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                fields[name] = value.removeprefix(" ")
        get = fields.get
        data = get("data", "").encode()
        return Told(get("event", ""), get("id", ""), data, get("", ""), get("retry", ""))

    async def next(self) -> Told:
        """The next event; what is no event is passed over."""
        while not (told := await self.block()).event:
            pass
        return told

    async def take(self, number: int) -> list[Told]:
        """So many events."""
        return [await self.next() for _ in range(number)]


@contextlib.asynccontextmanager
async def listening(
    client: TestClient[web.Request, web.Application] | ClientSession,
    *,
    last: str | None = None,
    **query: str,
) -> AsyncIterator[Listener]:
    """Listen by a client of aiohttp's, after an event or from now on."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with client.get(STREAM, params=query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        yield Listener(answer)


def place(told: Told) -> EventId:
    """Where in the log an event stands."""
    return EventId.parse(told.id)
