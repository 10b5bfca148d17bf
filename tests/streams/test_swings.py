"""Swings: what is compared, when a swing fires, resolves and is lost, and what its events say."""

from __future__ import annotations

import functools
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from miningmap import settings as config
from miningmap.swings import PlaceSwing, PoolPart, PoolSwing
from miningmap.times import MINUTE_S, bucket_start
from streams.method.beliefs import Beliefs, Document, Entry, Rule, normalised
from streams.method.cells import MemoryCells
from streams.method.comparison import (
    PAIRS,
    WORLD,
    Comparison,
    Comparisons,
    Deltas,
    Level,
    PlaceMove,
    PoolMove,
    Side,
    Subject,
)
from streams.method.placing import PlacedPool
from streams.method.swings import (
    Detector,
    Firing,
    SwingSettings,
    Track,
    driver_of,
    sigma_of,
    status_of,
    step,
)
from streams.method.tables import Rows
from streams.queries.swings import LiveDetector, detect, minutes_between, swing_settings
from tests.examples import examples
from tests.streams import golden, worlds
from tests.streams.fixtures import NOON, member, network, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from miningmap.messages import Basis, Kind
    from miningmap.swings import Swing
    from streams.method.cells import Cell, Places, Series
    from streams.method.windows import Span
    from streams.queries.swings import Evaluation

DAY_PAIR, WEEK_PAIR = PAIRS
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HALF_HOUR = HOUR / 2
NEAR = 1e-9

Hashrates = dict[str, float]

# --- the pools of a day and of its last hour ------------------------------------------------------


def pool(
    cells: MemoryCells,
    name: str,
    long: Hashrates,
    short: Hashrates,
    *,
    unlocated: tuple[float, float] = (0, 0),
    source: str = "own",
    kind: Kind = "measured",
    basis: Basis = "reported",
) -> None:
    """Reports of the day before noon whose means are ``long``, and ``short`` in its last hour."""
    codes = long | short
    earlier = {code: (24 * long.get(code, 0) - short.get(code, 0)) / 23 for code in codes}
    rest = (24 * unlocated[0] - unlocated[1]) / 23
    for hour in range(24):
        places, more = (earlier, rest) if hour else (short, unlocated[1])
        for half in (HALF_HOUR, 2 * HALF_HOUR):
            start = NOON - hour * HOUR - half
            add(cells, name, start, places, sum(places.values()) + more, source, kind, basis)


def add(
    cells: MemoryCells,
    name: str,
    start: datetime,
    places: Hashrates,
    hashrate: float,
    source: str = "own",
    kind: Kind = "measured",
    basis: Basis = "reported",
) -> None:
    """A report of half an hour."""
    cells.add(
        report(
            name,
            places,
            hashrate=hashrate,
            source=source,
            start=start,
            end=start + HALF_HOUR,
            kind=kind,
            basis=basis,
        )
    )


def halves(
    cells: MemoryCells, name: str, hashrates: Mapping[range, Hashrates], total: float = 0
) -> None:
    """Reports of the half hours before noon (negative) and after it."""
    for numbers, places in hashrates.items():
        for n in numbers:
            add(cells, name, NOON + n * HALF_HOUR, places, sum(places.values()) + total)


def network_prior(**weights: float) -> Document:
    return Document("network/first", [Entry(0, normalised(weights))])


def compared(cells: MemoryCells, beliefs: Beliefs | None = None) -> Comparison:
    return Comparisons(cells, beliefs or Beliefs()).at(NOON, DAY_PAIR)


def countries(cells: MemoryCells, beliefs: Beliefs | None = None) -> Hashrates:
    return compared(cells, beliefs).deltas.places.get(WORLD, {})


def curtailed() -> MemoryCells:
    """Texas lost 10 of the 100 that two pools had."""
    cells = MemoryCells()
    pool(cells, "a", {"US": 40, "KZ": 10}, {"US": 30, "KZ": 10})
    pool(cells, "b", {"RU": 50}, {"RU": 50})
    cells.add(network(1000, start=NOON - 24 * HOUR, end=NOON))
    return cells


def test_deltas_are_of_shares_over_the_same_pools() -> None:
    assert countries(curtailed()) == pytest.approx(
        {"US": 30 / 90 - 0.4, "KZ": 10 / 90 - 0.1, "RU": 50 / 90 - 0.5}
    )


def test_a_move_says_who_made_it_and_whether_the_place_itself_moved() -> None:
    level = compared(curtailed()).at("US")
    fallen, risen = level.move("US"), level.move("KZ")
    assert [fallen.short, fallen.long] == pytest.approx([30 / 90, 0.4])
    assert fallen.own == pytest.approx(30 / 90 - 0.4)
    assert [c.pool for c in fallen.contributions] == ["a", "b"]
    assert [c.delta for c in fallen.contributions] == pytest.approx([30 / 90 - 0.4, 0])
    assert fallen.kinds.measured == pytest.approx(30)
    assert risen.own == pytest.approx(0, abs=1e-12)  # its own hashrate is what it was
    assert driver(fallen) == "own"
    assert driver(risen) == "others"


def driver(move: PlaceMove) -> str:
    return driver_of(move.short - move.long, move.own, move.with_rest)


@pytest.mark.parametrize(
    ("delta", "own", "with_rest", "driver"),
    [
        (-0.02, -0.01, -0.02, "own"),
        (-0.02, -0.0099, -0.02, "others"),
        (-0.02, 0.03, -0.02, "others"),
        (-0.02, -0.02, -0.01, "own"),
        (-0.02, -0.02, -0.0099, "others"),
        (0.0, 0.0, 0.0, "others"),
    ],
)
def test_a_place_is_the_driver_if_it_explains_half_of_the_delta(
    delta: float, own: float, with_rest: float, driver: str
) -> None:
    assert driver_of(delta, own, with_rest) == driver


