"""Messages and beliefs of a made-up winter, and editions that are made from them."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from miningmap.messages import encode
from tests.streams.fixtures import network, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from miningmap.messages import Message
    from tests.cli.conftest import Run

START: Final = datetime(2025, 12, 1, tzinfo=UTC)
DAYS: Final = 90
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)

BELIEFS: Final[dict[str, Any]] = {
    "network": [
        {
            "id": "network/one",
            "publisher": "One",
            "source": "https://one.example/table",
            "series": [
                {"from": "2025-01-01", "weights": {"US": 3, "KZ": 1}},
                {"from": "2026-02-01", "weights": {"US": 2, "KZ": 1, "OTHER": 1}},
                {"from": "2030-01-01", "weights": {"CN": 1}},
            ],
        },
        {
            "id": "network/two",
            "publisher": "Two",
            "source": "https://two.example/a_(b), copied (at https://two.example/c).",
            "series": [{"from": "2025-01-01", "weights": {"US": 1, "CA": 1}}],
        },
    ],
    "claims": [
        {
            "id": "claims/tx",
            "place": "US-TX",
            "at_least": 4e19,
            "from": "2025-06-01",
            "until": "2027-01-01",
            "pools": ["ocean"],
            "source": "A filing, page 7",
        }
    ],
    "rules": [{"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}],
}


def messages() -> list[Message]:
    """Ninety days: measured and not, by the minute, hour, day and month; one pool ends early."""
    return [*_days(), *_hours(), *_minutes(), _month()]


def _days() -> Iterator[Message]:
    for number in range(DAYS):
        at = START + number * DAY
        yield network(8e20 + number * 1e17, start=at, end=at + DAY)
        located = {"US-TX": 1e20 / 3, "US": 2e19, "CN-ZJ": 1e19, "CN-SC": 3e19 + number * 1e16}
        yield report("foundryusa", located, hashrate=2e20, start=at, end=at + DAY)
        if number < 40:
            yield report("luxor", {"KZ": 1e19}, start=at, end=at + DAY, kind="estimated")


def _hours() -> Iterator[Message]:
    for number in range(DAYS * 24):
        at = START + number * HOUR
        yield report("ocean", hashrate=1e20 + number * 1e15, start=at, end=at + HOUR)


def _minutes() -> Iterator[Message]:
    for number in range(0, 24 * 60, 2):
        at = START + 33 * DAY + timedelta(minutes=number)
        yield report("antpool", {"CN": 1e19 / 7}, hashrate=3e19, start=at, hold_s=60)


def _month() -> Message:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return report("viabtc", {"IS": 1e18, "NO": 0.0}, start=start, end=start + 31 * DAY)


def write(path: Path, given: Sequence[Message]) -> Path:
    path.write_bytes(b"".join(encode(message) + b"\n" for message in given))
    return path


def write_beliefs(path: Path, document: Any = BELIEFS) -> Path:
    path.write_text(json.dumps(document))
    return path


def make(run: Run, output: Path, file: Path, *words: str | Path) -> str:
    """Make an edition of December to February, and return its digest."""
    span = () if "--from" in words else ("--from", "2025-12", "--to", "2026-03")
    result = run("dataset", *span, "-o", output, "--messages", file, *words)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
