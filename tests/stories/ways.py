"""The ways through which a story runs without servers: each returns the events of its swings."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from click.testing import CliRunner

from launch.cli import main
from miningmap.messages import encode
from miningmap.swings import PlaceSwing, PoolSwing
from miningmap.times import rfc3339
from streams.method.cells import MemoryCells
from streams.queries.swings import detect, minutes_between
from tests.streams import golden

if TYPE_CHECKING:
    from miningmap.swings import Swing
    from tests.stories.story import Json, Story


def offline(story: Story) -> list[Swing]:
    """Run a story through the detector as a library."""
    minutes = minutes_between(story.start, story.end)
    return list(detect(cells_of(story), minutes, golden.loaded(story.beliefs)))


def cells_of(story: Story) -> MemoryCells:
    """Return the cells of all messages of a story."""
    cells = MemoryCells()
    for message in story.messages():
        cells.add(message)
    return cells


def command(story: Story) -> list[Swing]:
    """Run a story through ``miningmap swings``, from a file of messages and one of beliefs."""
    with tempfile.TemporaryDirectory() as name:
        messages, beliefs = Path(name, "messages.jsonl"), Path(name, "beliefs.json")
        messages.write_bytes(b"\n".join(map(encode, story.messages())))
        beliefs.write_text(json.dumps(story.beliefs))
        times = ("--from", rfc3339(story.start), "--to", rfc3339(story.end))
        arguments = ["swings", str(messages), *times, "--beliefs", str(beliefs)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return [event_of(row) for row in json.loads(result.stdout)]


def event_of(row: Json) -> Swing:
    """Return the event that a document ``swing/1`` describes."""
    if "place" in row:
        return msgspec.convert(row, PlaceSwing)
    return msgspec.convert(row, PoolSwing)
