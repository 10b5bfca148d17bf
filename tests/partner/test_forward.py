"""Rows from an input through a spool to the real intake, which refuses and goes away."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.intake.rate_limit import Rate, RateLimiter
from miningmap.live_rows import PATH
from miningmap.partner.http import ContributeError, intake_client, send_reports
from miningmap.partner.live import forward
from miningmap.partner.live.forward import MAX_ROW, Forwarder, new_row
from miningmap.partner.live.pace import Pace
from miningmap.partner.live.spool import Spool
from miningmap.settings import Intake
from miningmap.spool import SpoolError
from miningmap.times import rfc3339
from tests.cases import all_cases
from tests.clock import Clock
from tests.full_disk import full_disk
from tests.partner.live_intake import TOKEN, TOO_LARGE, LiveIntake, lines, row, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from miningmap.live_rows import LiveRow
    from miningmap.partner.live.lines import Chunk

ROOM = 10**7


class Input:
    """Lines that a test gives one after the other."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self.taken = 0

    def give(self, *rows: dict[str, Any] | bytes) -> None:
        """Give rows, or lines as they are, as one chunk."""
        self._chunks.put_nowait(
            [line if isinstance(line, bytes) else json.dumps(line).encode() for line in rows]
        )

    def end(self) -> None:
        self._chunks.put_nowait(None)

    async def chunks(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._chunks.get()) is not None:
            self.taken += 1
            yield chunk


