"""The snapshot: the answers of every rolling window, computed from one reading of the cells."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from miningmap.times import rfc3339
from streams.method.observations import observe, spans_of
from streams.method.windows import ROLLING, parse_window
from streams.queries.history import history
from streams.queries.parameters import SharesQuery
from streams.queries.pools import PoolFacts, pool_list
from streams.queries.shares import answer, cohort_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from miningmap.api.models import Answer, History, Refusal
    from streams.method.observations import Observations
    from streams.method.placing import Beliefs, Cohort
    from streams.queries.history import HistoryQuery
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.store import Store

POOLS = "pools"
AT = "at"
REJECTED_SHOWN: Final = timedelta(days=1)
"""How long a rejected reading is shown with its pool."""


def snapshot_key(query: SharesQuery) -> str:
    """Return the name of an answer in Redis and its key in Kafka, such as ``1h/subdivision/CN``."""
    parts = (query.window.name, query.level, query.country)
    return "/".join(part for part in parts if part is not None)


async def ask(store: Store, query: SharesQuery, beliefs: Beliefs) -> Answer:
    """Answer one query from the cells in Redis."""
    cells = await store.read(spans_of([query.window]))
    cohort = cohort_for(query, *observe(cells, query.window), beliefs)
    return answer(query, cohort, (rule.id for rule in beliefs.rules))


async def ask_history(store: Store, query: HistoryQuery, beliefs: Beliefs) -> History:
    """Answer one query about a history from the cells in Redis."""
    cells = await store.read(spans_of(bucket.window for bucket in query.buckets))
    # A long history takes seconds of arithmetic, which would block the event loop.
    return await asyncio.to_thread(history, cells, query, beliefs)


class Snapshots:
    """Takes one snapshot after another; each reads and computes only what changed since the last.

    What is kept from one to the next is a cache: without it the next snapshot reads everything.
    """

    def __init__(self, store: Store, beliefs: Beliefs) -> None:
        self._store = store
        self._beliefs = beliefs
        self._cells: LoadedCells | None = None
        self._answered: dict[str, _Answered] = {}

    async def take(self, now: datetime) -> dict[str, bytes]:
        """Return the snapshot as it is stored, JSON by name.

        It has all rolling windows, by country and by the subdivisions that are listed, and the
        pools.
        """
        windows = [parse_window(name, now) for name in ROLLING]
        self._cells = await self._store.read(spans_of(windows), self._cells)
        for window in windows:
            observed = observe(self._cells, window)
            answered = self._answered.get(window.name)
            if answered is None or answered.observed != observed:
                query = SharesQuery(window=window, as_of=now)
                self._answered[window.name] = _answer(query, observed, self._beliefs)
        rejections = await self._store.rejections()
        return _encode(self._cells, self._answered, rejections, now)


async def take_snapshot(store: Store, beliefs: Beliefs, now: datetime) -> dict[str, bytes]:
    """Take one snapshot by itself."""
    return await Snapshots(store, beliefs).take(now)


@dataclass(frozen=True)
class _Answered:
    """One window's answers by their names, and what they follow from."""

    observed: Observations
    cohort: Cohort
    answers: dict[str, Answer]


def _answer(query: SharesQuery, observed: Observations, beliefs: Beliefs) -> _Answered:
    cohort = cohort_for(query, *observed, beliefs)
    rules = [rule.id for rule in beliefs.rules]
    queries = (query, *_inside(query, cohort))
    answers = {snapshot_key(q): answer(q, cohort, rules) for q in queries}
    return _Answered(observed, cohort, answers)


def _encode(
    cells: LoadedCells,
    answered: Mapping[str, _Answered],
    rejections: Mapping[str, Refusal],
    now: datetime,
) -> dict[str, bytes]:
    answers = {
        name: msgspec.json.encode(msgspec.structs.replace(answer, as_of=now))
        for window in answered.values()
        for name, answer in window.answers.items()
    }
    facts = PoolFacts(
        last={series: cells.last_report(series) for series in cells.series()},
        now=answered["now"].cohort,
        month=answered["30d"].cohort,
        seen_now=answered["now"].observed.pools,
        seen_day=answered["24h"].observed.pools,
        rejected={pool: r for pool, r in rejections.items() if now - r.at < REJECTED_SHOWN},
    )
    pools = pool_list(facts)
    return {**answers, POOLS: msgspec.json.encode(pools), AT: rfc3339(now).encode()}


def _inside(query: SharesQuery, cohort: Cohort) -> list[SharesQuery]:
    """Return the queries about every country with a subdivision that the cohort lists."""
    codes = {code for member in cohort.members for code, _ in member.places}
    countries = sorted({code.partition("-")[0] for code in codes if "-" in code})
    return [
        SharesQuery(window=query.window, as_of=query.as_of, level="subdivision", country=country)
        for country in countries
    ]
