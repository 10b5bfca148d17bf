"""A client of ``/api/v1/stream`` that parses server-sent events, as a browser's EventSource."""

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


class Block(NamedTuple):
    """One block of the stream: an event, a comment or a retry time. Missing fields are empty."""

    event: str
    id: str
    data: bytes
    comment: str
    retry: str

    @property
    def position(self) -> EventId:
        """The event's position in the log."""
        return EventId.parse(self.id)


class Listener:
    """Reads a response block by block."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def block(self) -> Block:
        """Return the next block; EOFError at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_S):
            while (line := await self.response.content.readline()) not in {b"\n", b"\r\n"}:
                if not line:
                    raise EOFError
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                fields[name] = value.removeprefix(" ")
        get = fields.get
        data = get("data", "").encode()
        return Block(get("event", ""), get("id", ""), data, get("", ""), get("retry", ""))

    async def next(self) -> Block:
        """Return the next event, and skip comments and retry times."""
        while not (block := await self.block()).event:
            pass
        return block

    async def take(self, number: int) -> list[Block]:
        """Return the next events."""
        return [await self.next() for _ in range(number)]


@contextlib.asynccontextmanager
async def open_stream(
    client: TestClient[web.Request, web.Application] | ClientSession,
    *,
    last: str | None = None,
    headers: dict[str, str] | None = None,
    **query: str,
) -> AsyncIterator[Listener]:
    """Connect to the stream, optionally after an event."""
    position = {} if last is None else {"Last-Event-ID": last}
    async with client.get(STREAM, params=query, headers=position | (headers or {})) as response:
        assert response.status == 200, await response.text()
        yield Listener(response)
