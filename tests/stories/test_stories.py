"""The short stories: each thing that happens is found, in time, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells
from streams.method.comparison import PAIRS, WORLD
from streams.method.swings import driver_of
from streams.method.windows import parse_window
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer_from
from streams.queries.swings import comparisons_over, detect, minutes_between
from tests.stories import delays, published, replays, scripted
from tests.stories.feeds import HOUR, MINUTE
from tests.stories.quiet import QuietCells, pools, quiet_month
from tests.stories.scripted import DAY
from tests.stories.story import Expected, Story, complaints, swings_of
from tests.stories.ways import cells_of, command, offline
from tests.streams import golden
from tests.streams.fixtures import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.method.cells import Cell

SHORT_REPLAYS = (replays.xinjiang_2021_alike, replays.xinjiang_2025, replays.iran_2026)


@pytest.mark.parametrize("make", scripted.STORIES)
def test_what_happens_is_found_and_nothing_else(make: Callable[[], Story]) -> None:
    story = make()
    assert list(complaints(story, swings_of(offline(story)))) == []


@pytest.mark.parametrize("make", [scripted.falls_and_goes_dark, scripted.texas_curtails])
def test_the_command_finds_the_same(make: Callable[[], Story]) -> None:
    story = make()
    assert command(story) == offline(story)


@pytest.mark.parametrize("make", SHORT_REPLAYS)
def test_real_events_are_found_as_far_as_published_figures_tell_them(
    make: Callable[[], Story],
) -> None:
    story = make()
    assert list(complaints(story, swings_of(offline(story)))) == []


def test_the_quick_cells_of_a_quiet_month_are_those_of_its_messages() -> None:
    story = quiet_month(1, days=1)
    slow, quick = cells_of(story), QuietCells(pools(1, 1, 1))
    assert set(slow.series()) == set(quick.series())
    for hours in range(-200, 24, 7):
        at = story.start + hours * HOUR + 23 * MINUTE
        for window in map(partial(parse_window, as_of=at), ("1h", "24h", "7d")):
            for span in (window.span, window.profile):
                for series in slow.series():
                    assert_near(quick.sum(series, span), slow.sum(series, span))


def assert_near(quick: Cell, slow: Cell) -> None:
    assert (quick.minutes, quick.simulated, quick.basis) == (
        slow.minutes,
        slow.simulated,
        slow.basis,
    )
    assert quick.total == pytest.approx(slow.total)
    assert quick.places.by_place() == pytest.approx(slow.places.by_place())


def test_a_quiet_day_moves_no_place() -> None:
    cells = QuietCells(pools(1, 1, 1))
    story = quiet_month(1, days=1)
    minutes = minutes_between(story.start, story.end)
    found = swings_of(detect(cells, minutes, golden.loaded(story.beliefs)))
    assert [each for each in found if each.is_place] == []


def test_a_pool_that_goes_dark_moves_the_coverage() -> None:
    story = scripted.goes_dark()
    cells, beliefs = cells_of(story), golden.loaded(story.beliefs)

    def coverage(hours: float) -> float:
        at = story.cause + hours * HOUR
        found = answer_from(cells, SharesParameters.parse({"window": "1h"}).query(at), beliefs)
        assert found.coverage is not None
        return found.coverage

    assert coverage(1.9) < coverage(0) - 0.25
    assert coverage(2.95) == pytest.approx(coverage(0), abs=0.02)


def test_what_rises_while_texas_falls_rises_because_of_others() -> None:
    story = scripted.texas_curtails()
    comparisons = comparisons_over(cells_of(story), golden.loaded(story.beliefs))
    comparison = comparisons.at(story.cause + 2 * HOUR, PAIRS[0])
    for name in (WORLD, "US"):
        level = comparison.levels[name]
        risen = {code: delta for code, delta in level.deltas.items() if delta > 0.001}
        assert risen
        drivers = {
            driver_of(delta, level.own(code), level.with_rest(code))
            for code, delta in risen.items()
        }
        assert drivers == {"others"}


@pytest.mark.parametrize("make", [scripted.falls_and_goes_dark, replays.xinjiang_2021_alike])
def test_a_swing_fires_ten_minutes_after_its_delta_has_passed_the_threshold(
    make: Callable[[], Story],
) -> None:
    story = make()
    cells, beliefs = cells_of(story), golden.loaded(story.beliefs)
    falls = [each for each in swings_of(offline(story)) if each.sign < 0]
    assert {each.subject for each in falls} == {expected.subject for expected in story.must}
    for found in falls:
        assert found.started - delays.passed(found, cells, beliefs) == 10 * MINUTE, str(found)


def test_a_steady_fall_becomes_usual_and_fires_again_when_it_has_done_so() -> None:
    """What `docs/swings.md` says of slow moves: half a point a day, from one day on."""
    cells, start = MemoryCells(), scripted.CAUSE.replace(hour=0)
    for hour in range(-16 * 24, 9 * 24):
        at, fallen = start + hour * HOUR, 0.005 * max(0, hour) / 24
        for pool, place, share in (("a", "US", 0.5 - fallen), ("b", "RU", 0.5 + fallen)):
            cells.add(report(pool, {place: share}, start=at, end=at + HOUR))
    minutes = minutes_between(start, start + 9 * DAY)
    falls = [each for each in swings_of(detect(cells, minutes, Beliefs())) if each.subject == "US"]
    first, second = falls
    assert 3 * DAY < first.started - start < 4 * DAY
    assert first.end == "resolved"
    assert 7 * DAY < second.started - start < 8.5 * DAY
    assert (second.events[0].threshold or 0) > 0.014


def test_a_story_says_what_is_missing_and_what_is_false() -> None:
    story = scripted.falls_and_goes_dark()
    swings = swings_of(offline(story))
    expected = story.must[0]
    for changed in (
        Expected("ocean", -1),
        Expected(expected.subject, 1),
        Expected(expected.subject, -1, severity=50),
        Expected(expected.subject, -1, pairs=("24h/7d",)),
        Expected(expected.subject, -1, end="resolved"),
        Expected(expected.subject, -1, within=timedelta(minutes=20)),
    ):
        other = Story(
            story.name, story.messages, story.cause, story.start, story.end, {}, (changed,)
        )
        found = list(complaints(other, swings))
        assert [line.split(":")[0] for line in found] == ["missing", "false"]


def test_the_stories_of_years_are_left_out_without_the_published_tables() -> None:
    if not published.are_there():
        pytest.skip(published.LEFT_OUT)
    assert isinstance(published.china_2021(), Story)
    first, *_ = published.china_2021().messages()
    assert first.hashrate > 0
