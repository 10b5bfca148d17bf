"""Several endpoint processes on one port give the same responses."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from launch.local.embedded import free_port
from launch.local.supervisor import bound_to_this_process
from miningmap.messages import Located
from miningmap.times import add_months
from streams.method.cells import claims_of
from tests.endpoint.conftest import EH, report
from tests.endpoint.sse_client import open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.redis.store import Store

pytestmark = pytest.mark.integration

DEADLINE_S = 30.0
ENDS_WITHIN_S = 5.0
STOPS_WITHIN_S = 10.0  # docs/operating.md
REQUESTS = 24


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def client(port: int) -> AsyncIterator[ClientSession]:
    """A client with a new connection per request, for which the system chooses a process."""
    connector = TCPConnector(force_close=True, limit=0)
    async with ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
        yield session


@pytest.fixture
async def processes(redis_url: str, port: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Two endpoint processes that listen on the port."""
    env = {
        "PATH": os.environ["PATH"],
        "MININGMAP_REDIS__URL": redis_url,
        "MININGMAP_ENDPOINT__PORT": str(port),
        "MININGMAP_ENDPOINT__REUSE_PORT": "true",
    }
    command = bound_to_this_process([sys.executable, "-m", "launch", "endpoint"])
    started = [
        await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            for process in started:
                assert process.stderr is not None
                line = b""
                while b"listening" not in line:
                    line = await process.stderr.readline()
                    assert line, "it ended"
        yield started
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_two_processes_share_a_port_and_give_the_same_responses(
    client: ClientSession,
    processes: list[asyncio.subprocess.Process],
    snapshots: dict[str, bytes],
) -> None:
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(open_stream(client)) for _ in range(REQUESTS)]
        received = [await listener.next() for listener in listeners]
        assert {event.data for event in received} == {snapshots["1h/country"]}
        assert len({event.id for event in received}) == 1

        # Each process counts only its own clients.
        async with client.get("/metrics") as answer:
            text = await answer.text()
        (count,) = re.findall(r"^miningmap_stream_clients (\S+)$", text, re.MULTILINE)
        assert 0 < float(count) < REQUESTS

        answers = set()
        for _ in range(REQUESTS):
            async with client.get("/api/v1/shares") as answer:
                answers.add((answer.status, answer.headers["ETag"], await answer.read()))
        assert len(answers) == 1

        # When the processes stop, they end all streams at once and completely.
        for process in processes:
            process.terminate()
        async with asyncio.timeout(ENDS_WITHIN_S):
            for listener in listeners:
                with pytest.raises(EOFError):
                    await listener.next()
            assert [await process.wait() for process in processes] == [0, 0]


async def test_a_process_stops_while_heavy_questions_are_computed(
    client: ClientSession, processes: list[asyncio.subprocess.Process], store: Store
) -> None:
    """Their arithmetic takes much longer than a process may take to stop."""
    await write_years(store)
    queries = [
        {"code": "US", "step": "day", "from": f"2024-03-{day:02}", "to": "2026-11-20"}
        for day in range(1, 11)
    ]
    asking = [asyncio.create_task(status_of(client, query)) for query in queries]
    async with asyncio.timeout(2 * DEADLINE_S):
        while not await is_busy(client):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)
        for process in processes:
            process.terminate()
        started = perf_counter()
        assert [await process.wait() for process in processes] == [0, 0]
    assert perf_counter() - started < STOPS_WITHIN_S
    assert set(await asyncio.gather(*asking)) <= {200, 503, None}


async def status_of(client: ClientSession, query: dict[str, str]) -> int | None:
    try:
        async with client.get("/api/v1/history", params=query) as answer:
            await answer.read()
            return answer.status
    except ClientError:  # the process had ended
        return None


async def is_busy(client: ClientSession) -> bool:
    async with client.get("/metrics") as answer:
        text = await answer.text()
    (count,) = re.findall(r"^miningmap_heavy_questions (\S+)$", text, re.MULTILINE)
    return float(count) > 1


async def write_years(store: Store) -> None:
    """Write reports of each month of three years, from pools with miners in many places."""
    codes = ("US-TX", "US-GA", "CN-SC", "CN-XJ", "KZ", "RU", "CA", "DE", "NO", "PY")
    places = tuple(Located(code, 10 * EH, "measured") for code in codes)
    for number in range(36):
        start = add_months(datetime(2023, 11, 1, tzinfo=UTC), number)
        end = add_months(start, 1)
        sent = [report(f"pool-{n}", start, end, 110 * EH, places) for n in range(20)]
        await store.writer.write([(message, claims_of(message)) for message in sent])
