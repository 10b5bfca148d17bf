"""Pools: their state, the gap between reports and blocks, and rejected readings."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from miningmap.api.models import KindSplit, PoolState, Refusal
from streams.method.beliefs import Beliefs, Document, Entry
from streams.method.cells import MemoryCells, series_of
from streams.method.observations import observe
from streams.method.windows import parse_window
from streams.queries.pools import PoolFacts, pool_list
from streams.queries.shares import shares_of
from streams.redis.loaded_cells import LastReport
from streams.worker.rejections import add_rejection
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.messages import Report

EH = 1e18
HOUR = timedelta(hours=1)
NOW = NOON + timedelta(minutes=1)
REJECTED = Refusal(NOON, "api", "implausible", "too much")


def day(hashrate: float, *, source: str = "api", pool: str = "a") -> Report:
    """Every hour of the day before noon."""
    start = NOON - 24 * HOUR
    return report(pool, source=source, hashrate=hashrate, start=start, end=NOON)


def mined(hashrate: float, blocks: int, *, source: str = "chain", pool: str = "a") -> Report:
    sent = report(pool, source=source, hashrate=hashrate, hold_s=600)
    return msgspec.structs.replace(sent, basis="mined", blocks=blocks)


def listed(
    *reports: Report,
    rejected: Mapping[str, Refusal] | None = None,
    beliefs: Beliefs | None = None,
) -> dict[str, PoolState]:
    cells = MemoryCells()
    for sent in reports:
        cells.add(sent)
    known = {name: observe(cells, parse_window(name, NOW)) for name in ("now", "24h", "30d")}
    placed = {
        name: shares_of(parse_window(name, NOW), observed, beliefs or Beliefs()).placement
        for name, observed in known.items()
    }
    facts = PoolFacts(
        last={
            series_of(sent): LastReport(sent.end, sent.fetched_at, sent.simulated, sent.blocks)
            for sent in reports
        },
        now=placed["now"],
        month=placed["30d"],
        observed_now=known["now"].pools,
        observed_day=known["24h"].pools,
        observed_month=known["30d"].pools,
        rejected=rejected or {},
    )
    return {state.pool: state for state in pool_list(facts).pools}


def test_the_reported_hashrate_is_compared_with_the_blocks() -> None:
    gap = listed(day(110 * EH), mined(100 * EH, 16))["a"].gap
    assert gap is not None
    assert gap.reported == pytest.approx(110 * EH)
    assert gap.reported_by == "api"
    assert gap.mined == pytest.approx(100 * EH)
    assert (gap.mined_by, gap.blocks) == ("chain", 16)
    assert gap.ratio == pytest.approx(0.1)
    assert gap.error == 0.25


def test_the_source_with_most_blocks_is_compared() -> None:
    gap = listed(
        day(110 * EH),
        mined(90 * EH, 4),
        mined(100 * EH, 9, source="week"),
        mined(80 * EH, 9, source="xlast"),
    )["a"].gap
    assert gap is not None
    assert (gap.mined_by, gap.blocks) == ("week", 9)
    assert gap.error == pytest.approx(1 / math.sqrt(9))


def test_no_more_than_the_whole_pool_is_located() -> None:
    """The places of a message may add up to more than its total by a rounding error."""
    sent = report(hashrate=0.3, places={"US": 0.1, "CA": 0.2}, hold_s=600)
    assert listed(sent)["a"].located == 0.3


@pytest.mark.parametrize(
    "reports",
    [
        [day(110 * EH)],
        [mined(100 * EH, 16)],
        [report(hashrate=110 * EH), mined(100 * EH, 16)],  # of one minute, not half of the day
        [day(110 * EH), mined(0.0, 0)],
        [day(110 * EH), mined(100 * EH, 16, pool="b")],
    ],
)
def test_without_reports_and_blocks_there_is_no_gap(reports: list[Report]) -> None:
    assert [state.gap for state in listed(*reports).values()].count(None) == len(
        {sent.pool for sent in reports}
    )


def test_every_source_of_a_pool_is_listed_with_its_figure() -> None:
    state = listed(day(110 * EH), mined(100 * EH, 16))["a"]
    listed_sources = [(source.source, source.hashrate, source.blocks) for source in state.sources]
    assert listed_sources == [("api", None, None), ("chain", 100 * EH, 16)]
    assert (state.source, state.hashrate) == ("chain", 100 * EH)


def test_a_pool_shows_what_is_located_of_it_by_kind_and_its_total_as_reported() -> None:
    beliefs = Beliefs(
        network=[Document("n", [Entry(0, {"KZ": 1.0})])],
        pools=[Document("p", [Entry(0, {"NO": 1.0})], "a", declared=True)],
        part_of={"a": "b"},
    )
    states = listed(
        report("a", {"US": 3 * EH}, hashrate=10 * EH, hold_s=120),
        report("b", hashrate=50 * EH, hold_s=120),
        beliefs=beliefs,
    )
    assert states["a"].kinds == KindSplit(3 * EH, 7 * EH, 0, 0)
    assert (states["b"].hashrate, states["b"].located) == (50 * EH, 40 * EH)
    assert states["b"].kinds == KindSplit(0, 0, 0, 40 * EH)


def test_the_newest_rejected_reading_is_shown_with_its_pool() -> None:
    states = listed(mined(100 * EH, 16), mined(9 * EH, 1, pool="b"), rejected={"a": REJECTED})
    assert states["a"].refused == REJECTED
    assert states["a"].state == "live"
    assert states["b"].refused is None


def test_a_pool_without_any_usable_reading_is_listed_with_the_reason() -> None:
    state = listed(rejected={"a": REJECTED})["a"]
    assert (state.state, state.last_report, state.hashrate, state.sources) == (
        "off",
        None,
        None,
        (),
    )
    assert state.reason == "nothing that was said of it could be used"
    assert state.refused == REJECTED


HEADERS = {
    "reason": b"implausible",
    "error": b"too much",
    "source": b"api",
    "at": b"2026-11-22T12:00:00Z",
}


def test_a_dead_letter_becomes_the_rejection_of_its_pool() -> None:
    newest: dict[str, Refusal] = {}
    add_rejection(b"a", HEADERS.items(), newest)
    assert newest == {"a": REJECTED}


def test_the_newest_of_several_rejections_is_kept() -> None:
    newest: dict[str, Refusal] = {}
    for at, error in ((b"2026-11-22T12:00:00Z", b"new"), (b"2026-11-22T11:59:59Z", b"old")):
        add_rejection(b"a", (HEADERS | {"at": at, "error": error}).items(), newest)
    assert newest["a"].error == "new"


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, HEADERS),
        (b"Not a slug", HEADERS),
        (b"\xff", HEADERS),
        (b"a", {}),
        (b"a", HEADERS | {"at": b"yesterday"}),
    ],
)
def test_dead_letters_without_a_pool_or_a_reason_are_skipped(
    key: bytes | None, headers: dict[str, bytes]
) -> None:
    newest: dict[str, Refusal] = {}
    add_rejection(key, headers.items(), newest)
    assert newest == {}


def test_a_pool_has_the_basis_and_the_blocks_of_the_source_that_represents_it() -> None:
    (alone,) = listed(mined(100 * EH, 16)).values()
    assert (alone.source, alone.basis, alone.blocks) == ("chain", "mined", 16)
    both = listed(report("a", source="api", hold_s=600), mined(100 * EH, 16))["a"]
    assert (both.source, both.basis, both.blocks) == ("api", "reported", None)
    assert [source.basis for source in both.sources] == ["reported", "mined"]


def test_the_basis_is_that_of_the_newest_reports() -> None:
    # Its reports are hours old: they are in the day and not in the minute.
    (state,) = listed(day(110 * EH)).values()
    assert state.sources[0].basis == "reported"


def test_what_somebody_else_repeats_is_not_what_the_pool_reports() -> None:
    relayed = msgspec.structs.replace(day(110 * EH), basis="relayed")
    assert listed(relayed, mined(100 * EH, 16))["a"].gap is None
