"""The snapshot: every rolling window's answers, made in one go from one reading of the cells."""

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
    from streams.method.observations import Known
    from streams.method.shares import Beliefs, Cohort
    from streams.queries.history import HistoryQuery
    from streams.redis.store import Sheet, Store

POOLS = "pools"
AT = "at"
REFUSED_SHOWN: Final = timedelta(days=1)
"""A reading that was refused is shown beside its pool for so long."""


def snapshot_key(question: SharesQuery) -> str:
    """``1h/country``, ``1h/subdivision/CN``: the snapshot's name in Redis, its key in Kafka."""
    parts = (question.window.name, question.level, question.country)
    return "/".join(part for part in parts if part is not None)


async def ask(store: Store, question: SharesQuery, beliefs: Beliefs) -> Answer:
    """Answer one question from the cells that are kept."""
    sheet = await store.read(spans_of([question.window]))
    cohort = cohort_for(question, *observe(sheet, question.window), beliefs)
    return answer(question, cohort, (rule.id for rule in beliefs.rules))


async def ask_history(store: Store, question: HistoryQuery, beliefs: Beliefs) -> History:
    """Answer one question about a history from the cells that are kept."""
    sheet = await store.read(spans_of(bucket.window for bucket in question.buckets))
    # Seconds of arithmetic for a long one, so not on the event loop.
    return await asyncio.to_thread(history, sheet, question, beliefs)


class Snapshots:
    """Snapshots one after the other: each reads, and computes, what changed since the last.

    What is remembered can be lost at any time: the next snapshot then begins from nothing.
    """

    def __init__(self, store: Store, beliefs: Beliefs) -> None:
        self._store = store
        self._beliefs = beliefs
        self._sheet: Sheet | None = None
        self._answered: dict[str, _Answered] = {}

    async def take(self, now: datetime) -> dict[str, bytes]:
        """The snapshot as it is stored, JSON by name.

        All rolling windows by country and by the subdivisions that are listed, and the pools.
        """
        windows = [parse_window(name, now) for name in ROLLING]
        self._sheet = await self._store.read(spans_of(windows), self._sheet)
        for window in windows:
            known = observe(self._sheet, window)
            answered = self._answered.get(window.name)
            if answered is None or answered.known != known:
                question = SharesQuery(window=window, as_of=now)
                self._answered[window.name] = _answer(question, known, self._beliefs)
        refused = await self._store.refused()
        return _encode(self._sheet, self._answered, refused, now)


async def take_snapshot(store: Store, beliefs: Beliefs, now: datetime) -> dict[str, bytes]:
    """One snapshot by itself."""
    return await Snapshots(store, beliefs).take(now)


@dataclass(frozen=True)
class _Answered:
    """One window's answers by their names, and what they follow from."""

    known: Known
    cohort: Cohort
    answers: dict[str, Answer]


def _answer(question: SharesQuery, known: Known, beliefs: Beliefs) -> _Answered:
    cohort = cohort_for(question, *known, beliefs)
    rules = [rule.id for rule in beliefs.rules]
    asked = (question, *_inside(question, cohort))
    return _Answered(known, cohort, {snapshot_key(q): answer(q, cohort, rules) for q in asked})


def _encode(
    sheet: Sheet,
    answered: Mapping[str, _Answered],
    refused: Mapping[str, Refusal],
    now: datetime,
) -> dict[str, bytes]:
    made = {
        name: msgspec.json.encode(msgspec.structs.replace(said, as_of=now))
        for window in answered.values()
        for name, said in window.answers.items()
    }
    facts = PoolFacts(
        last={series: sheet.last_report(series) for series in sheet.series()},
        now=answered["now"].cohort,
        month=answered["30d"].cohort,
        seen_now=answered["now"].known[0],
        seen_day=answered["24h"].known[0],
        refused={pool: r for pool, r in refused.items() if now - r.at < REFUSED_SHOWN},
    )
    pools = pool_list(facts)
    return {**made, POOLS: msgspec.json.encode(pools), AT: rfc3339(now).encode()}


def _inside(question: SharesQuery, cohort: Cohort) -> list[SharesQuery]:
    """The questions about every country of which the cohort lists a subdivision."""
    codes = {code for member in cohort.members for code, _ in member.places}
    countries = sorted({code.partition("-")[0] for code in codes if "-" in code})
    return [
        SharesQuery(
            window=question.window, as_of=question.as_of, level="subdivision", country=country
        )
        for country in countries
    ]
