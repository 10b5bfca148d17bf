"""The live detector: the same events as offline, each minute once, whatever stops meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from miningmap import settings as config
from miningmap.swings import encode_swing
from tests.streams import golden
from tests.streams.live_swings import do_not_wait, live_pipeline, published_swings

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.settings import Settings

pytestmark = pytest.mark.usefixtures("clean_kafka")

# The cases are of the past; none of their messages is too late or expires.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# The pools of the cases report every half hour, so that a minute is only known up to half an hour
# later. Live, that is after a stop of so long.
REPORTED_EVERY = 30


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    do_not_wait(monkeypatch, settings)
    settings.retention = FOR_EVER
    return settings


# --- the golden cases -----------------------------------------------------------------------------


@golden.parametrize(golden.SWINGS)
async def test_every_golden_case_swings_live_as_offline(settings: Settings, path: Path) -> None:
    case = golden.SwingCase(path)
    ((first, last),) = case.ranges
    async with live_pipeline(settings, case.beliefs, first, first_minutes=1) as pipeline:
        pipeline.add(case.messages)
        stored = await pipeline.run(first, last, step=REPORTED_EVERY)
        (want,) = case.expected
        published = await published_swings(settings, len(want))
    assert len(stored) == len(want)
    for event, expected in zip(published, want, strict=True):
        golden.assert_same_swing(json.loads(encode_swing(event)), expected)
        assert event in stored
