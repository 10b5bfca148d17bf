"""Stories through the whole pipeline in event time: Kafka, the streams worker, Redis, the detector.

The clock is set half an hour ahead at a time, and what was fetched by then is published, as after a
stop of half an hour. Real events have reports of five minutes, so for them it is ten minutes; the
months that Cambridge published have reports of days, so for them it is half a day.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from miningmap import settings as config
from tests.stories import published, replays, scripted
from tests.stories.story import complaints, swings_of
from tests.stories.ways import offline
from tests.streams import golden
from tests.streams.live_swings import do_not_wait, live_pipeline, published_swings
from tests.streams.processes import processed

if TYPE_CHECKING:
    from collections.abc import Callable

    from miningmap.settings import Settings
    from miningmap.swings import Swing
    from tests.stories.story import Story

pytestmark = pytest.mark.usefixtures("clean_kafka")

# The stories are of any year; none of their messages is too late or expires.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
AT_ONCE = 30
AT_ONCE_REAL = 10
AT_ONCE_DAYS = 720
# Of a story in which nothing happens for half a day, the last hours.
LAST = {scripted.partner_joins: timedelta(hours=2)}

long = pytest.mark.skipif("SLOW" not in os.environ, reason="a long story: run `make stories`")


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    do_not_wait(monkeypatch)
    settings.retention = FOR_EVER
    return settings


async def live(story: Story, settings: Settings, at_once: int = AT_ONCE) -> list[Swing]:
    """Run a story through the pipeline, and return the events that are in Redis and in Kafka."""
    beliefs = golden.loaded(story.beliefs)
    async with live_pipeline(settings, beliefs, story.start, first_minutes=1) as pipeline:
        pipeline.add(story.messages())
        for hours in range(12, 0, -2):  # not all at once: the broker has a deadline
            await pipeline.advance(story.start - timedelta(hours=hours))
            await processed(settings)
        stored = await pipeline.run(story.start, story.end, step=at_once)
        sent = await published_swings(settings, len(stored)) if stored else []
    assert sorted(map(repr, sent)) == sorted(map(repr, stored))
    return sent


@pytest.mark.parametrize("make", scripted.STORIES)
async def test_what_happens_is_found_live_as_offline(
    make: Callable[[], Story], settings: Settings
) -> None:
    story = make()
    if make in LAST:
        story = replace(story, start=story.end - LAST[make])
    events = await live(story, settings)
    assert list(complaints(story, swings_of(events))) == []
    assert [_what(event) for event in events] == [_what(event) for event in offline(story)]


def _what(event: Swing) -> tuple[object, ...]:
    return event.pair, event.started, event.at, event.state, event.severity


@long
@pytest.mark.parametrize("make", replays.STORIES)
async def test_real_events_are_found_live(make: Callable[[], Story], settings: Settings) -> None:
    story = make()
    assert list(complaints(story, swings_of(await live(story, settings, AT_ONCE_REAL)))) == []


@long
@pytest.mark.skipif(not published.are_there(), reason=published.LEFT_OUT)
@pytest.mark.parametrize("make", published.STORIES)
async def test_published_months_are_found_live(
    make: Callable[[], Story], settings: Settings
) -> None:
    story = make()
    assert list(complaints(story, swings_of(await live(story, settings, AT_ONCE_DAYS)))) == []
