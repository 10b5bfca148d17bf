"""``miningmap swings``: the events of swings from a file, without any server."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from miningmap.messages import encode
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from miningmap.messages import Report
    from tests.cli.conftest import Run

HALF_HOUR = timedelta(minutes=30)
RANGE = ("--from", "2026-11-22T11:00:00Z", "--to", "2026-11-22T12:00:00Z")


def a_pool_falls() -> Iterator[Report]:
    """For a day the pools have 50 each, in the hour before noon one has 10 left."""
    for half in range(-48, 0):
        start = NOON + half * HALF_HOUR
        for pool, hashrate in (("alpha", 50.0 if half < -2 else 10.0), ("beta", 50.0)):
            yield report(pool, hashrate=hashrate, start=start, end=start + HALF_HOUR)


@pytest.fixture
def falling(tmp_path: Path) -> Path:
    path = tmp_path / "falling.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(map(encode, a_pool_falls()))))
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A belief about where one of the pools is."""
    path = tmp_path / "own.json"
    series = [{"from": "2026-01-01", "weights": {"US-TX": 1}}]
    document = {"id": "pools/alpha", "pool": "alpha", "kind": "declared", "series": series}
    path.write_text(json.dumps({"pools": [document]}))
    return path


def test_the_swings_of_a_range_are_printed_as_json(run: Run, falling: Path, own: Path) -> None:
    result = run("swings", falling, *RANGE, "--beliefs", own)
    assert result.exit_code == 0
    found: list[Any] = json.loads(result.stdout)
    # Minute k has lost 80 k / 60 percent: 10 at the 8th minute, and the 11th in a row fires.
    assert [(e["pool"], e["state"], e["severity"], e["at"]) for e in found] == [
        ("alpha", "firing", 10, "2026-11-22T11:18:00Z"),
        ("alpha", "firing", 25, "2026-11-22T11:19:00Z"),
        ("alpha", "firing", 50, "2026-11-22T11:38:00Z"),
    ]
    assert found[0]["places"] == [{"code": "US-TX", "kind": "declared", "part": 1.0}]
    assert found[0]["delta"] == pytest.approx(-0.8 * 18 / 60)


def test_events_are_shown_with_the_annotations_that_concern_them(
    run: Run, falling: Path, tmp_path: Path
) -> None:
    path = tmp_path / "calendar.json"
    annotation = {"id": "annotations/a", "text": "It happens.", "zone": "Asia/Shanghai"}
    # The events are between 19 and 20 h in China.
    for hour, expected in ((19, ["annotations/a"]), (20, None)):
        hours = {"pools": ["alpha"], "from_hour": hour, "until_hour": hour + 1}
        path.write_text(json.dumps({"annotations": [annotation | hours]}))
        found = json.loads(run("swings", falling, *RANGE, "--beliefs", path).stdout)
        assert found
        assert all(event.get("annotations") == expected for event in found)
        assert not any("muted" in event for event in found)


def test_events_of_an_annotation_that_the_settings_mute_say_so(
    run: Run, falling: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "calendar.json"
    annotation = {"id": "annotations/a", "text": "It happens.", "zone": "UTC", "pools": ["alpha"]}
    path.write_text(json.dumps({"annotations": [annotation]}))
    monkeypatch.setenv("MININGMAP_SWINGS__MUTED", '["annotations/a", "annotations/b"]')
    result = run("swings", falling, *RANGE, "--beliefs", path)
    assert [event["muted"] for event in json.loads(result.stdout)] == [True] * 3
    assert (
        "miningmap: MININGMAP_SWINGS__MUTED: unknown annotation 'annotations/b'; expected one of: "
        "annotations/a\n"
    ) in result.stderr


def test_the_shipped_beliefs_are_used_without_others(run: Run, falling: Path) -> None:
    result = run("swings", falling, *RANGE)
    assert json.loads(result.stdout)[0]["places"] == []


def test_the_settings_say_when_swings_fire(
    run: Run, falling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_SWINGS__MINUTES", "5")
    monkeypatch.setenv("MININGMAP_SWINGS__OVERRIDES", '{"alpha": {"1h/24h": 0.2}}')
    result = run("swings", falling, *RANGE)
    # 20 percent are lost at the 15th minute, and the 6th in a row fires.
    assert json.loads(result.stdout)[0]["at"] == "2026-11-22T11:20:00Z"


def test_a_file_without_messages_has_no_swings(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    result = run("swings", path, *RANGE)
    assert (result.exit_code, result.stdout) == (0, "[]\n")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--from", "2026-11-22T11:00:00Z"), "Missing option '--to'; see miningmap swings --help"),
        (
            ("--from", "2026-11-22T11:00:00", "--to", "2026-11-22T12:00:00Z"),
            "--from: '2026-11-22T11:00:00' has no time zone; write UTC as 2026-11-22T15:00:00Z",
        ),
        (
            ("--from", "2026-11-22T12:00:00Z", "--to", "2026-11-22T11:59:59Z"),
            "--from: must not be after --to",
        ),
    ],
)
def test_wrong_ranges_are_usage_errors(
    run: Run, falling: Path, options: tuple[str, ...], error: str
) -> None:
    result = run("swings", falling, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"miningmap: {error}\n"


def test_a_line_that_is_no_message_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text('\n{"schema":"report/1"}\n')
    result = run("swings", path, *RANGE)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 2" in result.stderr
    assert result.stderr.count("\n") == 1
