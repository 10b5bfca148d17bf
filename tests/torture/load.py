"""The load: clients that send reports in every way there is, and note what they are told.

Every hashrate of a series is sent once, so a message can be recognised wherever it is found.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from miningmap.cbeci.contribution import PATH as ROWS_PATH
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.live_rows import PATH as LIVE_PATH
from tests.torture.system import LIVE_POOLS, ROWS_POOL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from tests.torture.history import History, Operation, Outcome
    from tests.torture.system import System

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
ATTEMPTS: Final = 3
ANSWER_S: Final = 5.0
"""How long a client waits for an answer."""
AGAIN_S: Final = 0.3
PUBLISHED_POOLS: Final = tuple(f"pub-{number:02}" for number in range(12))
PLACES: Final = ("US-TX", "CN-SC", "KZ", "CA", "RU", "US-GA")
COUNTRIES: Final = {"Norway": "NO", "Kazakhstan": "KZ", "Canada": "CA", "United States": "US"}
_OK: Final = 200
_CLIENT_ERRORS: Final = range(400, 500)


def rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Load:
    """Clients that send until they are stopped.

    Args:
        system: what they send to.
        seed: of what they send.
        per_s: how often each kind of client sends, times a second.
    """

    def __init__(self, system: System, seed: int, per_s: float = 4.0) -> None:
        self.system = system
        self.history: History = system.history
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.per_s = per_s
        # Of runs that share a system, none may send the figure of another one.
        self._figures = itertools.count(len(self.history.operations) * 10)
        self._stopped = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Send during the block; when it ends, wait until every client has its answer."""
        settings = self.system.settings()
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            Publisher(
                settings.kafka, frozenset({REPORTS, NETWORK}), timeout_s=ANSWER_S
            ) as publisher,
        ):
            self.http, self.publisher = http, publisher
            async with asyncio.TaskGroup() as tasks:
                for pool in LIVE_POOLS:
                    tasks.create_task(self._client(partial(self.live, pool)))
                tasks.create_task(self._client(self.rows))
                for number in range(2):
                    tasks.create_task(self._client(partial(self.publish, f"publish-{number}")))
                try:
                    yield self
                finally:
                    self._stopped.set()

    async def _client(self, act: Callable[[], Awaitable[object]]) -> None:
        while not self._stopped.is_set():
            await act()
            pause_s = self.random.uniform(0.5, 1.5) / self.per_s
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    # --- partners ---

    async def live(self, pool: str, number: int | None = None) -> Operation:
        """Post live rows: whole reports of the last hours, late ones and corrections too."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        number = number or self.random.randint(1, 4)
        starts = self.random.sample(range(2, 240), number)
        content = [self._row(pool, now - ago * MINUTE) for ago in starts]
        rows = [
            {name: each[name] for name in ("start", "end", "hold_s", "hashrate")}
            | {"places": [{"code": p["code"], "hashrate": p["hashrate"]} for p in each["places"]]}
            for each in content
        ]
        operation = self.history.begin(f"live of {pool}", "reports", content)
        await self._post(operation, pool, LIVE_PATH, rows)
        return operation

    def _row(self, pool: str, start: datetime) -> dict[str, Any]:
        # Less than a minute's difference in the length keeps the ends of rows apart.
        return self.report(
            pool, "partner", start, start + MINUTE, hold_s=self.random.choice((0, 60, 300))
        )

    async def rows(self) -> None:
        """Post rows of one day or hour in Cambridge's format: some new, some corrections."""
        now = datetime.now(UTC)
        daily = self.random.random() < 0.5
        start = now.replace(minute=0, second=0, microsecond=0) - self.random.randint(2, 6) * HOUR
        length = HOUR
        if daily:
            length = DAY
            start = start.replace(hour=0) - self.random.randint(2, 4) * DAY
        countries = self.random.sample(sorted(COUNTRIES), self.random.randint(1, 2))
        values = {country: 0.5 + next(self._figures) * 1e-6 for country in countries}
        content = [
            {
                "pool": ROWS_POOL,
                "start": rfc3339(start),
                "end": rfc3339(start + length),
                "code": COUNTRIES[country],
                "value": value,
            }
            for country, value in values.items()
        ]
        rows = [
            {
                "period_start_date": f"{start:%Y-%m-%d}" if daily else f"{start:%Y-%m-%dT%H}",
                "period": "daily" if daily else "hourly",
                "country": country,
                "province": None,
                "average_hashrate": value,
                "unit": "eh/s",
            }
            for country, value in values.items()
        ]
        operation = self.history.begin("rows", "rows", content)
        await self._post(operation, ROWS_POOL, ROWS_PATH, {"data": rows})

    async def _post(self, operation: Operation, pool: str, path: str, body: object) -> None:
        """Send until an answer settles it, a few times, as a partner's client does."""
        headers = {"Authorization": f"Bearer {self.system.token(pool)}"}
        for _ in range(ATTEMPTS):
            self.history.attempt(operation)
            outcome, why = await self._answer(path, body, headers)
            if outcome != "unknown":
                break
            await asyncio.sleep(AGAIN_S)
        self.history.end(operation, outcome, why)

    async def _answer(
        self, path: str, body: object, headers: dict[str, str]
    ) -> tuple[Outcome, str]:
        url = self.system.intake + path
        try:
            async with self.http.post(url, json=body, headers=headers) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return "unknown", repr(error)
        if response.status == _OK:
            return "acknowledged", ""
        refused = response.status in _CLIENT_ERRORS
        return ("refused" if refused else "unknown"), f"{response.status} {text[:500]}"

    # --- what is published ---

    async def publish(self, client: str) -> None:
        """Publish reports of every length, figures of the network, and what nobody can read."""
        content = [self._any_report() for _ in range(self.random.randint(3, 8))]
        operation = self.history.begin(client, "reports", content)
        records = [_record(each) for each in content]
        if self.random.random() < 0.1:
            poison = b'{"schema":"report/1","number":%d' % next(self._figures)
            records.append(Record(REPORTS, self.random.choice(PUBLISHED_POOLS).encode(), poison))
        self.history.attempt(operation)
        try:
            await self.publisher.publish(records)
        except BrokerError as error:
            self.history.end(operation, "unknown", str(error))
        else:
            self.history.end(operation, "acknowledged")

    def _any_report(self) -> dict[str, Any]:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        hour = now.replace(minute=0)
        pool = self.random.choice(PUBLISHED_POOLS)
        kind = self.random.choices(("minute", "hour", "day", "month", "network"), (10, 3, 2, 1, 3))[
            0
        ]
        if kind == "hour":
            start = hour - self.random.randint(2, 200) * HOUR
            return self._published(pool, "hourly", start, start + HOUR)
        if kind == "day":
            start = hour.replace(hour=0) - self.random.randint(2, 20) * DAY
            return self._published(pool, "daily", start, start + DAY)
        if kind == "month":  # long past the retention of hours
            start = hour.replace(hour=0) - self.random.randint(4, 12) * 30 * DAY
            return self._published(pool, "monthly", start, start + 30 * DAY)
        start = now - self.random.randint(10, 300) * MINUTE
        if kind == "network":
            figure = int(1e21) + next(self._figures) * 10**12
            fields: dict[str, Any] = {
                "schema": "network/1",
                "pool": None,
                "source": "published",
                "places": [],
            }
            times = {"start": rfc3339(start), "end": rfc3339(start + MINUTE), "hold_s": 600}
            fetched = rfc3339(now)
            return {
                **fields,
                **times,
                "hashrate": figure,
                "fetched_at": fetched,
                "simulated": False,
            }
        length = self.random.randint(1, 9) * MINUTE
        return self._published(
            pool, "own", start, start + length, hold_s=self.random.choice((0, 120, 900))
        )

    def _published(
        self, pool: str, source: str, start: datetime, end: datetime, hold_s: int = 0
    ) -> dict[str, Any]:
        fetched = end + timedelta(seconds=self.random.randint(0, 50))
        more = {"fetched_at": rfc3339(fetched), "simulated": False}
        blocks = {"blocks": 3} if self.random.random() < 0.1 else {}
        return self.report(pool, source, start, end, hold_s=hold_s) | more | blocks

    def report(
        self, pool: str, source: str, start: datetime, end: datetime, *, hold_s: int
    ) -> dict[str, Any]:
        """The fields of a report that its sender decides."""
        figure = int(1e18) + next(self._figures) * 10**9
        codes = self.random.sample(PLACES, self.random.randint(0, 3))
        places = [{"code": c, "hashrate": figure // 4, "kind": "measured"} for c in codes]
        return {
            "schema": "report/1",
            "pool": pool,
            "source": source,
            "start": rfc3339(start),
            "end": rfc3339(end),
            "hold_s": hold_s,
            "hashrate": figure,
            "places": places,
        }


def _record(fields: dict[str, Any]) -> Record:
    written = {name: value for name, value in fields.items() if value is not None}
    if fields["pool"] is None:
        del written["places"]
        return Record(NETWORK, b"bitcoin", json.dumps(written).encode())
    return Record(REPORTS, fields["pool"].encode(), json.dumps(written).encode())


def acknowledged(operations: Sequence[Operation]) -> int:
    """How many operations were acknowledged."""
    return sum(each.outcome == "acknowledged" for each in operations)
