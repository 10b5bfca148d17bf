"""Which swings a request gets, and what is told of them, without a store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from miningmap.swings import PlaceStatus, PoolStatus, SwingStatus, swing_id
from streams.queries.parameters import ParameterError
from streams.queries.swing_list import (
    DEFAULT_PERIOD,
    SwingsParameters,
    pools_in,
    swing_list,
)
from tests.endpoint.swings import NOW, ago, lost, over, place_swing, pool_swing
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.swing_list import ListedSwing
    from miningmap.swings import Swing


def listed(histories: Sequence[Sequence[Swing]], **given: str) -> tuple[ListedSwing, ...]:
    return swing_list(histories, None, SwingsParameters.parse(given).query(NOW)).swings


@st.composite
def histories(draw: st.DrawFn) -> list[list[Swing]]:
    """Swings of two places and two pools that began in the last hundred days."""
    made: dict[str, list[Swing]] = {}
    for _ in range(draw(st.integers(0, 8))):
        hours = draw(st.integers(0, 2400))
        make, name = draw(
            st.sampled_from(
                [(place_swing, "US"), (place_swing, "CN"), (pool_swing, "a"), (pool_swing, "b")]
            )
        )
        begins: Swing = make(name, started=ago(hours=hours))
        end = draw(st.sampled_from([None, over, lost]))
        ended = ago(hours=draw(st.integers(0, hours)))
        made[swing_id(begins)] = [begins] if end is None else [begins, end(begins, ended)]
    return list(made.values())


@hypothesis.given(histories())
@examples(200)
def test_every_swing_is_in_one_state_and_of_one_subject(made: list[list[Swing]]) -> None:
    everything = listed(made, since="0001-01-01T00:00:00Z")
    assert len(everything) == len(made)
    since = "0001-01-01T00:00:00Z"
    for name, values in (("state", ("firing", "resolved", "lost")), ("subject", ("place", "pool"))):
        parts = [listed(made, since=since, **{name: value}) for value in values]
        assert sorted(map(swing_id, everything)) == sorted(
            swing_id(swing) for part in parts for swing in part
        )


@hypothesis.given(histories(), st.integers(0, 2400))
@examples(200)
def test_the_default_is_what_is_recent_and_all_that_fires(
    made: list[list[Swing]], hours: int
) -> None:
    since = NOW - DEFAULT_PERIOD
    expected = {
        swing_id(history[-1])
        for history in made
        if history[-1].at >= since or history[-1].state == "firing"
    }
    assert {swing_id(swing) for swing in listed(made)} == expected
    asked = listed(made, since=f"{ago(hours=hours):%Y-%m-%dT%H:%M:%SZ}")
    assert [swing_id(swing) for swing in asked] == [
        swing_id(swing)
        for swing in listed(made, since="0001-01-01T00:00:00Z")
        if swing.at >= ago(hours=hours)
    ]


@hypothesis.given(st.data(), histories())
@examples(100)
def test_the_order_is_that_of_the_newest_events_and_nothing_else(
    data: st.DataObject, made: list[list[Swing]]
) -> None:
    found = listed(made)
    assert [swing.at for swing in found] == sorted((swing.at for swing in found), reverse=True)
    assert listed(data.draw(st.permutations(made))) == found


def test_a_swing_at_the_very_start_of_the_period_is_listed() -> None:
    began = pool_swing(started=NOW - DEFAULT_PERIOD - timedelta(hours=1))
    resolved = over(began, NOW - DEFAULT_PERIOD)
    assert len(listed([[began, resolved]])) == 1
    before = over(began, NOW - DEFAULT_PERIOD - timedelta(seconds=1))
    assert listed([[began, before]]) == ()


def test_the_current_delta_is_that_of_the_pair_and_of_the_source() -> None:
    status = SwingStatus(
        ago(),
        (PlaceStatus("24h/7d", "US", -0.02), PlaceStatus("1h/24h", "US", -0.03)),
        (
            PoolStatus("24h/7d", "alpha", "alpha-api", -0.2),
            PoolStatus("24h/7d", "alpha", "other", 0.1),
        ),
    )
    query = SwingsParameters().query(NOW)
    began: list[Swing] = [place_swing(), pool_swing(), place_swing("CN")]
    found = swing_list([[each] for each in began], status, query)
    assert found.as_of == ago()
    deltas = [swing.current_delta for swing in found.swings]
    assert deltas == [None, -0.03, -0.2]  # CN is not compared
    ended = swing_list([[each, over(each, ago())] for each in began], status, query)
    assert {swing.current_delta for swing in ended.swings} == {None}


def test_the_pools_of_swings_are_those_of_all_their_events() -> None:
    place, pool = place_swing(), pool_swing("gamma")
    swings = listed([[place, lost(place, ago())], [pool, lost(pool, ago())]])
    assert pools_in(swings) == {"alpha", "beta", "gamma"}
    assert pools_in([]) == set()


def test_a_time_needs_a_zone() -> None:
    with pytest.raises(ParameterError, match="is not a time with a time zone"):
        SwingsParameters.parse({"since": "2026-11-22T00:00:00"})
    parsed = SwingsParameters.parse({"since": "2026-11-22T02:00:00+02:00"}).query(NOW)
    assert parsed.since == ago(hours=15)
    assert not parsed.with_all_firing
