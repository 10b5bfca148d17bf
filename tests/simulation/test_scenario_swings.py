"""What the detector makes of the scenarios: the demo shows a swing as soon as it is ready."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from launch.simulation import PUSHED_POOL, SCENARIOS, World, beliefs, history
from miningmap.messages import encode
from miningmap.swings import PlaceSwing
from streams.beliefs import load_only
from streams.queries.recompute import read_cells
from streams.queries.swings import detect, minutes_between

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

# Where nothing is remembered, as in the demo, the last hour is evaluated at once.
BEFORE = timedelta(minutes=62)
AFTER = timedelta(minutes=6)


def events_of_united_states(scenario: str, origin: datetime, folder: Path) -> list[PlaceSwing]:
    """Return the swings of the United States' share that the first evaluations find."""
    file = folder / "beliefs.json"
    file.write_text(json.dumps(beliefs(PUSHED_POOL)))
    world = World(1, origin, SCENARIOS[scenario])
    messages = history(world, origin + AFTER, days=10)
    cells, _ = read_cells(encode(message) for message in messages)
    minutes = minutes_between(origin - BEFORE, origin + AFTER)
    events = detect(cells, minutes, load_only(file))
    return [e for e in events if isinstance(e, PlaceSwing) and e.place == "US"]


def test_a_swing_is_in_progress_when_the_default_demo_starts(
    origin: datetime, tmp_path: Path
) -> None:
    *_, last = events_of_united_states("texas", origin, tmp_path)

    assert (last.pair, last.state, last.driver) == ("1h/24h", "firing", "own")


def test_the_swing_of_a_storm_is_in_progress_at_the_start_and_resolves_soon(
    origin: datetime, tmp_path: Path
) -> None:
    first, last = events_of_united_states("storm", origin, tmp_path)

    assert (first.state, first.driver) == ("firing", "own")
    assert first.at < origin
    assert last.state == "resolved"
    assert last.at > origin