def test_what_others_lost_too_is_no_move_of_the_places_that_are_known() -> None:
    """The network's prior places in both windows what nobody located, which falls all the same."""
    believed = Beliefs(network=[network_prior(US=1, KZ=1)])

    def fallen(located: float, unlocated: float) -> PlaceMove:
        cells = MemoryCells()
        halves(cells, "a", {range(-48, -2): {"US": 40}})
        halves(cells, "a", {range(-2, 0): {"US": located}})
        halves(cells, "b", {range(-48, -2): {}}, 60)
        halves(cells, "b", {range(-2, 0): {}}, unlocated)
        return compared(cells, believed).at("US").move("US")

    assert fallen(20, 60).with_rest == pytest.approx(fallen(20, 60).short - fallen(20, 60).long)
    assert driver(fallen(20, 60)) == "own"
    alike = fallen(20, 30)
    assert alike.own == pytest.approx(alike.short - alike.long)
    assert alike.short - alike.long < -0.1
    assert alike.with_rest == pytest.approx(0, abs=1e-12)
    assert driver(alike) == "others"


def test_the_own_delta_of_a_place_that_lost_everything_is_its_share() -> None:
    """Without any other hashrate before, nothing would be located: its share counts as 0."""
    now, before = (Side({"a": {(code, "measured"): 8.0}}, 8, 8) for code in ("KZ", "US"))
    assert Level(now, before, simulated=False).move("US").own == -1
    beside = Side({"a": {("US", "measured"): 2.0, ("KZ", "measured"): 6.0}}, 8, 8)
    assert Level(now, beside, simulated=False).move("US").own == -0.25


@pytest.mark.parametrize("now", [1e-300, 1.0, 1e4, 1e19])
def test_the_only_place_that_is_known_has_all_however_little_is_left(now: float) -> None:
    short, long = (
        Side({"a": {("US", "measured"): hashrate}}, hashrate, hashrate) for hashrate in (now, 1e20)
    )
    assert Level(short, long, simulated=False).own("US") == 0


def test_a_pool_that_had_next_to_nothing_has_a_finite_delta() -> None:
    cells = MemoryCells()
    halves(cells, "a", {range(-48, 0): {"US": 1e-300}, range(2): {"US": 1e24}})
    found = Comparisons(cells, Beliefs()).at(NOON + 59 * MINUTE, DAY_PAIR)
    delta = found.deltas.pools["a"]["own"]
    assert 1e100 < delta < math.inf


def test_a_place_in_one_window_has_0_in_the_other_and_others_are_no_places() -> None:
    cells = MemoryCells()
    pool(cells, "a", {"US": 8, "OTHER": 2}, {"US": 5, "OTHER": 5})
    pool(cells, "b", {"CN-OTHER": 8, "CN-SC": 2}, {"CN-OTHER": 10})
    found = compared(cells).deltas.places
    assert found[WORLD].keys() == {"US", "CN"}
    assert found["CN"] == {"CN-SC": pytest.approx(-2 / 20)}


def test_what_only_the_network_prior_places_does_not_swing() -> None:
    cells = MemoryCells()
    pool(cells, "a", {}, {}, unlocated=(40, 10))
    pool(cells, "b", {}, {}, unlocated=(60, 60))
    found = compared(cells, Beliefs(network=[network_prior(US=3, RU=1)]))
    assert found.deltas.places[WORLD] == pytest.approx({"US": 0, "RU": 0})
    assert found.deltas.pools == {"a": {"own": pytest.approx(-0.75)}, "b": {"own": 0}}
    assert found.pools["a"].places() == []


def test_a_pool_with_places_moves_them_on_the_rest_that_nobody_located() -> None:
    """The prior fills up what a lacks of 75 in US and 25 in RU: all 60 of b, 35 and 25."""
    cells = MemoryCells()
    pool(cells, "a", {"US": 40}, {"US": 20})
    pool(cells, "b", {}, {}, unlocated=(60, 30))
    found = countries(cells, Beliefs(network=[network_prior(US=3, RU=1)]))
    assert found == pytest.approx({"US": 55 / 80 - 75 / 100, "RU": 25 / 80 - 25 / 100})


def test_a_pool_that_declares_its_places_moves_them_with_its_total() -> None:
    cells = MemoryCells()
    pool(cells, "a", {}, {}, unlocated=(40, 20))
    pool(cells, "b", {"RU": 60}, {"RU": 60})
    own = Document("pools/a", [Entry(0, {"US": 0.75, "CA": 0.25})], pool="a", declared=True)
    found = compared(cells, Beliefs(pools=[own]))
    assert found.deltas.places[WORLD] == pytest.approx(
        {"US": 15 / 80 - 0.3, "CA": 5 / 80 - 0.1, "RU": 60 / 80 - 0.6}
    )
    assert found.deltas.places.keys() == {WORLD}  # a total does not tell which state fell
    assert found.pools["a"].places() == [("US", "declared", 0.75), ("CA", "declared", 0.25)]


def test_the_parts_of_a_pool_are_listed_by_size_then_code_then_kind() -> None:
    """What its reports, its profile and its own distributions locate, in the long window."""
    cells = MemoryCells()
    located = {"US": 10.0, "US-TX": 10.0, "RU": 20.0, "KZ": 0.0}
    pool(cells, "a", located, located, unlocated=(60, 60), kind="estimated")
    weights = {"US": 0.2, "US-TX": 0.2, "RU": 0.2, "CA": 0.4}
    own = Document("pools/a", [Entry(0, weights)], pool="a")
    parts = compared(cells, Beliefs(pools=[own])).pools["a"].places()
    assert [(part.code, part.kind) for part in parts] == [
        ("CA", "prior"),
        ("RU", "estimated"),
        *(("US", "estimated"), ("US", "prior")),
        *(("US-TX", "estimated"), ("US-TX", "prior")),
    ]
    assert [part.part for part in parts] == pytest.approx([0.4, 0.2, 0.1, 0.1, 0.1, 0.1])


