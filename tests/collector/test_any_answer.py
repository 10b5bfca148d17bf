"""No body, header, status or time that a server sends ends a poll of any declared source.

Examples go through the real fetcher and poller, from a server that writes its response byte by
byte: a library for servers would refuse to send most of these headers.
"""

from __future__ import annotations

import asyncio
import json
import math
from codecs import BOM_UTF8
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector import registry
from collector.http.backoff import LONGEST_S
from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller
from collector.sources.base import Rate
from collector.sources.credentials import Credentials
from miningmap import messages as wire
from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.settings import Collector
from miningmap.times import MAX_RETRY_AFTER_S
from tests.collector.recordings import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.outbox import Outgoing
    from collector.sources.base import Source

NOW: Final = datetime(2026, 11, 22, 15, tzinfo=UTC)
DEADLINE_S: Final = 5

TIMES: Final = st.sampled_from([
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999999-23:59",
    "1601-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    "2009-01-03T18:15:05Z",
    "2026-11-22T14:59:60Z",
    "2026-12-31t23:59:60z",
    "2026-11-22T14:59:00.123456789Z",
    "2026-02-30T00:00:00Z",
    "2026-11-22 14:59:00",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 0000 99:99:99 +9999",
    "Sun Nov  6 08:49:37 1994",
    "Fri, 31 Dec 9999 23:59:59 -2400",
    -62_135_596_800,
    -62_135_596_801,
    -1,
    0,
    1_795_359_600.5,
    1_795_359_600_000,
    *(1_795_359_600 * 10**power for power in (6, 9)),
    *(sign * 10**power for power in range(10, 23) for sign in (1, -1)),
    *(sign * 10.0**power for power in range(10, 23) for sign in (1, -1)),
    *(2**power for power in (31, 32, 53)),
    2**63,
    2**63 - 1,
    1e300,
])  # fmt: skip
VALUES: Final = st.one_of(
    TIMES,
    st.sampled_from(
        [
            None,
            True,
            "",
            "?",
            "-1",
            "nan",
            "inf",
            "1e999",
            -1,
            -0.0,
            1e308,
            10**400,
            "x\x00",
            "\ud800",
        ]
    ),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.builds(list),
    st.builds(dict),
)
HEADER_VALUES: Final = st.one_of(
    TIMES.map(str), st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
).map(lambda text: text.encode("latin-1", "replace"))
HEADERS: Final = st.dictionaries(
    st.sampled_from([
        b"Date", b"Last-Modified", b"Retry-After", b"ETag", b"Content-Type", b"Content-Encoding",
        b"Content-Length", b"Expires", b"Age", b"Set-Cookie", b"Location", b"Transfer-Encoding",
        b"Content-Range", b"Link", b"Connection", b"Vary",
    ]),
    HEADER_VALUES,
    max_size=3,
)  # fmt: skip
STATUSES: Final = st.sampled_from([200, 200, 200, 200, 204, 206, 301, 304, 401, 404, 429, 503, 999])
DEEP: Final = b'{"data":' + b"[" * 100_000


class Response(NamedTuple):
    """What the server writes."""

    body: bytes
    headers: dict[bytes, bytes]
    status: int = 200

    def written(self) -> bytes:
        length = (
            {}
            if b"Transfer-Encoding" in self.headers
            else {b"Content-Length": b"%d" % len(self.body)}
        )
        fields = length | self.headers
        lines = [b"HTTP/1.1 %d Said" % self.status, *map(b": ".join, fields.items())]
        return b"\r\n".join([*lines, b"Connection: close", b"", self.body])


class Poll:
    """One poll of a source after another, from one server, in an event loop of its own."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._responses: Iterator[Response] = iter(())
        self._upstream = runner.run(self._listen())

    async def _listen(self) -> str:
        server = await asyncio.start_server(self._respond, "127.0.0.1", 0)
        self._server = server
        return "http://{}:{}".format(*server.sockets[0].getsockname())

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(self._responses).written())
            await writer.drain()
        writer.close()

    def __call__(self, source: Source, responses: Sequence[Response]) -> list[Outgoing]:
        """Poll twice, the second time with what the first one cached; return what was put."""
        return self._runner.run(self._poll(source, responses))

    async def _poll(self, source: Source, responses: Sequence[Response]) -> list[Outgoing]:
        put: list[Outgoing] = []
        metrics = Metrics(CollectorRegistry())
        for series in metrics.series:
            metrics.registry.register(series)
        collector = Collector.model_validate({"upstream": self._upstream})
        fetcher = Fetcher(
            collector,
            metrics,
            credentials=credentials(source),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
            now=lambda: NOW,
        )
        async with asyncio.timeout(4 * DEADLINE_S), fetcher:
            poller = Poller(
                replace(source, rate=Rate(10_000, 1)),
                fetcher=fetcher,
                put=put.extend,
                plausibility=Plausibility(),
                metrics=metrics,
                settings=collector,
                now=lambda: NOW,
            )
            for _ in range(2):
                self._responses = iter(responses)
                pause_s = await poller.poll()
                assert 0 <= pause_s <= max(MAX_RETRY_AFTER_S, LONGEST_S)
        unexpected = {"source": source.slug, "reason": "unexpected"}
        name = "miningmap_source_request_failures_total"
        assert metrics.registry.get_sample_value(name, unexpected) is None
        return put

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


def credentials(source: Source) -> Credentials:
    """Return a value for everything that a source can need."""
    given = {one.name: SecretStr("some-secret") for one in source.credentials}
    return Credentials({source.slug: given})


@pytest.fixture(scope="module")
def poll() -> Iterator[Poll]:
    with asyncio.Runner() as runner:
        poll = Poll(runner)
        yield poll
        runner.run(poll.close())


def changed(data: st.DataObject, document: Any) -> Any:
    """Return a JSON document with one value in it replaced, left out or repeated."""
    if isinstance(document, dict) and document and data.draw(st.integers(0, 9)):
        name = data.draw(st.sampled_from(sorted(document)))
        part = changed(data, document[name])
        return {key: value for key, value in (document | {name: part}).items() if value is not ...}
    if isinstance(document, list) and document and data.draw(st.integers(0, 9)):
        number = data.draw(st.integers(0, len(document) - 1))
        part = changed(data, document[number])
        return [*document[:number], *([] if part is ... else [part]), *document[number + 1 :]]
    return data.draw(VALUES | st.just(...))


def fuzzed(data: st.DataObject, body: bytes) -> bytes:
    """Return a body that resembles a good one, or anything."""
    lines = body.splitlines()  # ckpool writes a document on each line
    number = data.draw(st.integers(0, len(lines) - 1))
    try:
        document = changed(data, json.loads(lines[number]))
    except ValueError:
        document = data.draw(VALUES)
    line = b"" if document is ... else json.dumps(document).encode()
    similar = b"\n".join([*lines[:number], line, *lines[number + 1 :]])
    return data.draw(st.sampled_from([similar, BOM_UTF8 + similar, DEEP]) | st.binary())


@pytest.mark.parametrize("path", registry.paths())
@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_nothing_that_a_server_sends_ends_a_poll(
    poll: Poll, path: str, data: st.DataObject
) -> None:
    source = registry.load(path)
    responses = [
        Response(fuzzed(data, body), data.draw(HEADERS), data.draw(STATUSES))
        for body in recorded(path, "ok")
    ]
    for item in poll(source, responses):
        if isinstance(item, DeadLetter):
            assert record_of(item).value
        else:
            assert wire.decode(wire.encode(item)) == item
            assert math.isfinite(item.hashrate)
