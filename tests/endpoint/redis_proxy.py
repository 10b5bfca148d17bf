"""A TCP proxy between the service and its Redis, which a test can stop and start."""

from __future__ import annotations

import asyncio
import contextlib

from yarl import URL


class RedisProxy:
    """A proxy to Redis that keeps its address when it is stopped and started."""

    def __init__(self, redis_url: str) -> None:
        self._redis = URL(redis_url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return str(self._redis.with_host("127.0.0.1").with_port(self._port))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection(
            self._redis.host, self._redis.port
        )
        self._writers |= {writer, redis_writer}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, redis_writer))
            tasks.create_task(_copy(redis_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
