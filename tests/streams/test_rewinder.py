"""A Redis that has lost what was applied gets it again from Kafka, and nobody reads half of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from redis import RedisError

from miningmap import settings as config
from miningmap.kafka.clients import groupless_consumer
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.times import rfc3339, utc_now
from streams.method.beliefs import Beliefs
from streams.queries.history import HistoryParameters
from streams.queries.parameters import SharesParameters
from streams.queries.snapshot import compute_answer
from streams.queries.stored_history import StoredHistories
from streams.rebuild import RebuildError, rebuild
from streams.redis import keys
from streams.redis.expiry import first_kept
from streams.redis.generations import Filled, RebuildingError
from streams.redis.store import Store
from streams.worker import group_reader, rewinder
from streams.worker.messages import TOPICS as APPLIED
from tests.servers import ROOT, kafka_at
from tests.streams.fixtures import at_once, network, report
from tests.streams.processes import StreamsProcess, streams, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from miningmap.settings import Settings
    from tests.servers import RedisServer

pytestmark = pytest.mark.usefixtures("clean_kafka")

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POOLS = ("a", "b", "c", "d", "e", "f")
HOW = {b"stamp", b"oldest"}
Cells = dict[str, dict[bytes, bytes]]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which the service in this process does not wait long."""
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    monkeypatch.setattr(rewinder, "CHECK_S", 0.05)
    settings.streams.snapshot_s = 0.2
    return settings


# --- a world whose polls are older than the retention of minutes ----------------------------------


