"""What a report costs on its way to Redis and in shares, counted: no machine or load changes it.

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
from miningmap.precedence import Precedence
from miningmap.settings import Retention
from streams.method.beliefs import Beliefs, Document, Entry
from streams.method.cells import Cell
from streams.method.cohort import Earlier
from streams.method.observations import Observation, Observations
from streams.method.tables import Rows
from streams.method.windows import parse_window
from streams.queries.shares import shares_of
from streams.redis.encoding import claim_arguments, claim_keys
from streams.redis.keys import Generation
from streams.redis.pieces import numbers_by_series, pieces
from streams.worker.batches import decoded
from streams.worker.messages import RawMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from streams.method.shares import Shares
    from streams.worker.batches import Batch

LIMITS: Final = {
    "calls of functions a report": 185.0,
    "bytes to Redis, of those from Kafka": 0.32,
    "scripts a report": 0.024,
    "calls of functions a pool, all of which are new": 54.0,
    "calls of functions a pool, a twelfth of which are new": 22.0,
}
"""A tenth more than what was counted; a change that exceeds them makes every report, snapshot or
bucket of a history dearer."""

POOLS: Final = 20
REPORTS_EACH: Final = 50
SHARE_POOLS: Final = 240
_CODES: Final = (
    *("AR", "AU", "BR", "CA", "DE", "ET", "FI", "GB", "IS", "KZ"),
    *("MY", "NO", "PY", "RU", "SE", "CN-SC", "CN-XJ", "US-GA", "US-NY", "US-TX"),
)
_NOON: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_BELIEFS: Final = Beliefs(network=[Document("index", [Entry(0, {"US": 0.6, "RU": 0.4})])])
_random: Final = random.Random(3)  # noqa: S311 - not a secret: the same figures in every run


def main() -> None:
    """Print what is counted; with ``--check`` say what is too much, and end with 1."""
    found = dict(zip(LIMITS, (*_counted(_messages()), *_counted_shares()), strict=True))
    if "--check" not in sys.argv[1:]:
        rows = [(name, f"{value:.3f}", f"{LIMITS[name]:g}") for name, value in found.items()]
        title = "The cost of reports and pools of 20 places"
        print_table(title, ("what", "counted", "limit"), rows)
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


def _counted(raw: Sequence[RawMessage]) -> tuple[float, ...]:
    # What is cached is there from here on.
    asyncio.run(decoded(raw, {}, Retention(), _NOON, Precedence()))
    written: list[bytes] = []
    batches: list[Batch] = []

    def write() -> None:
        batches.append(asyncio.run(decoded(raw, {}, Retention(), _NOON, Precedence())))
        written.extend(_written(batches[0]))

    calls = _calls(write)
    read = sum(len(message.value or b"") for message in raw)
    claimed = batches[0].decoded.claimed
    scripts = sum(len(numbers_by_series(piece.claimed)) for piece in pieces(claimed))
    return calls / len(raw), sum(map(len, written)) / read, scripts / len(raw)


def _calls(run: Callable[[], object]) -> int:
    """Return how many functions are called, in Python and in C."""
    calls: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        calls[event] += 1

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls["call"] + calls["c_call"]


def _counted_shares() -> tuple[float, ...]:
    """Return the calls for each pool in a bucket of a history, and in a snapshot."""
    window = parse_window("now", _NOON)
    before, after = (_observed(generation) for generation in range(2))
    pools = dict(before.pools)
    some = {pool: after.pools[pool] for pool in list(pools)[::12]}
    known: list[Shares] = []

    def answer(observed: Observations, earlier: Earlier | None) -> None:
        known.append(shares_of(window, observed, _BELIEFS, earlier=earlier))
        known[-1].countries()

    answer(after, None)  # what is cached is there from here on
    of_all = _calls(lambda: answer(before, None))
    answer(before, Earlier({}, {}))  # a snapshot, which keeps what the next one can use
    earlier = Earlier(before.pools, known[-1].placement.cohort.members)
    changed = Observations(pools | some, before.network)
    of_some = _calls(lambda: answer(changed, earlier))
    return of_all / len(pools), of_some / len(pools)


def _observed(generation: int) -> Observations:
    """Return the observations of pools that measure nine tenths of their places."""
    pools = {}
    for pool in range(SHARE_POOLS):
        report = _report(pool + generation * SHARE_POOLS, _NOON)
        places = Rows.of({(place.code, place.kind): place.hashrate for place in report.places})
        cell = Cell(1, report.hashrate / 0.9, places)
        pools[f"pool{pool:03}"] = {"own": Observation(cell, cell, seen_before=True)}
    return Observations(pools, {})


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