class Bench:
    """A forwarder between an input and an intake, whose waits take no time."""

    def __init__(self, intake: LiveIntake, folder: Path, max_bytes: int = ROOM) -> None:
        self.intake = intake
        self.input = Input()
        self.said: list[str] = []
        self.waits: list[float] = []
        self.requests: list[int] = []
        self._client = intake_client()
        self.spool = Spool(folder, max_bytes)
        self.went_on = asyncio.Event()
        self.went_on.set()
        self.stops_at: str | None = None  # waits no longer end once such a line was said
        clock = Clock()

        async def pause(seconds: float) -> None:
            self.waits += [seconds] * (seconds > 0)
            clock.now += seconds
            await self.went_on.wait()
            await asyncio.sleep(0)

        self.forwarder = Forwarder(self.spool, self._post, self._say, pause=pause, clock=clock)

    def _say(self, line: str) -> None:
        self.said.append(line)
        if self.stops_at is not None and self.stops_at in line:
            self.went_on.clear()

    async def _post(self, rows: Sequence[bytes]) -> None:
        self.requests.append(len(rows))
        raw = [cast("LiveRow", msgspec.Raw(row)) for row in rows]
        await send_reports(self._client, self.intake.url + PATH, TOKEN, raw)

    async def run(self) -> None:
        async with asyncio.timeout(30), self._client:
            await self.forwarder.run(self.input.chunks())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run during the block, and until the end of the input that follows it."""
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(self.run())
            yield
            self.input.end()

    async def until(self, what: str) -> None:
        """Wait until a line that contains this was said."""
        await until(lambda: any(what in line for line in self.said))


@pytest.fixture
def intake() -> LiveIntake:
    return LiveIntake()


@pytest.fixture
def bench(intake: LiveIntake, tmp_path: Path) -> Any:
    bench = Bench(intake, tmp_path / "spool")
    with closing(bench.spool):
        yield bench


async def test_each_row_is_sent_as_it_comes(bench: Bench, intake: LiveIntake) -> None:
    async with intake.running(), bench.running():
        for number in range(3):
            bench.input.give(row(number))
            await intake.until(number + 1)
    assert intake.hashrates() == [0, 1, 2]
    assert [place.code for place in intake.reports[0].places] == ["US-TX"]
    assert bench.requests == [1, 1, 1]
    assert (bench.said, bench.waits, len(bench.spool)) == ([], [], 0)


async def test_rows_wait_while_the_intake_is_away_and_are_sent_in_order_when_it_is_back(
    bench: Bench, intake: LiveIntake
) -> None:
    async with bench.running():
        for first in range(0, 1440, 16):
            bench.input.give(*map(row, range(first, first + 16)))
        await bench.until("no answer from")
        await until(lambda: len(bench.spool) == 1440 and len(bench.waits) >= 12)
        async with intake.running():
            await intake.until(1440)
    assert intake.hashrates() == list(range(1440))
    assert bench.said[0].startswith(f"no answer from {intake.url}{PATH}: ")
    assert bench.said[1:] == ["the intake answers again; 440 more wait"]
    assert bench.requests[-2:] == [1000, 440]
    assert all(0.5 <= wait <= 1 for wait in bench.waits[:1])
    assert all(30 <= wait <= 60 for wait in bench.waits[7:12])


async def test_of_two_rows_for_one_minute_that_wait_the_later_one_is_sent(
    bench: Bench, intake: LiveIntake
) -> None:
    """The intake would refuse a request with both."""
    async with bench.running():
        bench.input.give(row(0), row(1))
        await bench.until("no answer from")
        bench.input.give(row(0, hashrate=5))
        await until(lambda: bench.input.taken == 2)
        async with intake.running():
            await intake.until(2)
    assert intake.hashrates() == [1, 5]
    assert not bench.spool.refused_file.exists()


async def test_rows_of_an_earlier_run_are_sent_first(intake: LiveIntake, tmp_path: Path) -> None:
    for first in (0, 2):
        bench = Bench(intake, tmp_path)
        bench.input.give(row(first), row(first + 1))
        bench.input.end()
        with closing(bench.spool):
            await bench.run()
            assert len(bench.spool) == first + 2
            assert "no answer" in str(bench.forwarder.failure)
            assert bench.forwarder.counts.accepted == 0
    bench = Bench(intake, tmp_path)
    bench.input.give(row(4))
    bench.input.end()
    async with intake.running():
        with closing(bench.spool):
            await bench.run()
    assert intake.hashrates() == [0, 1, 2, 3, 4]
    assert bench.forwarder.counts.accepted == 5


async def test_after_the_end_of_the_input_there_are_few_attempts(
    bench: Bench, intake: LiveIntake
) -> None:
    bench.input.give(row(0))
    bench.input.end()
    await bench.run()
    assert forward.ATTEMPTS_AT_END <= len(bench.requests) <= forward.ATTEMPTS_AT_END + 1
    assert len(bench.spool) == 1
    assert intake.reports == []


async def test_rows_that_the_intake_refuses_are_moved_aside_and_the_others_sent(
    bench: Bench, intake: LiveIntake
) -> None:
    bench.input.give(row(0), row(1, hashrate=TOO_LARGE), row(2), row(3, hashrate=2 * TOO_LARGE))
    bench.input.end()
    async with intake.running():
        await bench.run()
    assert intake.hashrates() == [0, 2]
    assert bench.requests == [4, 2]
    (said,) = bench.said
    assert said.startswith(f"the intake refused 2 rows, now in {bench.spool.refused_file}: ")
    assert "hashrate: 3 ZH/s is more than twice the network's 950 EH/s" in said
    refused = [json.loads(line) for line in bench.spool.refused_file.read_text().splitlines()]
    assert [line["row"]["hashrate"] for line in refused] == [TOO_LARGE, 2 * TOO_LARGE]
    assert all(line["reason"].startswith("hashrate: ") for line in refused)
    assert (bench.forwarder.counts.accepted, bench.forwarder.counts.refused) == (2, 2)


async def test_a_row_that_is_refused_without_a_name_is_found_by_halving(
    tmp_path: Path, intake: LiveIntake
) -> None:
    bench = Bench(intake, tmp_path)
    accepted: list[float] = []

    async def post(rows: Sequence[bytes]) -> None:
        sent = [json.loads(line)["hashrate"] for line in rows]
        if 5 in sent:
            raise ContributeError("the proxy answered 413: too large", status=413)
        accepted.extend(sent)

    forwarder = Forwarder(bench.spool, post, bench.said.append)
    bench.input.give(*(row(number) for number in range(9)))
    bench.input.end()
    with closing(bench.spool):
        await forwarder.run(bench.input.chunks())
    assert accepted == [0, 1, 2, 3, 4, 6, 7, 8]
    (said,) = bench.said
    assert said.startswith("the intake refused 1 row, now in ")
    assert said.endswith(": the proxy answered 413: too large")


async def test_a_422_of_another_server_moves_no_row_aside(
    tmp_path: Path, intake: LiveIntake
) -> None:
    bench = Bench(intake, tmp_path)

    async def post(rows: Sequence[bytes]) -> None:
        assert rows
        raise ContributeError("a login page answered 422: what?", status=422)

    forwarder = Forwarder(bench.spool, post, bench.said.append)
    bench.input.give(row(0), row(1))
    bench.input.end()
    with closing(bench.spool):
        await forwarder.run(bench.input.chunks())
        assert len(bench.spool) == 2
    assert not bench.spool.refused_file.exists()
    assert forwarder.counts.refused == 0


async def test_a_revoked_token_is_said_once_and_tried_again_slowly_until_it_is_valid(
    bench: Bench, intake: LiveIntake
) -> None:
    intake.tokens.clear()
    async with intake.running(), bench.running():
        bench.input.give(row(0))
        await until(lambda: intake.statuses[401] >= 3)
        intake.tokens.add(TOKEN)
        await intake.until(1)
    assert set(bench.waits) == {forward.SLOW_WAIT_S}
    first, second = bench.said
    assert first == (
        f"{intake.url}{PATH} answered 401: Invalid bearer token; ask the operator of the map for "
        "a valid token; rows wait in the spool and are tried again"
    )
    assert second == "the intake answers again"
    assert TOKEN not in str(bench.said)


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    intake = LiveIntake([Rate(1, 40)])
    bench = Bench(intake, tmp_path)
    async with intake.running():
        with closing(bench.spool):
            async with bench.running():
                bench.input.give(row(0))
                await intake.until(1)
                bench.input.give(row(1))
                await bench.until("answered 429")
    assert bench.waits[0] >= 39
    assert intake.hashrates()[0] == 0


async def test_a_full_disk_ends_nothing_and_loses_no_row(
    bench: Bench, intake: LiveIntake, tmp_path: Path
) -> None:
    async with intake.running(), bench.running():
        bench.input.give(row(1))
        await intake.until(1)
        await until(lambda: len(bench.spool) == 0)
        bench.went_on.clear()
        with full_disk():
            bench.input.give(row(2), row(3))
            bench.input.give(row(4))
            await bench.until("wait until the spool can be used")
        assert bench.input.taken == 2
        bench.went_on.set()
        await intake.until(4)
    assert intake.hashrates() == [1, 2, 3, 4]
    assert bench.said == [
        f"spool {tmp_path}/spool: disk I/O error; rows wait until the spool can be used again",
        "the spool can be used again",
    ]


async def test_rows_that_cannot_be_removed_from_a_full_disk_are_sent_once(
    bench: Bench, intake: LiveIntake
) -> None:
    async with bench.running():
        bench.went_on.clear()
        bench.input.give(row(1), row(2))
        await until(lambda: len(bench.spool) == 2)
        async with intake.running():
            bench.stops_at = "wait until the spool can be used"
            with full_disk():
                bench.went_on.set()
                await bench.until(bench.stops_at)
            bench.went_on.set()
            bench.input.give(row(3))
            await intake.until(3)
    assert intake.hashrates() == [1, 2, 3]


async def test_a_disk_that_stays_full_ends_the_command(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "LONGEST_WAIT_FOR_DISK_S", 3 * forward.DISK_WAIT_S)
    bench.input.give(row(1))
    with full_disk(), pytest.raises(ExceptionGroup) as caught:
        await bench.run()
    assert caught.group_contains(SpoolError)
    assert bench.waits.count(forward.DISK_WAIT_S) >= 3


async def test_a_full_spool_drops_the_oldest_rows_while_the_intake_is_away(
    tmp_path: Path, intake: LiveIntake
) -> None:
    bench = Bench(intake, tmp_path, max_bytes=20_000)
    with closing(bench.spool):
        async with bench.running():
            bench.input.give(row(0))
            await bench.until("no answer")
            for number in range(1, 500):
                bench.input.give(row(number))
            await until(lambda: bench.input.taken == 500)
            async with intake.running():
                await intake.until(50)
    dropped = 500 - len(intake.reports)
    assert intake.hashrates() == list(range(dropped, 500))
    assert bench.forwarder.counts.dropped == dropped
    assert bench.said[1:] == [
        "the spool is full: the oldest rows are dropped",
        "the intake answers again",
        f"no more rows are dropped; {dropped} were",
    ]


async def test_the_input_waits_while_the_intake_is_slower_and_nothing_is_dropped(
    tmp_path: Path, intake: LiveIntake
) -> None:
    bench = Bench(intake, tmp_path, max_bytes=20_000)
    intake.acknowledges.clear()
    async with intake.running():
        with closing(bench.spool):
            async with bench.running():
                for number in range(500):
                    bench.input.give(row(number))
                await intake.until(1)
                await until(lambda: not bench.spool.has_room)
                assert bench.input.taken < 100
                intake.acknowledges.set()
                await intake.until(500)
    assert intake.hashrates() == list(range(500))
    assert bench.forwarder.counts.dropped == 0
    assert bench.said == []


async def test_a_row_whose_acceptance_was_not_heard_is_sent_again(
    tmp_path: Path, intake: LiveIntake
) -> None:
    intake.acknowledges.clear()
    async with intake.running():
        bench = Bench(intake, tmp_path)
        bench.input.give(row(0))
        running = asyncio.create_task(bench.run())
        await intake.until(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(bench.spool) == 1
        bench.spool.close()
        intake.acknowledges.set()
        bench = Bench(intake, tmp_path)
        bench.input.end()
        with closing(bench.spool):
            await bench.run()
            assert len(bench.spool) == 0
    first, second = intake.reports
    assert (first.start, first.end, first.places) == (second.start, second.end, second.places)


# --- lines ----------------------------------------------------------------------------------------


async def test_invalid_lines_are_named_and_skipped(bench: Bench, intake: LiveIntake) -> None:
    bench.input.give(row(0), b"", b"{", row(1, places=[{"code": "UK", "hashrate": 1}]))
    bench.input.give(b"[]", row(2, hold=5), row(3), b'{"hashrate":1e999}')
    bench.input.end()
    async with intake.running():
        await bench.run()
    assert intake.hashrates() == [0, 3]
    assert [said.split(": ")[:2] for said in bench.said] == [
        ["line 3", "not JSON"],
        ["line 4", "places[0].code"],
        ["line 5", "a row is an object with start, end, hashrate, places; skipped"],
        ["line 6", "hold"],
        ["line 8", "a number is out of range; expected finite numbers; skipped"],
    ]
    assert bench.forwarder.counts.skipped == 5


@all_cases(
    ("line", "error"),
    [
        (None, f"longer than {MAX_ROW} bytes"),
        (b" " * (MAX_ROW + 1), f"longer than {MAX_ROW} bytes"),
        (lines([row(-60 * 19, hashrate=1)]), "end: over 48 h ago; the map has no use for it"),
        (lines([row(60 * 40)]), "end: "),
        (lines([row(0, places=[{"code": "US", "hashrate": 1}])]), "places add up to 1 H/s, more"),
    ],
)
def test_a_row_is_checked_before_it_is_taken(line: bytes | None, error: str) -> None:
    with pytest.raises(ValueError, match="^" + error):
        new_row(line)


def test_longer_rows_are_of_use_for_longer() -> None:
    start = row(0)["start"]
    midnight = row(0)["start"][:11] + "00:00:00Z"
    day_before = rfc3339(datetime.fromisoformat(midnight) - timedelta(days=1))
    minute, hour, day = (
        new_row(*lines([row(0, start=start_, end=end)]).splitlines())
        for start_, end in ((start, row(0)["end"]), (start, row(59)["end"]), (day_before, midnight))
    )
    assert hour.expires - minute.expires == pytest.approx(33 * 86_400 + 59 * 60)
    assert day.expires == math.inf
    assert len({minute.key, hour.key, day.key}) == 3


def test_rows_that_end_together_and_claim_other_minutes_are_both_kept() -> None:
    five_minutes = row(0, start=row(-4)["start"])
    held = row(0, hold_s=300)
    keys = [new_row(lines([each])).key for each in (row(0), five_minutes, held, row(0, hashrate=5))]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


# --- the pace -------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0, 0, 0, 0.1, 1, 7, 60, 5000]), min_size=1, max_size=400))
def test_the_pace_stays_within_the_default_rates_of_an_intake(pauses: list[float]) -> None:
    clock = Clock()
    pace = Pace(clock)
    limiter = RateLimiter((Rate(*rate) for rate in Intake().rates), clock)
    for pause_s in pauses:
        clock.now += pause_s
        clock.now += pace.wait_s()
        assert limiter.wait_s("token") == 0


def test_the_pace_lets_a_days_backlog_through_at_once() -> None:
    pace = Pace(Clock())
    assert [pace.wait_s() for _ in range(12)] == [0] * 10 + [7.5, 15]