def test_both_windows_are_placed_by_the_beliefs_of_the_long_windows_day() -> None:
    midnight = NOON.replace(hour=0)
    cells = MemoryCells()
    for half in range(-48, 2):
        add(cells, "a", midnight + half * HALF_HOUR, {}, 10)
    day = int(midnight.timestamp()) // 86_400
    changed = Document("pools/a", [Entry(0, {"US": 1.0}), Entry(day, {"RU": 1.0})], pool="a")
    comparisons = Comparisons(cells, Beliefs(pools=[changed]))
    found = comparisons.at(midnight + HALF_HOUR, DAY_PAIR).deltas.places
    assert found == {WORLD: {"US": 0.0}}


@pytest.mark.parametrize(("located_now", "takes_part"), [(5, True), (4.9, False)])
def test_a_feed_of_places_that_dies_moves_nobody(located_now: float, *, takes_part: bool) -> None:
    """Of a's 10, reports placed 6; it takes part if they still place 5."""
    cells = MemoryCells()
    pool(cells, "a", {"US": 6}, {"US": located_now}, unlocated=(4, 10 - located_now))
    pool(cells, "b", {"RU": 6}, {"RU": 6})
    found = compared(cells).deltas
    assert ("US" in found.places[WORLD]) is takes_part
    assert found.pools.keys() == {"a", "b"}  # their totals are compared in any case


def test_pools_are_compared_by_the_best_source_that_both_windows_have() -> None:
    cells = MemoryCells()
    pool(cells, "a", {}, {}, unlocated=(10, 5), source="polled")
    # It has no minutes for the last hour.
    start, end = NOON - 36 * HOUR, NOON - 11 * HOUR
    cells.add(report("a", {"US": 10}, source="partner", start=start, end=end))
    pool(cells, "b", {"US": 10}, {"US": 9}, source="y")
    pool(cells, "b", {}, {}, unlocated=(10, 1), source="x")
    assert compared(cells).deltas.pools == {
        "a": {"polled": pytest.approx(-0.5)},
        "b": {"y": pytest.approx(-0.1)},
    }


def test_counts_of_blocks_are_not_compared() -> None:
    cells = MemoryCells()
    pool(cells, "a", {"US": 10}, {"US": 5}, basis="mined")
    pool(cells, "b", {}, {}, unlocated=(10, 5), source="x", basis="mined")
    pool(cells, "b", {}, {}, unlocated=(10, 9), source="y", basis="relayed")
    found = compared(cells).deltas
    assert found.places == {}
    assert found.pools == {"b": {"y": pytest.approx(-0.1)}}


def test_parts_are_cut_out_of_their_whole() -> None:
    cells = MemoryCells()
    pool(cells, "whole", {}, {}, unlocated=(30, 20))
    pool(cells, "part", {}, {}, unlocated=(10, 5))
    pool(cells, "none", {}, {}, unlocated=(10, 10))
    pool(cells, "all", {}, {}, unlocated=(10, 10))
    beliefs = Beliefs(part_of={"part": "whole", "all": "none"})
    assert compared(cells, beliefs).deltas.pools == {
        "whole": {"own": pytest.approx(15 / 20 - 1)},
        "part": {"own": pytest.approx(-0.5)},
        "all": {"own": 0},
    }


def test_subdivisions_are_of_what_reports_place_after_relabelling() -> None:
    """The share of a subdivision includes its part of what is known by country only."""
    cells = MemoryCells()
    pool(
        cells,
        "a",
        {"CN-ZJ": 10, "CN-SC": 10, "CN-XJ": 20, "CN": 10},
        {"CN-ZJ": 5, "CN-SC": 5, "CN-XJ": 20, "CN": 10},
    )
    pool(cells, "b", {"US": 50}, {"US": 50}, unlocated=(20, 20))
    rule = Rule("cn-zhejiang", "CN-ZJ", None)
    found = compared(cells, Beliefs(rules=[rule])).deltas.places["CN"]
    # Zhejiang's goes to the others in proportion: 10/3 + 20/3 of the 10, 1 + 4 of the 5.
    sichuan, xinjiang = 6 / 30 * 40 / 90 - 40 / 3 / 40 * 0.5, 24 / 30 * 40 / 90 - 80 / 3 / 40 * 0.5
    assert found == {"CN-SC": pytest.approx(sichuan), "CN-XJ": pytest.approx(xinjiang)}


def test_a_pool_takes_part_in_subdivisions_if_it_gives_them_alike_in_both_windows() -> None:
    cells = MemoryCells()
    pool(cells, "states", {"US-TX": 10}, {"US-TX": 10})
    pool(cells, "country", {"US-TX": 8, "US": 2}, {"US-TX": 6, "US": 4})
    pool(cells, "nothing there", {"US-TX": 10 / 24, "RU": 10}, {"RU": 10})
    level = compared(cells).at("US-TX")
    assert {c.pool for c in level.move("US-TX").contributions} == {"states", "nothing there"}
    assert level.move("US-TX").short == pytest.approx(10 / 20)


def test_nothing_is_compared_where_one_window_locates_nothing() -> None:
    cells = MemoryCells()
    pool(cells, "a", {"US-TX": 10}, {"US-TX": 0, "US": 0})
    found = compared(cells).deltas
    assert found == Deltas({}, {"a": {"own": -1}})
    assert found.of(Subject("1h/24h", is_pool=False, name="US")) is None


