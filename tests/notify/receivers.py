"""A receiver of webhooks that answers as a test says: somebody else's server, over real HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

WITHIN_S = 60.0


class Request(NamedTuple):
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Answer(NamedTuple):
    """An answer; ``release`` holds it back until it is set."""

    status: int = 200
    headers: Mapping[str, str] = {}
    release: asyncio.Event | None = None


class Webhook:
    """Answers with the next of ``answers``, and with 200 when there is none left."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.server: TestServer
        self._arrived = asyncio.Condition()

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook/t0ken"))

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    async def received(self, number: int) -> None:
        """Wait until there were so many requests."""
        async with asyncio.timeout(WITHIN_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= number)

    async def start(self, port: int | None = None) -> None:
        app = web.Application()
        app.router.add_post("/hook/t0ken", self._handle)
        self.server = TestServer(app, port=port)
        await self.server.start_server()

    async def stop(self) -> int:
        """Stop, and return the port on which it can be started again."""
        port = self.server.port
        assert port is not None
        await self.server.close()
        return port

    async def _handle(self, request: web.Request) -> web.Response:
        answer = self.answers.pop(0) if self.answers else Answer()
        async with self._arrived:
            self.requests.append(Request(request.headers, await request.read()))
            self._arrived.notify_all()
        if answer.release is not None:
            await answer.release.wait()
        return web.Response(status=answer.status, headers=dict(answer.headers))


@asynccontextmanager
async def receiving() -> AsyncIterator[Webhook]:
    webhook = Webhook()
    await webhook.start()
    try:
        yield webhook
    finally:
        await webhook.server.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - what it looks at sets no event
            await asyncio.sleep(0.01)
