"""What requests cost that many send: counted, not timed, so that the machine does not matter."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from endpoint.service import application, serving_endpoint
from miningmap import settings as config
from tests.endpoint.conftest import BELIEFS, FRESH_S, NOW
from tests.endpoint.sse_client import Listener, open_stream
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from types import FrameType

    from streams.redis.store import Store

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots")]

SHARES = "/api/v1/shares"
REQUESTS = 100
# Of this project's own functions, a tenth more than what was counted.
CALLS_PER_REQUEST = 34
CALLS_PER_EVENT = 23
PACKAGES = tuple(str(ROOT / package) for package in ("endpoint", "miningmap", "streams"))


@contextmanager
def calls() -> Iterator[list[str]]:
    """Count the calls of functions in the block, by their names."""
    counted: list[str] = []

    def note(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            counted.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


@pytest.fixture
async def http(store: Store, unused_tcp_port: int) -> AsyncIterator[ClientSession]:
    """A client of the service as it is in production."""
    settings = config.Endpoint(port=unused_tcp_port, fresh_s=FRESH_S)
    app = application(store, BELIEFS, settings, now=lambda: NOW)
    async with (
        serving_endpoint(app, settings),
        ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session,
    ):
        yield session


@pytest.mark.parametrize("is_known", [False, True], ids=["200", "304"])
async def test_a_snapshot_takes_few_calls(http: ClientSession, *, is_known: bool) -> None:
    headers = dict[str, str]()
    for _ in range(2):  # the second time it is from the cache
        async with http.get(SHARES) as answer:
            if is_known:
                headers["If-None-Match"] = answer.headers["ETag"]
    with calls() as counted:
        for _ in range(REQUESTS):
            async with http.get(SHARES, headers=headers) as answer:
                assert answer.status == (304 if is_known else 200)
                await answer.read()
    assert len(counted) / REQUESTS <= CALLS_PER_REQUEST, Counter(counted).most_common()


async def test_an_event_takes_few_calls_a_client(http: ClientSession, store: Store) -> None:
    few, many = 5, 25
    async with AsyncExitStack() as stack:
        listeners = list[Listener]()
        found = dict[int, int]()
        for number in (few, many):
            for _ in range(number - len(listeners)):
                listener = await stack.enter_async_context(open_stream(http))
                await listener.next()
                listeners.append(listener)
            await calls_of_event(store, listeners)  # what is made once
            found[number] = min([await calls_of_event(store, listeners) for _ in range(3)])
    assert (found[many] - found[few]) / (many - few) <= CALLS_PER_EVENT


async def calls_of_event(store: Store, listeners: Sequence[Listener]) -> int:
    """Count the calls until all listeners have an event."""
    with calls() as counted:
        await store.snapshots.write({"1h/country": b'{"shares":[]}'})
        await asyncio.gather(*(listener.next() for listener in listeners))
    return len(counted)