located = st.dictionaries(st.sampled_from(worlds.CODES), worlds.hashrates, max_size=4)
reports_of_a_pool = st.tuples(located, located, worlds.hashrates, worlds.hashrates)


@examples(100)
@hypothesis.given(
    st.dictionaries(st.sampled_from("abc"), reports_of_a_pool, min_size=1), worlds.beliefs_about()
)
def test_contributions_add_up_to_the_delta_and_deltas_of_countries_to_nothing(
    pools: dict[str, tuple[Hashrates, Hashrates, float, float]], document: dict[str, Any]
) -> None:
    cells = MemoryCells()
    for name, (before, now, rest_before, rest_now) in pools.items():
        halves(cells, name, {range(-48, -2): before}, rest_before)
        halves(cells, name, {range(-2, 0): now}, rest_now)
    found = compared(cells, golden.loaded(document))
    assert found.pools.keys() <= pools.keys()
    for name, level in found.levels.items():
        for code, delta in found.deltas.places[name].items():
            move = level.move(code)
            assert math.isclose(sum(c.delta for c in move.contributions), delta, abs_tol=NEAR)
            assert math.isclose(sum(move.kinds), level.short.places.get(code, 0), rel_tol=NEAR)
            assert -1 - NEAR <= move.own <= 1 + NEAR
    if WORLD in found.levels:
        other = sum(c.delta for c in found.levels[WORLD].move("OTHER").contributions)
        assert math.isclose(sum(found.deltas.places[WORLD].values()), -other, abs_tol=NEAR)


# --- noise ----------------------------------------------------------------------------------------

TEXAS = Subject("1h/24h", is_pool=False, name="US-TX")
UNITED_STATES = Subject("1h/24h", is_pool=False, name="US")
ALPHA = Subject("1h/24h", is_pool=True, name="alpha", source="own")


def test_noise_is_the_median_distance_from_the_median() -> None:
    deltas = [Deltas({WORLD: {"US": d}}) for d in [0.01, 0.02, 0.03] * 8 + [0.9]]
    assert sigma_of(UNITED_STATES, deltas) == pytest.approx(1.4826 * 0.01)
    assert sigma_of(UNITED_STATES, deltas[:23]) == 0


def test_only_hours_with_a_delta_tell_the_noise_and_a_place_without_hashrate_has_0() -> None:
    undefined = [Deltas({WORLD: {"US": 0.0}})] * 100
    level = [Deltas({WORLD: {}, "US": {"US-TX": 0.02}})] * 12 + [Deltas({"US": {}})] * 12
    assert sigma_of(TEXAS, [*undefined, *level[:-1]]) == 0
    assert sigma_of(TEXAS, [*undefined, *level]) == pytest.approx(1.4826 * 0.01)
    pools = [Deltas(pools={"alpha": {"own": 0.1 * (n % 2), "other": 0.5}}) for n in range(24)]
    assert sigma_of(ALPHA, pools) == pytest.approx(1.4826 * 0.05)


def test_the_threshold_is_four_times_the_noise_if_that_is_more() -> None:
    settings = SwingSettings()
    assert settings.threshold(TEXAS, 0.002) == 0.01
    assert settings.threshold(TEXAS, 0.003) == pytest.approx(0.012)
    assert settings.threshold(ALPHA, 0.02) == 0.10
    assert settings.threshold(ALPHA, 0.03) == pytest.approx(0.12)


# --- when a swing fires, resolves and is lost -----------------------------------------------------


class Run(NamedTuple):
    """Some minutes with the same delta."""

    minutes: int
    delta: float | None
    threshold: float = 0.01


def changes(
    *runs: Run, subject: Subject = TEXAS, settings: SwingSettings | None = None
) -> list[tuple[int, str, int, int]]:
    """The minute, the state, the severity and the minute of the start of each change."""
    track, minute = Track(subject), 0
    found: list[tuple[int, str, int, int]] = []
    for run in runs:
        for _ in range(run.minutes):
            at = NOON + minute * MINUTE
            track, changed = step(track, at, run.delta, run.threshold, settings or SwingSettings())
            for state, swing in changed:
                started = (swing.started - NOON) // MINUTE
                found.append((minute, state, swing.severity, started))
            minute += 1
    return found


FIRED = (10, "firing", 1, 10)


