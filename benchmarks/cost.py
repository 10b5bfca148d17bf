"""What a report costs on its way to Redis, counted: it does not depend on the machine or its load.

``python -m benchmarks.cost`` prints the table, and with ``--check`` compares it with
:data:`LIMITS`, which ``make check`` does. No server is needed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from benchmarks.fixtures import MINUTE, begins, print_table
from miningmap.kafka.producer import record_of
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located, Report
from miningmap.settings import Retention
from streams.redis.encoding import claim_arguments, claim_keys
from streams.redis.keys import Generation
from streams.redis.pieces import numbers_by_series, pieces
from streams.worker.batches import decoded
from streams.worker.messages import RawMessage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from streams.worker.batches import Batch

LIMITS: Final = {
    "calls of functions a report": 185.0,
    "bytes to Redis, of those from Kafka": 0.32,
    "scripts a report": 0.024,
}
"""A tenth more than what was counted; a change that exceeds them makes every report dearer."""

POOLS: Final = 20
REPORTS_EACH: Final = 50
_CODES: Final = (
    *("AR", "AU", "BR", "CA", "DE", "ET", "FI", "GB", "IS", "KZ"),
    *("MY", "NO", "PY", "RU", "SE", "CN-SC", "CN-XJ", "US-GA", "US-NY", "US-TX"),
)
_NOON: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_random: Final = random.Random(3)  # noqa: S311 - not a secret: the same figures in every run


def main() -> None:
    """Print what is counted; with ``--check`` say what is too much, and end with 1."""
    found = _counted(_messages())
    if "--check" not in sys.argv[1:]:
        rows = [(name, f"{value:.3f}", f"{LIMITS[name]:g}") for name, value in found.items()]
        print_table("The cost of a report of 20 places", ("what", "counted", "limit"), rows)
        return
    for name, value in found.items():
        if value > LIMITS[name]:
            sys.exit(f"{name}: {value:.3f}, at most {LIMITS[name]:g} (python -m benchmarks.cost)")


def _messages() -> list[RawMessage]:
    starts = begins(_NOON - REPORTS_EACH * MINUTE, _NOON, MINUTE)
    records = [record_of(_report(n, at)) for at in starts for n in range(POOLS)]
    return [
        RawMessage(REPORTS, 0, offset, record.key, record.value, (), _NOON.timestamp())
        for offset, record in enumerate(records)
    ]


def _report(pool: int, start: datetime) -> Report:
    places = tuple(Located(code, _random.random() * 1e18, "measured") for code in _CODES)
    end = start + MINUTE
    return Report(
        pool=f"pool{pool:03}",
        source="own",
        start=start,
        end=end,
        hold_s=300,
        hashrate=sum(place.hashrate for place in places) + 1.0,
        places=places,
        fetched_at=end,
        simulated=True,
    )


def _counted(raw: Sequence[RawMessage]) -> dict[str, float]:
    asyncio.run(decoded(raw, {}, Retention(), _NOON))  # what is cached is there from here on
    calls: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        calls[event] += 1

    sys.setprofile(count)
    try:
        batch = asyncio.run(decoded(raw, {}, Retention(), _NOON))
        written = _written(batch)
    finally:
        sys.setprofile(None)
    read = sum(len(message.value or b"") for message in raw)
    return dict(
        zip(
            LIMITS,
            (
                (calls["call"] + calls["c_call"]) / len(raw),
                sum(map(len, written)) / read,
                sum(len(numbers_by_series(p.claimed)) for p in pieces(batch.decoded.claimed))
                / len(raw),
            ),
            strict=True,
        )
    )


def _written(batch: Batch) -> list[bytes]:
    """Return the arguments of all scripts."""
    arguments = []
    for piece in pieces(batch.decoded.claimed):
        for series, numbers in numbers_by_series(piece.claimed).items():
            of_series = [piece.claimed[number] for number in numbers]
            claims = [claim for _, claims in of_series for claim in claims]
            arguments += [key.encode() for key in claim_keys(Generation(1), series, claims)]
            arguments += [a for claimed in of_series for a in claim_arguments(*claimed)]
    return arguments


if __name__ == "__main__":
    main()
