"""The snapshot: every rolling window's answers, made in one go from one reading of the cells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from miningmap.times import rfc3339
from streams.answers import Answer, answer, cohort_for
from streams.history import history
from streams.observe import observe, spans_of
from streams.pools import pool_list
from streams.questions import Question
from streams.windows import ROLLING, parse_window

if TYPE_CHECKING:
    from datetime import datetime

    from streams.history import History, HistoryQuestion
    from streams.shares import Beliefs, Cohort
    from streams.store import Sheet, Store

POOLS = "pools"
AT = "at"


def snapshot_key(question: Question) -> str:
    """``1h/country``, ``1h/subdivision/CN``: the snapshot's name in Redis, its key in Kafka."""
    parts = (question.window.name, question.level, question.country)
    return "/".join(part for part in parts if part is not None)


async def ask(store: Store, question: Question, beliefs: Beliefs) -> Answer:
    """Answer one question from the cells that are kept."""
    sheet = await store.read(spans_of([question.window]))
    cohort = cohort_for(question, *observe(sheet, question.window), beliefs)
    return answer(question, cohort, (rule.id for rule in beliefs.rules))


async def ask_history(store: Store, question: HistoryQuestion, beliefs: Beliefs) -> History:
    """Answer one question about a history from the cells that are kept."""
    sheet = await store.read(spans_of(bucket.window for bucket in question.buckets))
    # Seconds of arithmetic for a long one, so not on the event loop.
    return await asyncio.to_thread(history, sheet, question, beliefs)


async def take_snapshot(store: Store, beliefs: Beliefs, now: datetime) -> dict[str, bytes]:
    """All rolling windows by country and by the subdivisions that are listed, and the pools."""
    windows = [parse_window(name, now) for name in ROLLING]
    sheet = await store.read(spans_of(windows))
    return compose(sheet, beliefs, now)


def compose(sheet: Sheet, beliefs: Beliefs, now: datetime) -> dict[str, bytes]:
    """The snapshot as it is stored: JSON by name. Pure."""
    rules = [rule.id for rule in beliefs.rules]
    cohorts: dict[str, Cohort] = {}
    made: dict[str, bytes] = {}
    for name in ROLLING:
        question = Question(window=parse_window(name, now), as_of=now)
        cohort = cohort_for(question, *observe(sheet, question.window), beliefs)
        cohorts[name] = cohort
        for asked in (question, *_inside(question, cohort)):
            made[snapshot_key(asked)] = msgspec.json.encode(answer(asked, cohort, rules))
    last = {series: sheet.last_report(series) for series in sheet.series()}
    made[POOLS] = msgspec.json.encode(pool_list(last, cohorts["now"], cohorts["30d"]))
    made[AT] = rfc3339(now).encode()
    return made


def _inside(question: Question, cohort: Cohort) -> list[Question]:
    """The questions about every country of which the cohort lists a subdivision."""
    codes = {code for member in cohort.members for code, _ in member.places}
    countries = sorted({code.partition("-")[0] for code in codes if "-" in code})
    return [
        Question(window=question.window, as_of=question.as_of, level="subdivision", country=country)
        for country in countries
    ]