@pytest.mark.parametrize(
    ("runs", "fires"),
    [
        ([Run(11, 0.01)], True),
        ([Run(11, -0.01)], True),
        ([Run(10, 0.01), Run(9, 0.0), Run(10, 0.01)], False),
        ([Run(10, 0.01), Run(10, -0.01)], False),
        ([Run(10, 0.01), Run(1, None), Run(10, 0.01)], False),
        ([Run(11, 0.0099)], False),
        # The threshold is each minute's own.
        ([Run(5, 0.01), Run(1, 0.019, 0.02), Run(10, 0.01)], False),
        ([Run(5, 0.01), Run(6, 0.02, 0.02)], True),
    ],
)
def test_a_swing_fires_after_11_minutes_in_a_row_of_one_sign(
    runs: list[Run], *, fires: bool
) -> None:
    assert [(minute, state) for minute, state, *_ in changes(*runs)] == (
        [(10, "firing")] if fires else []
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_severity_rises_and_never_falls_and_each_rise_is_a_change(sign: int) -> None:
    assert changes(Run(10, 0.01 * sign), Run(2, 0.0299 * sign)) == [FIRED]
    runs = [Run(10, 0.01 * sign), Run(1, 0.031 * sign), Run(5, 0.02 * sign)]
    runs += [Run(3, -0.06 * sign), Run(1, 0.05 * sign), Run(1, 0.9 * sign)]
    assert changes(*runs) == [(10, "firing", 3, 10), (19, "firing", 5, 10)]


def test_a_pools_severities_are_percents_of_its_own_hashrate() -> None:
    runs = [Run(11, -0.24, 0.1), Run(1, 0.75 - 1, 0.1), Run(1, -1.0, 0.1)]
    found = [severity for _, _, severity, _ in changes(*runs, subject=ALPHA)]
    assert found == [10, 25, 50]


@pytest.mark.parametrize(
    ("runs", "resolves_at"),
    [
        ([Run(11, 0.00499)], 21),
        ([Run(11, -0.00499)], 21),
        ([Run(11, 0.005)], None),
        ([Run(10, 0.0), Run(1, 0.005), Run(10, 0.0)], None),
        ([Run(10, 0.0), Run(1, None), Run(10, 0.0)], None),
        # Noise that has grown makes a delta small.
        ([Run(11, 0.01, 0.03)], 21),
    ],
)
def test_a_swing_resolves_after_11_small_minutes_in_a_row(
    runs: list[Run], resolves_at: int | None
) -> None:
    resolved = [] if resolves_at is None else [(resolves_at, "resolved", 1, 10)]
    assert changes(Run(11, 0.01), *runs) == [FIRED, *resolved]


def test_a_swing_that_turns_round_resolves_and_fires_in_one_minute() -> None:
    assert changes(Run(11, 0.01), Run(11, -0.03), Run(1, -0.05)) == [
        FIRED,
        (21, "resolved", 1, 10),
        (21, "firing", 3, 21),
        (22, "firing", 5, 21),
    ]


def test_a_swing_is_lost_after_an_hour_without_a_delta_and_starts_anew() -> None:
    assert changes(Run(11, 0.01), Run(59, None), Run(1, 0.01), Run(59, None)) == [FIRED]
    assert changes(Run(11, 0.03), Run(61, None), Run(11, 0.01)) == [
        (10, "firing", 3, 10),
        (70, "lost", 3, 10),
        (82, "firing", 1, 82),
    ]


def test_thresholds_and_times_are_settings() -> None:
    settings = SwingSettings(minutes=1, place=0.001, resolved=0.8, lost_after=2)
    runs = [Run(2, 0.002, 0.002), Run(2, 0.0015, 0.002), Run(2, 0.002, 0.002), Run(2, None)]
    assert [(minute, state) for minute, state, *_ in changes(*runs, settings=settings)] == [
        (1, "firing"),
        (3, "resolved"),
        (5, "firing"),
        (7, "lost"),
    ]


@pytest.mark.parametrize(
    ("subject", "least"),
    [
        (Subject("1h/24h", is_pool=False, name="US"), 0.02),
        (Subject("24h/7d", is_pool=False, name="US"), 0.03),
        (Subject("1h/24h", is_pool=False, name="CA"), 0.04),
        (Subject("24h/7d", is_pool=False, name="CA"), 0.01),
        (Subject("1h/24h", is_pool=True, name="a", source="own"), 0.5),
        (Subject("24h/7d", is_pool=True, name="a", source="own"), 0.2),
        (Subject("24h/7d", is_pool=True, name="b", source="own"), 0.2),
    ],
)
def test_the_least_change_is_the_most_specific_one_that_is_set(
    subject: Subject, least: float
) -> None:
    settings = SwingSettings(
        place={"1h/24h": 0.04},
        pool=0.2,
        overrides={"US": {"1h/24h": 0.02, "24h/7d": 0.03}, "a": {"1h/24h": 0.5}},
    )
    assert settings.least(subject) == least
    assert settings.threshold(subject, 0.0) == least


def test_the_defaults_of_the_settings_are_those_of_the_method() -> None:
    assert swing_settings(config.Swings()) == SwingSettings()
    assert tuple(pair.name for pair in PAIRS) == config.PAIRS


def test_every_setting_reaches_the_detector() -> None:
    values: dict[str, Any] = {
        "minutes": 5,
        "noise": 3,
        "resolved": 0.25,
        "lost_after": 30,
        "noise_hours": 48,
        "place": 0.02,
        "pool": {"1h/24h": 0.3},
        "overrides": {"US": 0.5},
    }
    assert swing_settings(config.Swings(**values)) == SwingSettings(**values)


# --- live -----------------------------------------------------------------------------------------


class Fixed:
    """Comparisons of which only the pair of a day has a pool, with one delta at all times."""

    def __init__(self, delta: float) -> None:
        self._compared = {DAY_PAIR: comparison({"a": delta}), WEEK_PAIR: comparison(pair=WEEK_PAIR)}

    def at(self, _: datetime, pair: Any) -> Comparison:
        return self._compared[pair]


def live(detector: LiveDetector, minute: int, delta: float) -> Evaluation:
    return detector.evaluate(minute, cast("Comparisons", Fixed(delta)))


def whole_hour() -> int:
    return int(NOON.timestamp()) // 60


def test_another_detector_continues_where_one_has_ended() -> None:
    minute = whole_hour()
    one = LiveDetector(SwingSettings(), (), (), {})
    found = [live(one, minute + n, 0.3) for n in range(12)]
    assert [len(each.events) for each in found] == [0] * 10 + [1, 0]
    assert found[11].status.firing == tuple(found[10].events)
    two = LiveDetector(SwingSettings(), one.tracks, found[11].status.firing, {})
    (risen,) = live(two, minute + 12, 0.6).events
    assert (risen.severity, risen.started) == (50, found[10].events[0].started)


def test_the_deltas_of_a_whole_hour_are_kept_and_tell_the_noise() -> None:
    minute = whole_hour()
    hours = {
        minute // 60 - n: {"1h/24h": Deltas(pools={"a": {"own": 0.2 if n % 2 else -0.2}})}
        for n in range(1, 25)
    }
    noisy = LiveDetector(SwingSettings(), (), (), hours)
    first = live(noisy, minute, 0.3)
    assert first.deltas is not None
    assert first.deltas["1h/24h"].pools == {"a": {"own": pytest.approx(0.3)}}
    assert not [e for n in range(1, 30) for e in live(noisy, minute + n, 0.3).events]
    assert live(noisy, minute + 30, 0.3).deltas is None


def test_a_swing_that_is_forgotten_is_lost_at_the_first_minute() -> None:
    minute = whole_hour()
    one = LiveDetector(SwingSettings(), (), (), {})
    fired = [e for n in range(11) for e in live(one, minute + n, 0.3).events]
    two = LiveDetector(SwingSettings(), (), (), {}, forgotten=fired)
    (event,) = live(two, minute + 11, 0.3).events
    assert (event.state, event.started, event.delta) == ("lost", fired[0].started, None)
    assert not live(two, minute + 12, 0.3).events


def test_events_are_annotated_before_anything_else_sees_them() -> None:
    minute = whole_hour()

    before: list[Swing | None] = []

    def mute(event: Swing, previous: Swing | None) -> Swing:
        before.append(previous)
        return msgspec.structs.replace(event, muted=True)

    detector = LiveDetector(SwingSettings(), (), (), {}, annotate=mute)
    found = [live(detector, minute + n, 0.3) for n in range(11)][-1]
    assert [event.muted for event in found.events] == [True]
    assert found.status.firing == tuple(found.events)
    # What follows is given the event before it, also by a detector that does not remember it.
    (rise,) = live(detector, minute + 11, 0.9).events
    forgetful = LiveDetector(SwingSettings(), (), (), {}, forgotten=[rise], annotate=mute)
    live(forgetful, minute + 12, 0.9)
    assert before == [None, *found.events, rise]


def test_the_status_has_all_that_is_compared() -> None:
    compared = [comparison({"a": 0.3}, {"US": 0.02, "CA": -0.02})]
    status = status_of(NOON, compared, ())
    assert [(p.pair, p.pool, p.source) for p in status.pools] == [("1h/24h", "a", "own")]
    level = compared[0].at("US")
    assert {p.place: p.delta for p in status.places} == {
        code: level.deltas[code] for code in ("US", "CA")
    }


# --- events ---------------------------------------------------------------------------------------


def comparison(
    pools: Mapping[str, float] | None = None,
    countries: Mapping[str, float] | None = None,
    pair: Any = DAY_PAIR,
) -> Comparison:
    """Pools that had 1 in the long window, and countries that had a tenth of the world each."""
    levels = {}
    if countries is not None:
        short: Places = {(code, "measured"): 0.1 + delta for code, delta in countries.items()}
        long = dict.fromkeys(short, 0.1)
        for places in (short, long):
            places["OTHER", "measured"] = 1 - sum(places.values())
        levels[WORLD] = Level(Side({"a": short}, 1, 1), Side({"a": long}, 1, 1), simulated=True)
    moves = {
        slug: PoolMove(
            "own",
            1 + delta,
            1,
            PlacedPool(member(slug), Rows.of({("US", "prior"): 0.5}), 0.5),
            simulated=False,
        )
        for slug, delta in (pools or {}).items()
    }
    return Comparison(pair, levels, moves)


def no_noise(_: Subject) -> float:
    return 0.0


def evaluated(
    steps: Iterable[Sequence[Comparison]], detector: Detector | None = None, first: int = 0
) -> list[Swing]:
    detector = detector or Detector()
    return [
        event
        for minute, comparisons in enumerate(steps, first)
        for event in detector.evaluate(NOON + minute * MINUTE, comparisons, no_noise)
    ]


def test_events_of_one_minute_come_by_pair_then_places_then_pools() -> None:
    both = [
        comparison({"b": -0.2, "a": 0.2}, {"US": 0.02, "RU": -0.02}, pair)
        for pair in (WEEK_PAIR, DAY_PAIR)
    ]
    events = evaluated([both] * 11)
    assert [(e.pair, e.place if isinstance(e, PlaceSwing) else e.pool) for e in events] == [
        (pair.name, name) for pair in PAIRS for name in ("RU", "US", "a", "b")
    ]


def test_the_event_of_a_place_has_its_figures_until_it_is_lost() -> None:
    (fired,) = evaluated([[comparison(countries={"US": 0.02})]] * 11)
    assert msgspec.json.decode(msgspec.json.encode(fired)) == {
        "schema": "swing/1",
        "pair": "1h/24h",
        "place": "US",
        "state": "firing",
        "severity": 1,
        **dict.fromkeys(("started", "at"), "2026-11-22T12:10:00Z"),
        "short": pytest.approx(0.12),
        "long": pytest.approx(0.1),
        "threshold": 0.01,
        "delta": pytest.approx(0.02),
        "own": pytest.approx(0.12 / 1.02 - 0.1),
        "driver": "own",
        "pools": [{"pool": "a", "delta": pytest.approx(0.02)}],
        "kinds": {"measured": pytest.approx(0.12), "declared": 0, "estimated": 0, "prior": 0},
        "simulated": True,
    }
    moving, nothing = [comparison(countries={"US": 0.02})], [comparison()]
    lost = evaluated([moving] * 11 + [nothing] * 60)[-1]
    encoded = msgspec.json.decode(msgspec.json.encode(lost))
    assert encoded == {
        "schema": "swing/1",
        "pair": "1h/24h",
        "place": "US",
        "state": "lost",
        "severity": 1,
        "started": "2026-11-22T12:10:00Z",
        "at": "2026-11-22T13:10:00Z",
        "simulated": True,
        **dict.fromkeys(("short", "long", "delta", "threshold", "own", "driver")),
        "pools": [],
    }


def test_the_event_of_a_pool_has_its_places_until_it_is_lost() -> None:
    moving, nothing = [comparison({"alpha": -0.25})], [comparison()]
    fired, lost = evaluated([moving] * 11 + [nothing] * 60)
    common: dict[str, Any] = {"pair": "1h/24h", "pool": "alpha", "source": "own", "severity": 25}
    common |= {"started": NOON + 10 * MINUTE, "simulated": False}
    assert fired == PoolSwing(
        **common,
        state="firing",
        at=NOON + 10 * MINUTE,
        short=0.75,
        long=1,
        delta=-0.25,
        threshold=0.1,
        places=(PoolPart("US", "prior", 0.5),),
    )
    figures: dict[str, Any] = dict.fromkeys(("short", "long", "delta", "threshold"))
    assert lost == PoolSwing(**common, **figures, state="lost", at=NOON + 70 * MINUTE, places=())


def test_what_concerns_an_event_is_left_out_of_its_json_unless_it_is_known() -> None:
    for event in evaluated([[comparison({"a": 0.2}, {"US": 0.02})]] * 11):
        told = msgspec.structs.replace(event, annotations=("annotations/a",), muted=True)
        plain, full = (msgspec.json.decode(msgspec.json.encode(each)) for each in (event, told))
        assert full == {**plain, "annotations": ["annotations/a"], "muted": True}
        assert not {"annotations", "muted"} & plain.keys()
        assert msgspec.json.decode(msgspec.json.encode(told), type=type(event)) == told


def test_a_firing_place_that_no_pool_has_any_more_resolves() -> None:
    moving, gone = [comparison(countries={"US": 0.02})], [comparison(countries={"RU": 0.0})]
    resolved = evaluated([moving] * 11 + [gone] * 11)[-1]
    assert isinstance(resolved, PlaceSwing)
    assert (resolved.state, resolved.short, resolved.delta) == ("resolved", 0, 0)


def test_nothing_is_remembered_of_what_does_not_move() -> None:
    detector = Detector()
    evaluated([[comparison({"a": 0.09, "b": 0.1}, {"US": 0.009, "RU": 0.01})]], detector)
    assert {subject.name for subject in detector.tracks} == {"b", "RU"}
    evaluated([[comparison({"a": 0.09, "b": 0.0}, {"US": 0.009, "RU": 0.0})]], detector, 1)
    assert detector.tracks == {}


minutes = st.tuples(
    st.sampled_from([None, 0.0, 0.004, 0.01, -0.01, 0.03, -0.06]),
    st.sampled_from([None, 0.0, 0.1, -0.1, 0.3, -0.6]),
)
blocks = st.tuples(st.sampled_from([1, 5, 11, 12, 60]), minutes)


@examples(100)
@hypothesis.given(st.lists(blocks, max_size=8), st.integers(1, 40))
def test_a_detector_continues_where_another_one_stopped(
    blocks: list[tuple[int, tuple[float | None, float | None]]], length: int
) -> None:
    steps = [
        [
            comparison(
                None if of_pool is None else {"a": of_pool},
                None if of_place is None else {"US": of_place},
            )
        ]
        for number, (of_place, of_pool) in blocks
        for _ in range(number)
    ]
    events, tracks = [], b"[]"
    for first in range(0, len(steps), length):
        known = msgspec.json.decode(tracks, type=list[Track])
        detector = Detector(tracks={track.subject: track for track in known})
        events += evaluated(steps[first : first + length], detector, first)
        tracks = msgspec.json.encode(list(detector.tracks.values()))
    assert events == evaluated(steps)


def test_a_track_survives_its_encoding() -> None:
    track = Track(ALPHA, -3, 0, 2, Firing(-1, 25, NOON), simulated=True)
    assert msgspec.json.decode(msgspec.json.encode(track), type=Track) == track


# --- messages -------------------------------------------------------------------------------------


def fires(cells: MemoryCells, until: datetime, beliefs: Beliefs | None = None) -> list[Swing]:
    return list(detect(cells, minutes_between(NOON, until), beliefs or Beliefs()))


def test_every_whole_minute_of_the_range_is_evaluated() -> None:
    second = timedelta(seconds=1)
    noon = int(NOON.timestamp()) // 60
    assert minutes_between(NOON, NOON + MINUTE) == range(noon, noon + 2)
    assert minutes_between(NOON + second, NOON + 2 * MINUTE - second) == range(noon + 1, noon + 2)
    assert not minutes_between(NOON + second, NOON + MINUTE - second)


def test_a_fall_fires_and_is_found_by_noise_that_looks_back_before_the_range() -> None:
    cells = MemoryCells()
    halves(cells, "a", {range(-400, 2): {"US": 50.0}, range(2, 4): {"US": 10.0}})
    halves(cells, "b", {range(-400, 4): {"RU": 50.0}})
    events = fires(cells, NOON + 2 * HOUR)
    first = next(e for e in events if isinstance(e, PlaceSwing) and e.place == "US")
    assert (first.pair, first.driver) == ("1h/24h", "own")
    # Minute k after 13:00 has lost 40 k / 60 of 100: 1 pp at the third one, fires 10 later.
    assert first.started == NOON + HOUR + 13 * MINUTE
    noisy = MemoryCells()
    for hour in range(-200, 2):
        loud = {"US": 50.0 + 40 * (hour % 2)}
        halves(noisy, "a", {range(2 * hour, 2 * hour + 2): loud})
    halves(noisy, "b", {range(-400, 4): {"RU": 50.0}})
    assert [e for e in fires(noisy, NOON + 2 * HOUR) if isinstance(e, PlaceSwing)] == []


class CountingCells(MemoryCells):
    """Cells that count how often they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def sum(self, series: Series, span: Span) -> Cell:
        self.reads += 1
        return super().sum(series, span)


def test_quiet_minutes_are_looked_at_once_in_a_while_only() -> None:
    """11 minutes in a row contain one that is a multiple of 11: the others need no comparison."""
    cells = CountingCells()
    halves(cells, "a", {range(-400, 8): {"US": 50.0}})
    assert fires(cells, NOON + 4 * HOUR) == []
    assert cells.reads < 4 * 60


def every_minute(
    cells: MemoryCells, minutes: range, beliefs: Beliefs, settings: SwingSettings
) -> list[Swing]:
    """The events of minutes that are all compared, as the method says."""
    comparisons, detector = Comparisons(cells, beliefs), Detector(settings)
    pairs = {pair.name: pair for pair in PAIRS}
    past = functools.cache(lambda at, pair: comparisons.at(at, pairs[pair]).deltas)
    events = []
    for minute in minutes:
        at = bucket_start(minute, MINUTE_S)
        hours = [at.replace(minute=0) - n * HOUR for n in range(1, settings.noise_hours + 1)]

        def sigma(subject: Subject, hours: Sequence[datetime] = hours) -> float:
            return sigma_of(subject, [past(hour, subject.pair) for hour in hours])

        events += detector.evaluate(at, [comparisons.at(at, pair) for pair in PAIRS], sigma)
    return events


@examples(10)
@hypothesis.given(
    st.lists(
        st.lists(st.sampled_from([0.0, 8.0, 9.0, 10.0, 20.0]), min_size=5, max_size=5), max_size=3
    ),
    st.integers(0, 12),
    st.integers(0, 20),
)
def test_the_minutes_that_are_left_out_change_nothing(
    pools: list[list[float]], minutes: int, late: int
) -> None:
    cells = MemoryCells()
    for n, hashrates in enumerate(pools):
        place = ("US", "RU", "KZ")[n % 3]
        halves(cells, str(n), {range(-80, 0): {place: 10.0}})
        for half, hashrate in enumerate(hashrates):
            halves(cells, str(n), {range(half, half + 1): {place: hashrate}})
    settings = SwingSettings(minutes=minutes, lost_after=15, noise_hours=30)
    evaluated = minutes_between(NOON + late * MINUTE, NOON + 3 * HOUR)
    found = list(detect(cells, evaluated, Beliefs(), settings))
    assert found == every_minute(cells, evaluated, Beliefs(), settings)


def subject_of(event: Swing) -> Subject:
    if isinstance(event, PoolSwing):
        return Subject(event.pair, is_pool=True, name=event.pool, source=event.source)
    return Subject(event.pair, is_pool=False, name=event.place)


def test_the_noise_is_that_of_the_whole_hours_before_the_present_one() -> None:
    """The hashrate of a wanders all the time; that of c falls at 13:00 and is large from 15:00."""
    cells = MemoryCells()
    for half in range(-100, 10):
        halves(cells, "a", {range(half, half + 1): {"US": 50.0 + 7 * (half // 2) ** 2 % 11}})
    halves(cells, "b", {range(-100, 10): {"RU": 50.0}})
    falls = {range(-100, 2): {"KZ": 30.0}, range(2, 6): {"KZ": 5.0}, range(6, 10): {"KZ": 200.0}}
    halves(cells, "c", falls)
    events = fires(cells, NOON + 5 * HOUR)
    comparisons = Comparisons(cells, Beliefs())
    pairs = {pair.name: pair for pair in PAIRS}
    for event in events:
        present = event.at.replace(minute=0)
        past = [comparisons.at(present - n * HOUR, pairs[event.pair]).deltas for n in range(1, 169)]
        subject = subject_of(event)
        expected = SwingSettings().threshold(subject, sigma_of(subject, past))
        assert event.threshold == pytest.approx(expected)
    assert {event.at.hour for event in events} == {13, 15}
    assert len({event.threshold for event in events if isinstance(event, PlaceSwing)}) > 2


hashrates = st.dictionaries(
    st.sampled_from(["US", "US-TX", "CN-SC", "CN-XJ", "KZ"]), st.sampled_from([1.0, 2.0, 7.0])
)
pools_alike = st.lists(st.tuples(hashrates, st.sampled_from([1.0, 5.0])), min_size=1, max_size=4)
PRIOR = Beliefs(network=[network_prior(US=2, RU=1)])


@examples(25)
@hypothesis.given(pools_alike, st.integers(0, 3))
def test_a_pool_that_goes_dark_or_joins_makes_no_swing(
    pools: list[tuple[Hashrates, float]], which: int
) -> None:
    cells = MemoryCells()
    for n, (places, unlocated) in enumerate(pools):
        dark, late = range(-40, 1), range(4)
        numbers = (dark, late)[which % 2] if n == which else range(-40, 4)
        halves(cells, str(n), {numbers: places}, unlocated)
    assert fires(cells, NOON + 2 * HOUR, PRIOR) == []


@examples(25)
@hypothesis.given(pools_alike, st.sampled_from([0.0625, 0.5, 1.5]))
def test_no_place_swings_if_all_pools_change_alike(
    pools: list[tuple[Hashrates, float]], factor: float
) -> None:
    """It is the hashrate of the network that moved; each pool's own swing says so."""
    cells = MemoryCells()
    for n, (places, unlocated) in enumerate(pools):
        after = {code: hashrate * factor for code, hashrate in places.items()}
        halves(cells, str(n), {range(-40, 0): places}, unlocated)
        halves(cells, str(n), {range(4): after}, unlocated * factor)
    own = [Document(f"pools/{n}", [Entry(0, {"NO": 1.0})], pool=str(n)) for n in range(4)]
    events = fires(cells, NOON + 1.5 * HOUR, Beliefs(pools=own))
    assert {e.pool for e in events if isinstance(e, PoolSwing)} == set(map(str, range(len(pools))))
    assert [e for e in events if isinstance(e, PlaceSwing)] == []