def polls(now: datetime) -> list[tuple[datetime, Message]]:
    """Polls of a month, each with the time at which it was written, and rows of partners."""
    sent: list[tuple[datetime, Message]] = []
    for hours in range(40 * 24, 0, -5):
        start = (now - hours * HOUR).replace(second=0, microsecond=0)
        at = start + MINUTE + timedelta(seconds=2)
        for n, pool in enumerate(POOLS):
            value = 1e18 * (1 + n + hours % 7)
            places = {"US": value, "CN-SC": value / 3}
            # The first pool has a value in most minutes, so that it counts.
            hold_s = 1200 if n else 4 * 3600
            sent.append((at, report(pool, places, start=start, hold_s=hold_s)))
        sent.append((at, network(9e20, start=start, hold_s=1200)))
    for days in range(45, 0, -1):
        start = (now - days * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        row = report("b", {"KZ": 2e18 + days}, source="partner", start=start, end=start + DAY)
        sent.append((start + DAY + HOUR, row))
    week = (now - 44 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    late = report("a", {"CA": 5e18}, source="partner", start=week, end=week + 7 * DAY)
    sent.append((now - 2 * DAY, late))  # past the hours: it claims days
    return sorted(sent, key=lambda each: each[0])


async def write_to_kafka(settings: Settings, sent: Sequence[tuple[datetime, Message]]) -> None:
    """Write messages with the times at which they were written the first time."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        futures = [
            await producer.send(
                record.topic,
                record.value,
                record.key,
                timestamp_ms=round(at.timestamp() * 1000),
            )
            for at, record in ((at, record_of(message)) for at, message in sent)
        ]
        await asyncio.gather(*futures)
    finally:
        await producer.stop()


async def applied(settings: Settings, client: Redis) -> None:
    """Wait until the current generation is whole and has applied all that is in Kafka."""
    store = Store(client, settings.retention)
    async with lag_of(
        kafka_at(settings.kafka.bootstrap_servers), settings.kafka.group, APPLIED
    ) as read_lag:

        async def all_is_there() -> bool:
            ends = {each: at.committed + at.lag for each, at in (await read_lag()).items()}
            current = await store.generations.current()
            return (
                current is not None
                and not current.targets
                and all(current.positions.get(each, -1) >= end for each, end in ends.items())
            )

        await until(all_is_there)


async def cells_of(client: Redis) -> Cells:
    """Every hash of the current generation as it is stored.

    Without what says how it came about, and without hashes that are about to be removed.
    """
    kept = first_kept(config.Retention(), utc_now())
    oldest = {"m": kept.minutes or 0, "h": kept.hours or 0}
    number = int(await client.hget(keys.POSITIONS, "generation") or 0)
    found: Cells = {}
    async for key in client.scan_iter(f"mm:{number}:*"):
        name = key.decode().removeprefix(f"mm:{number}:")
        *_, tier, bucket = f":{name}".split(":")
        if name == "series":
            found[name] = {cast("bytes", each): b"" for each in await client.smembers(key)}
        elif name.endswith(":stamps"):
            continue  # they come from the same digest
        elif tier not in oldest or int(bucket) >= oldest[tier]:
            values = cast("dict[bytes, bytes]", await client.hgetall(key))
            # A digest of every change in its order, and what remains to be removed.
            found[name] = {n: v for n, v in values.items() if n.split(b":")[0] not in HOW}
    return found


async def answers_of(settings: Settings, client: Redis, now: datetime) -> list[bytes]:
    """Answers about every tier: rolling windows, days of polls that are not kept, and a history."""
    store = Store(client, settings.retention)
    days = [(now - n * DAY).date().isoformat() for n in (3, 20, 37)]
    windows = [
        {"window": window} for window in ("24h", "7d", "30d", f"{now - 32 * DAY:%Y-%m}", *days)
    ]
    answers: list[Any] = [
        await compute_answer(store.cells, SharesParameters.parse(each).query(now), Beliefs())
        for each in windows
    ]
    history = {"code": "US,CN-SC", "step": "day", "from": days[-1], "to": days[0]}
    query = HistoryParameters.parse(history).query(now)
    known = await store.cells.read([])
    answers.append(await StoredHistories(store.cells, Beliefs()).compute(query, known, at_once))
    return list(map(msgspec.json.encode, answers))


async def letters(settings: Settings) -> int:
    """The number of dead letters in Kafka."""
    partition = TopicPartition(DEAD_LETTERS, 0)
    async with groupless_consumer(kafka_at(settings.kafka.bootstrap_servers)) as consumer:
        ends = await consumer.end_offsets([partition])
    return int(ends[partition])


async def has_letters(settings: Settings) -> bool:
    return await letters(settings) > 0


@asynccontextmanager
async def filled(settings: Settings, client: Redis) -> AsyncIterator[Cells]:
    """Run the service on a world of which all is applied; yield its cells."""
    await write_to_kafka(settings, polls(utc_now()))
    async with streams(settings):
        await publish(settings, [], Record(REPORTS, b"a", b"poison"))
        await until(lambda: has_letters(settings))
        await applied(settings, client)
        yield await cells_of(client)


async def publish(settings: Settings, messages: Sequence[Message], *raw: Record) -> None:
    async with Publisher(settings.kafka, frozenset({REPORTS, NETWORK})) as publisher:
        await publisher.publish([*map(record_of, messages), *raw])


# --- Redis comes back without what was applied ----------------------------------------------------


async def test_a_redis_that_is_flushed_while_idle_gets_every_cell_again(
    settings: Settings, client: Redis
) -> None:
    now = utc_now()
    async with filled(settings, client) as before:
        dead = await letters(settings)
        answers = await answers_of(settings, client, now)
        with structlog.testing.capture_logs() as log:

            async def has_finished() -> bool:
                return "rewind_finished" in [each["event"] for each in log]

            await client.flushall()
            await until(has_finished)  # said after the last position has arrived in Redis
            await applied(settings, client)
        assert await cells_of(client) == before
        assert len(before) > 300
        assert await answers_of(settings, client, now) == answers
        # Of the month there may be too few days.
        assert sum(b'"US"' in answer for answer in answers) >= len(answers) - 1
        assert await letters(settings) == dead
    assert "redis_is_empty" in [each["event"] for each in log]


def without_letters(cells: Cells) -> Cells:
    """The cells alone: a group that is new to poison writes letters of its own."""
    return {name: values for name, values in cells.items() if name != "refused"}


async def has_generation(client: Redis) -> bool:
    try:
        return bool(await client.exists(keys.POSITIONS))
    except RedisError:  # a connection of before a restart
        return False


async def test_a_redis_that_is_flushed_while_messages_arrive_gets_every_cell_again(
    settings: Settings, client: Redis
) -> None:
    async with filled(settings, client):
        now = utc_now().replace(second=0, microsecond=0)
        for n in range(12):
            some = [
                report(pool, {"US": 1e18 + n}, start=now - (n + 2) * MINUTE, hold_s=60)
                for pool in POOLS
            ]
            await publish(settings, some)
            if n % 4 == 3:
                await client.flushall()
        await until(lambda: has_generation(client))
        await applied(settings, client)
        found = await cells_of(client)
        dead = await letters(settings)
    # What a service that starts on an empty Redis makes of the same messages.
    await client.flushall()
    settings.kafka.group += "-another"
    async with streams(settings):
        await until(lambda: has_generation(client))
        await applied(settings, client)
        assert without_letters(await cells_of(client)) == without_letters(found)
    assert dead == 1


async def test_no_reader_sees_a_part_of_what_is_being_filled(
    settings: Settings, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(client, settings.retention)
    async with filled(settings, client):
        await until(lambda: has_snapshot(store))
        whole = len([*(await store.cells.read([])).series()])
        monkeypatch.setattr(settings.streams, "batch", 20)
        await client.flushall()
        seen = set[int]()
        rebuilding = 0
        while whole not in seen:
            try:
                seen.add(len([*(await store.cells.read([])).series()]))
            except RebuildingError:
                assert await store.snapshots.read() == {}
                rebuilding += 1
        assert seen == {whole}
        assert rebuilding
        await until(lambda: has_snapshot(store))


async def has_snapshot(store: Store) -> bool:
    return bool(await store.snapshots.read())


async def test_a_redis_that_is_restored_from_an_older_dump_gets_what_it_lacks(
    settings: Settings, client: Redis
) -> None:
    sent = polls(utc_now())
    third = len(sent) // 3
    async with streams(settings):
        await write_to_kafka(settings, sent[:third])
        await applied(settings, client)
        dump = {key: await client.dump(key) async for key in client.scan_iter("mm:*")}
        await write_to_kafka(settings, sent[third:])
        await applied(settings, client)
        before = await cells_of(client)
        with structlog.testing.capture_logs() as log:
            async with client.pipeline(transaction=True) as pipe:
                pipe.flushall()
                for key, value in dump.items():
                    pipe.restore(key, 0, value or b"")
                await pipe.execute()
            await applied(settings, client)
        assert await cells_of(client) == before
    assert "rewind_started" in [each["event"] for each in log]


async def test_a_redis_that_is_restarted_without_its_log_gets_every_cell_again(
    settings: Settings, client: Redis, redis: RedisServer
) -> None:
    async with filled(settings, client) as before:
        redis.stop(signal.SIGKILL)
        await asyncio.to_thread(redis.start)  # empty
        await until(lambda: has_generation(client))
        await applied(settings, client)
        assert await cells_of(client) == before
        assert await letters(settings) == 1


async def test_positions_that_are_damaged_are_mended(settings: Settings, client: Redis) -> None:
    """tests/streams/test_damaged_positions.py has all kinds of damage, and what each means."""
    store = Store(client, settings.retention)

    async def number() -> int:
        filled = await store.generations.current()
        return filled.number if filled else 0

    async def damage_the_generation() -> None:
        await client.hset(keys.POSITIONS, "generation", b"nan")

    async def change_the_type() -> None:
        await client.delete(keys.POSITIONS)
        await client.set(keys.POSITIONS, b"x")

    async def damage_the_positions() -> None:
        key = keys.positions(await number())
        await client.hset(key, mapping=dict.fromkeys(await client.hkeys(key), b"x"))

    async def change_the_type_of_the_positions() -> None:
        key = keys.positions(await number())
        await client.delete(key)
        await client.set(key, b"x")

    async def damage_a_target() -> None:
        await client.hset(keys.targets(await number()), f"{REPORTS}/0", b"x")

    async with filled(settings, client) as before:
        partitions = len((await store.generations.current() or Filled(0)).positions)
        for damage, lines in (
            (damage_the_generation, 1),
            (change_the_type, 1),
            (damage_the_positions, partitions),
            (change_the_type_of_the_positions, 1),
            (damage_a_target, 1),
        ):
            with structlog.testing.capture_logs() as log:
                await damage()
                await until(partial(is_mended, log, lines))
                await until(lambda: has_generation(client))
                await applied(settings, client)
                assert await cells_of(client) == before, damage
            assert lines_about_damage(log) == lines, damage


def lines_about_damage(log: Sequence[Mapping[str, Any]]) -> int:
    return sum(each["event"] in {"position_damaged", "redis_key_replaced"} for each in log)


async def is_mended(log: Sequence[Mapping[str, Any]], lines: int) -> bool:
    return lines_about_damage(log) >= lines


async def test_two_workers_fill_a_redis_that_was_flushed(
    settings: Settings, client: Redis, tmp_path: Path
) -> None:
    async with filled(settings, client) as before, StreamsProcess(settings, log=tmp_path / "log"):
        await until(lambda: says(tmp_path / "log", "service_started"))
        await client.flushall()
        await until(lambda: has_generation(client))
        await applied(settings, client)
        assert await cells_of(client) == before
        assert await letters(settings) == 1


async def says(log: Path, event: str) -> bool:
    return f'"{event}"' in await asyncio.to_thread(log.read_text)


async def test_a_rewind_that_is_killed_is_continued_by_the_next_process(
    settings: Settings, client: Redis, tmp_path: Path
) -> None:
    async with filled(settings, client) as before:
        pass
    await client.flushall()
    store = Store(client, settings.retention)

    async def has_begun() -> bool:
        current = await store.generations.current()
        return bool(current and current.progress and current.progress.done)

    more = {"MININGMAP_STREAMS__BATCH": "20"}
    for number in range(3):
        async with StreamsProcess(settings, log=tmp_path / str(number), **more) as process:
            await until(has_begun)
            await process.end(signal.SIGKILL)
        current = await store.generations.current()
        assert current
        assert current.targets  # half-way
    async with StreamsProcess(settings, log=tmp_path / "last", **more):
        await applied(settings, client)
    assert await cells_of(client) == before
    assert await letters(settings) == 1


# --- what was there before ------------------------------------------------------------------------


async def test_days_made_from_polls_come_back_although_their_minutes_are_not_kept(
    settings: Settings, client: Redis
) -> None:
    async with filled(settings, client) as before:
        kept = {name.split(":")[-2] for name in before if name.count(":") > 3}
        assert kept == {"m", "h"}
        days = [before[f"{{p:{pool}}}:own:d"] for pool in POOLS]
        assert all(len(of_pool) >= 38 for of_pool in days)
        oldest = min(int(name.rsplit(":", 1)[1]) for name in before if ":m:" in name)
        assert utc_now() - datetime.fromtimestamp(oldest * 3600, UTC) < timedelta(hours=60)


async def test_cells_from_before_there_were_generations_are_taken_over(
    settings: Settings, client: Redis
) -> None:
    async with filled(settings, client) as before:
        pass
    await make_old(client)
    with structlog.testing.capture_logs() as log:
        async with streams(settings):
            await until(lambda: has_generation(client))
            await applied(settings, client)
            assert await cells_of(client) == before
            assert await client.hget(keys.POSITIONS, "generation") == b"1"
            # What was lost after that is noticed as everywhere else.
            await client.flushall()
            await until(lambda: has_generation(client))
            await applied(settings, client)
            assert await cells_of(client) == before
    events = [each["event"] for each in log]
    assert events.count("cells_taken_over") == 1
    assert "rewind_started" not in events
    left = [key async for key in client.scan_iter("mm:*")]
    assert not [key for key in left if key.startswith((b"mm:{p:", b"mm:{n}", b"mm:series"))]


async def make_old(client: Redis) -> None:
    """Rename the keys of the current generation as they were before, and forget the positions."""
    number = int(await client.hget(keys.POSITIONS, "generation") or 0)
    async for key in client.scan_iter(f"mm:{number}:*"):
        new = b"mm:" + key.split(b":", 2)[2]
        await client.rename(key, new)
        if new.endswith(b":meta"):
            await client.hdel(new, "oldest:minutes", "oldest:hours")
        if key.split(b":")[-2] in {b"m", b"h"}:
            await client.expire(new, 3600)
    await client.delete(keys.POSITIONS, keys.positions(number), keys.targets(number))


async def test_a_swing_state_or_snapshot_does_not_make_an_empty_redis_look_filled(
    settings: Settings, client: Redis
) -> None:
    async with filled(settings, client) as before:
        await client.flushall()
        await Store(client, settings.retention).snapshots.write({"at": rfc3339(utc_now()).encode()})
        await until(lambda: has_generation(client))
        await applied(settings, client)
        assert await cells_of(client) == before


# --- by hand --------------------------------------------------------------------------------------


async def test_a_rebuild_while_reports_arrive_gives_the_same_cells_and_answers_go_on(
    settings: Settings, client: Redis
) -> None:
    store = Store(client, settings.retention)
    now = utc_now().replace(second=0, microsecond=0)
    stopped = asyncio.Event()
    series = set[int]()

    async def read() -> None:
        while not stopped.is_set():
            series.add(len([*(await store.cells.read([])).series()]))
            await asyncio.sleep(0)

    async with filled(settings, client), asyncio.TaskGroup() as tasks:
        before = await store.generations.current()
        reading = tasks.create_task(read())
        for n in range(6):
            some = [report(pool, {"US": 1e18 + n}, start=now - (n + 2) * MINUTE) for pool in POOLS]
            publishing = tasks.create_task(publish(settings, some))
            if n == 2:
                rebuilt = await rebuild(settings, store.writer, utc_now)
                assert rebuilt.messages > 1000
                assert rebuilt.removed > 300
            await publishing
        await applied(settings, client)
        stopped.set()
        await reading
        after = await store.generations.current()
        assert before
        assert after
        assert after.number != before.number
        assert len(series) == 1  # always all of them
        found = await cells_of(client)
        await client.flushall()
        await until(lambda: has_generation(client))
        await applied(settings, client)
        assert await cells_of(client) == found
        assert await letters(settings) == 1


async def test_a_rebuild_that_was_interrupted_is_continued_and_two_at_once_are_refused(
    settings: Settings, client: Redis
) -> None:
    settings.streams.batch = 50
    store = Store(client, settings.retention)
    async with filled(settings, client) as before:
        read = 0

        def interrupt(messages: int) -> None:
            nonlocal read
            read += messages
            if read > 300:
                raise KeyError("interrupted")

        with pytest.raises(ExceptionGroup, match="unhandled"):
            await rebuild(settings, store.writer, utc_now, read=interrupt)
        assert await cells_of(client) == before
        assert await store.generations.renew_building("another", 60)
        with pytest.raises(RebuildError, match="another process"):
            await rebuild(settings, store.writer, utc_now)
        await store.generations.end_building("another")
        begun: list[tuple[int, int]] = []
        rebuilt = await rebuild(settings, store.writer, utc_now, begun=lambda *n: begun.append(n))
        ((done, total),) = begun
        assert done > 300
        assert done + rebuilt.messages == total
        await applied(settings, client)
        assert await cells_of(client) == before
        numbers = {key.split(b":")[1] async for key in client.scan_iter("mm:[0-9]*")}
        assert len(numbers) == 1


async def test_the_command_rebuilds_and_says_what_it_did(settings: Settings, client: Redis) -> None:
    async with filled(settings, client) as before:
        pass
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "launch", "rebuild"),
        env={
            **os.environ,
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    said, error = await command.communicate()
    assert command.returncode == 0, error
    assert b" old keys removed" in said
    assert await cells_of(client) == before
