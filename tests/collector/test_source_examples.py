"""The example of a source is the inverse of its parse function."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import registry
from collector.polling.reports import parse_readings
from collector.sources.base import NetworkReading, PoolSource, Reading
from miningmap.messages import Located
from tests.collector.recordings import outcome, recorded, same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Source

TIMES = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis wants naive bounds
    lambda at: at.replace(microsecond=0)
)
# Three significant digits, from 10 PH/s to 999 EH/s: what a pool's own website shows.
HASHRATES = st.builds(
    lambda digits, power: float(f"{digits}e{power}"), st.integers(100, 999), st.integers(14, 18)
)
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize("path", registry.paths())
@given(data=st.data())
def test_parsing_an_example_gives_its_readings(path: str, data: st.DataObject) -> None:
    source = registry.load(path)
    if source.example is None:
        assert not source.default
        return
    readings = data.draw(expressible(source))
    bodies = source.example(readings, data.draw(TIMES))
    assert len(bodies) == len(source.requests)
    got = outcome(source, list(bodies))
    assert same(got, outcome(replace(source, parse=lambda _bodies: readings), []))
    assert blocks(parse_readings(source, bodies)) == blocks(readings)


@pytest.mark.parametrize("path", registry.paths())
def test_an_example_has_the_servers_time(path: str) -> None:
    source = registry.load(path)
    if source.example is None:
        return
    sample = parse_readings(source, recorded(path, "ok"))
    timeless: Sequence[Any] = [replace(reading, observed_at=None) for reading in sample]
    for before, after in zip(
        sample, parse_readings(source, source.example(timeless, NOW)), strict=True
    ):
        assert after.observed_at == (NOW if before.observed_at else None)


def expressible(source: Source) -> st.SearchStrategy[Sequence[Any]]:
    """Readings with the parts that the recorded response has: times, places, blocks."""
    first = parse_readings(source, recorded(source.path, "ok"))[0]
    times = TIMES if first.observed_at else st.none()
    if not isinstance(first, Reading):
        return st.builds(NetworkReading, HASHRATES, times).map(lambda reading: [reading])
    if isinstance(source, PoolSource) and source.pool is None:
        return by_blocks() if first.blocks else of_many_pools(times)
    if not first.places:
        pool = st.just(first.pool)
        return st.builds(Reading, pool, HASHRATES, observed_at=times).map(lambda one: [one])
    codes = [(place.code, place.kind) for place in first.places]
    return st.builds(
        lambda hashrates, at: [
            Reading(
                first.pool,
                sum(hashrates),
                tuple(Located(c, h, k) for (c, k), h in zip(codes, hashrates, strict=True)),
                at,
            )
        ],
        st.lists(HASHRATES, min_size=len(codes), max_size=len(codes)),
        times,
    )


def by_blocks() -> st.SearchStrategy[Sequence[Reading]]:
    """Pools by their parts of all blocks; the one with most blocks comes first."""
    pools = st.lists(SLUGS, min_size=1, max_size=6, unique=True)
    counted = pools.flatmap(
        lambda slugs: st.tuples(
            st.just(slugs),
            st.lists(st.integers(1, 99), min_size=len(slugs), max_size=len(slugs)),
            HASHRATES,
        )
    )
    return counted.map(lambda drawn: _shared(*drawn))


def of_many_pools(times: st.SearchStrategy[Any]) -> st.SearchStrategy[Sequence[Reading]]:
    one = st.builds(Reading, SLUGS, HASHRATES, observed_at=times)
    return st.lists(one, min_size=1, max_size=6, unique_by=lambda reading: reading.pool)


SLUGS = st.sampled_from(["antpool", "f2pool", "foundryusa", "luxor", "ocean", "viabtc"])


def _shared(pools: list[str], found: list[int], network: float) -> list[Reading]:
    ranked = zip(pools, sorted(found, reverse=True), strict=True)
    return [Reading(p, count / sum(found) * network, blocks=count) for p, count in ranked]


def blocks(readings: Sequence[object]) -> list[int | None]:
    return [reading.blocks for reading in readings if isinstance(reading, Reading)]
