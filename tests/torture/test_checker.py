"""The checker notices what it is there for: every test plants one fault and sees it found."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.asyncio import Redis

from miningmap import settings as config
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from streams.worker import group_reader
from tests.streams.processes import processed, publish, streams
from tests.torture.checker import Verdict, check
from tests.torture.history import History, read
from tests.torture.load import rfc3339
from tests.torture.model import DAY_S, Arrived, Kept, Name, Statement, Value, cells, statement_of
from tests.torture.observed import Log, Stored, read_cells, read_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from miningmap.settings import Settings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()


def report(number: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    start = NOW - timedelta(minutes=60 - minute)
    figure = int(1e18) + number * 10**9
    return {
        "schema": "report/1",
        "pool": "a",
        "source": "partner",
        "start": rfc3339(start),
        "end": rfc3339(start + timedelta(minutes=1)),
        "hold_s": 60,
        "hashrate": figure,
        "places": [{"code": "KZ", "hashrate": figure // 4, "kind": "measured"}],
        **more,
    }


def in_kafka(fields: dict[str, Any], offset: int) -> Stored:
    value = json.dumps({"fetched_at": rfc3339(NOW), "simulated": False, **fields}).encode()
    return Stored(REPORTS, 0, offset, AT, b"a", value, {})


class World:
    """A run in which nothing went wrong, until a test changes it."""

    def __init__(self) -> None:
        self.history = History()
        self.records: list[Stored] = []
        for minute in range(3):
            self.send(report(minute, minute))
        self.poll(int(2e18))
        self.ahead = 0

    def send(self, fields: dict[str, Any], *, arrives: bool = True) -> None:
        operation = self.history.begin("a", "reports", [fields])
        self.history.attempt(operation)
        self.history.end(operation, "acknowledged")
        if arrives:
            self.records.append(in_kafka(fields, len(self.records)))

    def poll(self, figure: int) -> None:
        operation = self.history.begin("ocean", "poll", [{"source": "ocean", "hashrate": figure}])
        self.history.attempt(operation)
        fields = report(0, pool="ocean", source="ocean", hashrate=figure)
        self.records.append(in_kafka(fields, len(self.records)))

    def row(self, value: float, *, arrives: bool = True, acknowledged: bool = True) -> None:
        period = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}
        row = {"pool": "rows", **period, "code": "NO", "value": value}
        operation = self.history.begin("rows", "rows", [row])
        self.history.attempt(operation)
        if acknowledged:
            self.history.end(operation, "acknowledged")
        if arrives:
            places = [{"code": "NO", "hashrate": value * 1e18, "kind": "measured"}]
            more: dict[str, Any] = {"pool": "rows", **period, "hold_s": 0, "places": places}
            fetched = rfc3339(NOW + timedelta(seconds=len(self.records)))
            fields = report(0, hashrate=value * 1e18, fetched_at=fetched, **more)
            self.records.append(in_kafka(fields, len(self.records)))

    def cells(self) -> dict[Name, Value]:
        said = ((each, statement_of(each.value)) for each in self.records)
        return cells(Arrived(statement, each.at) for each, statement in said if statement)

    def verdict(self, found: dict[Name, Value] | None = None) -> Verdict:
        ends = {(REPORTS, 0): len(self.records)}
        log = Log(self.records, ends, {(REPORTS, 0): len(self.records) + self.ahead})
        return check(self.history, log, self.cells() if found is None else found)


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_wrong_with_a_run_in_which_nothing_went_wrong(world: World) -> None:
    world.row(1.0)
    world.row(2.0)
    world.row(3.0, arrives=False, acknowledged=False)
    verdict = world.verdict()
    assert verdict.ok, verdict
    assert verdict.counts["acknowledged"] == 5
    assert verdict.counts["cells"] > 10


def test_an_acknowledged_message_that_is_not_in_kafka_is_lost(world: World) -> None:
    del world.records[1]
    assert [text.split(":")[0] for text in world.verdict().lost] == [
        "acknowledged and not in Kafka"
    ]


def test_an_invented_acknowledgement_is_a_loss(world: World) -> None:
    world.send(report(9), arrives=False)
    assert len(world.verdict().lost) == 1


def test_a_message_may_be_there_as_often_as_it_was_sent(world: World) -> None:
    world.records.append(replace(world.records[0], offset=len(world.records)))
    verdict = world.verdict()
    assert len(verdict.doubled) == 1, verdict
    world.history.operations[0].attempts += 1
    assert world.verdict().ok


def test_polls_that_are_missing_or_there_twice_are_counted(world: World) -> None:
    poll = world.records.pop(3)
    assert world.verdict().counts["polls not in Kafka"] == 1
    world.records += [poll, replace(poll, offset=4)]
    verdict = world.verdict()
    assert verdict.ok
    assert verdict.counts["polls twice in Kafka"] == 1


def test_a_message_that_nobody_sent_is_invented(world: World) -> None:
    world.records.append(in_kafka(report(77), len(world.records)))
    assert len(world.verdict().doubled) == 1


def test_a_message_that_differs_from_what_was_sent_is_wrong(world: World) -> None:
    fields = report(0) | {"hold_s": 120}
    world.records[0] = in_kafka(fields, 0)
    assert len(world.verdict().wrong) == 1


def test_a_row_that_was_acknowledged_is_in_the_newest_report(world: World) -> None:
    world.row(1.0)
    world.row(2.0, arrives=False)
    assert len(world.verdict().wrong) == 1
    world.row(3.0)
    assert world.verdict().ok


def test_a_row_that_the_newest_report_lacks_is_lost(world: World) -> None:
    world.row(1.0)
    fields = json.loads(world.records[-1].value) | {"places": [], "fetched_at": rfc3339(NOW)}
    fields["fetched_at"] = "2026-11-22T13:00:00Z"
    world.records.append(in_kafka(fields, len(world.records)))
    assert len(world.verdict().lost) == 1


def test_a_row_of_unknown_outcome_may_take_effect_later(world: World) -> None:
    world.row(1.0, arrives=False, acknowledged=False)
    world.row(2.0)
    world.records.append(world.records[-1])
    world.records.pop()
    assert world.verdict().ok
    late = json.loads(world.records[-1].value)
    late["places"][0]["hashrate"] = late["hashrate"] = 1e18
    late["fetched_at"] = "2026-11-22T13:00:00Z"
    world.records.append(in_kafka(late, len(world.records)))
    assert world.verdict().ok


@pytest.mark.parametrize(
    ("plant", "list_"),
    [
        (lambda _: None, "lost"),
        (lambda value: replace(value, total=2 * value.total, minutes=2 * value.minutes), "doubled"),
        (lambda value: replace(value, total=2 * value.total), "doubled"),
        (lambda value: replace(value, total=1.000001 * value.total), "wrong"),
        (lambda value: replace(value, places={}), "wrong"),
    ],
)
@pytest.mark.parametrize("form", ["claim", "sum"])
def test_a_cell_that_lacks_or_differs_is_noticed(
    world: World, form: str, plant: Callable[[Value], Value | None], list_: str
) -> None:
    found = world.cells()
    name = next(name for name in found if name.form == form and name.pool == "a")
    planted = plant(found.pop(name))
    if planted is not None:
        found[name] = planted
    verdict = world.verdict(found)
    assert [len(each) for each in (verdict.lost, verdict.doubled, verdict.wrong)] == [
        int(list_ == each) for each in ("lost", "doubled", "wrong")
    ]


def test_a_cell_of_no_message_is_invented(world: World) -> None:
    found = world.cells()
    found[Name("a", "partner", "minute", 1, "claim")] = Value(1, 1.0, {})
    assert len(world.verdict(found).doubled) == 1


def test_what_is_not_consumed_is_lost_and_what_does_not_exist_cannot_be(world: World) -> None:
    world.ahead = -1
    assert len(world.verdict().lost) == 1
    world.ahead = 1
    assert len(world.verdict().wrong) == 1


def test_what_cannot_be_read_must_be_a_dead_letter_and_nothing_else_may(world: World) -> None:
    number = len(world.records)
    poison = Stored(REPORTS, 0, number, AT, b"a", b"{", {})
    world.records.append(poison)
    assert len(world.verdict().lost) == 1
    headers = {"reason": b"undecodable", "topic": REPORTS.encode(), "partition": b"0"}
    letter = Stored(DEAD_LETTERS, 0, 0, AT, b"a", b"{", {**headers, "offset": b"%d" % number})
    world.records.append(letter)
    assert world.verdict().ok
    world.records.append(replace(letter, headers={**headers, "offset": b"0"}))
    assert len(world.verdict().wrong) == 1


def test_the_history_is_read_back_from_its_file(world: World, tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for operation in world.history.operations:
        again = history.begin(operation.client, operation.kind, operation.content)
        history.attempt(again)
        if operation.outcome != "unknown":
            history.end(again, operation.outcome)
    history.note("strike", fault="none")
    history.close()
    assert read(tmp_path / "history.jsonl").operations == world.history.operations


# --- the model ------------------------------------------------------------------------------------


def said(start: float, end: float, hashrate: float, **more: Any) -> Arrived:
    fields = {"pool": "a", "source": "s", "hold_s": 0, **more}
    return Arrived(Statement(start=start, end=end, hashrate=hashrate, **fields), AT)


def by_tier(*arrived: Arrived) -> dict[tuple[str, str], list[tuple[int, float]]]:
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name, value in sorted(cells(arrived).items(), key=lambda item: item[0].number):
        found.setdefault((name.tier, name.form), []).append((value.minutes, value.total))
    return found


def test_covered_beats_held_then_the_later_end_then_the_later_fetched_at() -> None:
    first = said(AT - 3600, AT - 3540, 1.0, hold_s=120)
    second = said(AT - 3540, AT - 3480, 2.0)
    late = said(AT - 3530, AT - 3485, 9.0)
    corrected = said(AT - 3540, AT - 3480, 3.0, fetched_at=5.0)
    assert by_tier(first, second) == by_tier(second, first)
    assert by_tier(first, second, late, corrected)["minute", "claim"] == [
        (1, 1.0),
        (1, 3.0),
        (1, 1.0),
    ]
    assert by_tier(first, second)["hour", "sum"] == [(3, 4.0)]


def test_an_hour_that_is_claimed_directly_wins_over_its_minutes_and_the_shorter_report_wins() -> (
    None
):
    day = said(AT - AT % DAY_S - DAY_S, AT - AT % DAY_S, 1.0)
    hour = said(AT - AT % DAY_S - 3600, AT - AT % DAY_S, 5.0)
    minute = said(AT - AT % DAY_S - 60, AT - AT % DAY_S, 7.0)
    found = by_tier(day, hour, minute)
    assert found["hour", "claim"] == [(60, 60.0)] * 23 + [(60, 300.0)]
    assert found["day", "sum"] == [(1440, 23 * 60 + 300.0)]


def test_whole_days_past_the_hours_are_claimed_directly() -> None:
    start = AT - AT % DAY_S - 60 * DAY_S
    month = said(start, start + 3 * DAY_S, 1.0)
    assert by_tier(month, said(start, start + DAY_S, 2.0)) == {
        ("day", "claim"): [(1440, 2880.0), (1440, 1440.0), (1440, 1440.0)]
    }
    assert not cells([said(AT - 50 * 3600, AT - 50 * 3600 + 60, 1.0)], Kept())


# --- on real servers ------------------------------------------------------------------------------


@pytest.fixture
def live(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    settings.retention = config.Retention(minutes_h=10_000_000, hours_d=400_000)
    return settings


@pytest.mark.usefixtures("clean_kafka")
async def test_planted_faults_are_noticed_in_a_real_kafka_and_a_real_redis(live: Settings) -> None:
    kept = Kept(live.retention.minutes_h, live.retention.hours_d)
    servers, url = live.kafka.bootstrap_servers, live.redis.url.get_secret_value()
    world = World()
    messages = [statement.value for statement in world.records]

    async def judge() -> Verdict:
        await processed(live)
        log = await read_log(servers, live.kafka.group)
        return check(world.history, log, await read_cells(url), kept)

    async def send(*values: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for value in values:
                key = str(json.loads(value)["pool"]).encode()
                await producer.send_and_wait(REPORTS, value, key=key)

    async with streams(live):
        await publish(live, [])
        await send(*messages)
        assert (await judge()).ok

        await send(messages[0])  # a broker or a producer that doubles
        verdict = await judge()
        assert [len(verdict.lost), len(verdict.doubled), len(verdict.wrong)] == [0, 1, 0]
        world.history.operations[0].attempts += 1
        assert (await judge()).ok

        world.send(report(50), arrives=False)  # an acknowledgement of what never arrived
        assert len((await judge()).lost) == 1
        world.history.operations.pop()

    async with Redis.from_url(url) as redis:  # a store that loses, and one that counts twice
        (key,) = [key async for key in redis.scan_iter("*{p:ocean}*:m:*")]
        kept_cell = cast("dict[Any, Any]", await redis.hgetall(key))
        await redis.delete(key)
        assert len((await judge()).lost) == len(kept_cell)
        await redis.hset(key, mapping=kept_cell)
        (first, *_) = kept_cell
        await redis.hset(key, b"59" if first != b"59" else b"58", kept_cell[first])
        assert len((await judge()).doubled) == 1
        await redis.delete(key)
        await redis.hset(key, mapping=kept_cell)

    # A group that acknowledges what does not exist.
    async with AIOKafkaConsumer(bootstrap_servers=servers, group_id=live.kafka.group) as consumer:
        consumer.assign([TopicPartition(NETWORK, 0)])
        await consumer.commit({TopicPartition(NETWORK, 0): 5})
    assert len((await judge()).wrong) == 1
