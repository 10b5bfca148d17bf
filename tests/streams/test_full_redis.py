"""A Redis that takes no writes: full, without room on its disk, or a replica. Real ones."""

from __future__ import annotations

import asyncio
import resource
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis as library
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from structlog.testing import capture_logs

from miningmap import redis_client
from miningmap import settings as config
from miningmap.dependencies import Dependency
from miningmap.kafka.topics import REPORTS
from miningmap.messages import encode
from miningmap.redis_client import connect, record_answer, record_loss, watch
from miningmap.redis_errors import Memory
from miningmap.times import utc_now
from streams.method.cells import claims_of
from streams.metrics import Metrics
from streams.redis import keys
from streams.redis.cell_writer import CellWriter
from streams.redis.store import Store
from streams.worker.messages import RawMessage
from streams.worker.processor import Processor
from tests.clock import Clock
from tests.conftest import launched
from tests.servers import RedisServer
from tests.streams.fixtures import process, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from redis.asyncio import Redis

    from miningmap.kafka.producer import Record
    from miningmap.messages import Report

    Answers = Callable[[int], Awaitable[None]]

DEADLINE_S = 30
KEPT = config.Retention()
MINUTE = timedelta(minutes=1)
NOW = utc_now().replace(second=0, microsecond=0)  # Redis expires keys by its own clock
PLACES = {"US": 1e18, "CN": 1e18, "KZ": 1e18}
SNAPSHOT = {"at": b'"2026-11-22T12:00:00Z"', "1h/country": b"{}"}


class OwnRedis(RedisServer):
    """A Redis that a test may limit and break."""

    name = "own-redis"

    def _command(self) -> list[str]:
        return [*super()._command(), "--enable-protected-configs", "yes"]


class SmallDisk(RedisServer):
    """A Redis whose files cannot grow beyond a limit, as on a full disk, until a test raises it."""

    name = "small-disk"

    def _command(self) -> list[str]:
        options = ["--appendonly", "yes", "--appendfsync", "everysec"]
        # A signal would end the process that exceeds the limit, so it is ignored.
        script = "trap '' XFSZ; ulimit -S -f 100; exec \"$@\""
        return ["sh", "-c", script, "sh", *super()._command(), *options]

    def enlarge(self) -> None:
        """Give the disk room."""
        assert self.pid is not None
        _, most = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture(scope="module")
def server() -> Iterator[OwnRedis]:
    server = launched(OwnRedis)
    yield server
    server.close()


@pytest.fixture
def settings(server: OwnRedis) -> Iterator[config.Redis]:
    yield config.Redis(url=SecretStr(server.url))
    with library.Redis.from_url(server.url) as operator:
        operator.replicaof("NO", "ONE")
        operator.config_set("maxmemory", 0)
        operator.config_set("maxmemory-policy", "noeviction")
        operator.config_set("save", "")
        operator.flushall()


@pytest.fixture
async def client(settings: config.Redis) -> AsyncIterator[Redis]:
    async with connect(settings) as client:
        yield client


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "PERIOD_S", 0.05)


class Letters:
    """The dead letters that would be in Kafka."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        self.records += records


def processor_of(client: Redis, state: Dependency) -> tuple[Processor, Letters]:
    letters = Letters()
    metrics = Metrics(CollectorRegistry())
    store = Store(client, KEPT)
    return Processor(store.writer, letters.deliver, KEPT, metrics, utc_now, redis=state), letters


def raw(*messages: Report) -> list[RawMessage]:
    return [
        RawMessage(REPORTS, 0, offset, message.pool.encode(), encode(message))
        for offset, message in enumerate(messages)
    ]


async def fill(client: Redis) -> None:
    """Leave Redis without room: below what it has."""
    memory: dict[str, Any] = await client.info("memory")
    await client.config_set("maxmemory", memory["used_memory"] - 100_000)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.01)


async def until_told(state: Dependency, words: str) -> None:
    await until(lambda: (state.reason or "").startswith(words))


def told(logs: Sequence[Any]) -> list[str]:
    """Return the events about Redis, without those of the library that retries."""
    return [log["event"] for log in logs if log["event"].startswith("redis_")]


async def minutes(client: Redis, message: Report) -> int:
    """Return how many minutes of the hour in which a message ends are in Redis."""
    (claim,) = claims_of(message)
    pattern = f"mm:*:{{p:{message.pool}}}:own:m:{claim.buckets[0] // 60}"
    return sum([int(await client.hlen(key)) async for key in client.scan_iter(match=pattern)])


async def test_cells_wait_while_redis_is_full_and_are_written_once_there_is_room(
    client: Redis,
) -> None:
    state = Dependency("redis")
    processor, letters = processor_of(client, state)
    first, second = (report(pool, PLACES, start=NOW - MINUTE) for pool in ("a", "b"))
    await process(processor, raw(first))
    await fill(client)
    with capture_logs() as logs:
        writing = asyncio.create_task(process(processor, raw(second)))
        await until_told(state, "Redis is full: give it more memory (maxmemory)")
        assert await minutes(client, second) == 0
        assert not writing.done()
        await client.config_set("maxmemory", 0)
        async with asyncio.timeout(DEADLINE_S):
            await writing
    assert told(logs) == ["redis_full", "redis_available"]
    assert state.reason is None
    assert [await minutes(client, message) for message in (first, second)] == [1, 1]
    assert letters.records == []


async def test_snapshots_and_leases_go_on_while_redis_is_full(client: Redis) -> None:
    store = Store(client, KEPT)
    await store.snapshots.write(SNAPSHOT)
    await fill(client)
    with pytest.raises(library.OutOfMemoryError):
        await client.set("key", "value")
    newer = SNAPSHOT | {"1h/country": b'{"newer":1}'}
    assert await store.snapshots.renew_leadership("process", 5)
    assert not await store.snapshots.renew_leadership("another", 5)
    await store.snapshots.write(newer)
    assert await store.snapshots.read() == newer
    assert await client.xlen(keys.EVENTS) == 2
    assert 0 < await client.pttl(keys.LEADER) <= 5000


async def test_a_service_says_for_as_long_as_it_lasts_that_redis_is_full(
    client: Redis, settings: config.Redis
) -> None:
    state, metrics = Dependency("redis"), Metrics(CollectorRegistry())
    watching = asyncio.create_task(watch(settings, state, metrics.show_memory))
    await until(lambda: state.reason is None)
    await client.set("key", "x" * 200_000)
    await fill(client)
    # PING answers all the time, but that is not enough to be ready.
    await until_told(state, "Redis is full: ")
    limit = metrics.registry.get_sample_value("miningmap_redis_memory_limit_bytes")
    used = metrics.registry.get_sample_value("miningmap_redis_memory_bytes")
    assert used is not None
    assert limit is not None
    assert used > limit > 0
    await client.config_set("maxmemory", 0)
    await until(lambda: state.reason is None)
    watching.cancel()


@asynccontextmanager
async def silent(settings: config.Redis) -> AsyncIterator[None]:
    """Do not let Redis tell of itself."""
    async with connect(settings) as operator:
        await operator.execute_command("ACL SETUSER", "default", "-info")  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            await operator.execute_command("ACL SETUSER", "default", "+info")  # type: ignore[no-untyped-call]


FULL = library.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
READ_ONLY = library.ReadOnlyError("You can't write against a read only replica.")
REFUSED = library.ResponseError("WRONGTYPE Operation against a key")


@asynccontextmanager
async def watched(settings: config.Redis, state: Dependency) -> AsyncIterator[Answers]:
    """Watch Redis, and yield a function that waits until it has answered so many times more."""
    answered = 0

    def count(_: object) -> None:
        nonlocal answered
        answered += 1

    async def answers(more: int) -> None:
        wanted = answered + more
        await until(lambda: answered >= wanted)

    watching = asyncio.create_task(watch(settings, state, count))
    await answers(1)
    yield answers
    watching.cancel()
    await asyncio.wait({watching})


async def test_a_refused_write_is_over_only_when_one_succeeds(settings: config.Redis) -> None:
    """PING answers all the time; without this, the service would be ready between two writes."""
    state = Dependency("redis")
    async with watched(settings, state) as answers:
        record_loss(state, REFUSED)
        await answers(5)
        assert "refuses a command: WRONGTYPE" in (state.reason or "")
        record_answer(state)
        assert state.reason is None


@pytest.mark.parametrize("error", [FULL, READ_ONLY])
async def test_a_redis_that_was_full_or_read_only_is_available_when_it_says_so(
    settings: config.Redis, error: library.RedisError
) -> None:
    state = Dependency("redis")
    async with watched(settings, state) as answers:
        record_loss(state, error)
        await answers(2)
        assert state.reason is None


@pytest.mark.parametrize("error", [FULL, READ_ONLY])
async def test_a_server_that_does_not_say_so_stays_unavailable_until_a_write_succeeds(
    settings: config.Redis, error: library.RedisError
) -> None:
    state = Dependency("redis")
    async with silent(settings), watched(settings, state) as answers:
        record_loss(state, error)
        await answers(5)
        assert state.reason
        record_answer(state)
        await answers(2)
        assert state.reason is None


async def test_a_write_that_nobody_repeats_makes_no_excuse_for_ever(settings: config.Redis) -> None:
    """Its batch was taken away, or is stuck, which the stall watchdog has to find."""
    clock = Clock()
    state = Dependency("redis", clock)
    async with watched(settings, state) as answers:
        record_loss(state, REFUSED)
        clock.now += redis_client.REPEATED_S - 1
        record_loss(state, REFUSED)
        clock.now += redis_client.REPEATED_S - 1
        await answers(3)
        assert state.reason
        clock.now += 2
        await until(lambda: state.reason is None)


async def test_a_policy_that_would_remove_cells_is_told(
    client: Redis, settings: config.Redis
) -> None:
    state, metrics = Dependency("redis"), Metrics(CollectorRegistry())
    await client.config_set("maxmemory", 10**9)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    with capture_logs() as logs:
        watching = asyncio.create_task(watch(settings, state, metrics.show_memory))
        await until(lambda: logs)
        await until(lambda: state.reason is None)
        watching.cancel()
    assert logs[0]["event"] == "redis_evicts"
    assert logs[0]["policy"] == "allkeys-lru"
    assert metrics.registry.get_sample_value("miningmap_redis_evicts") == 1


async def test_cells_wait_while_redis_cannot_write_its_files(
    client: Redis, server: OwnRedis, settings: config.Redis
) -> None:
    state = Dependency("redis")
    processor, letters = processor_of(client, state)
    await client.config_set("save", "3600 1")
    await client.set("key", "value")
    await client.config_set("dbfilename", "taken.rdb")
    (server.folder / "taken.rdb").mkdir()
    await client.bgsave()

    async def failed() -> bool:
        info: dict[str, Any] = await client.info("persistence")
        return bool(info["rdb_last_bgsave_status"] == "err")

    async with asyncio.timeout(DEADLINE_S):
        while not await failed():  # noqa: ASYNC110 - the server decides
            await asyncio.sleep(0.01)
    message = report("c", PLACES, start=NOW - MINUTE)
    seen = Dependency("redis")
    with capture_logs() as logs:
        watching = asyncio.create_task(watch(settings, seen))
        writing = asyncio.create_task(process(processor, raw(message)))
        for each in (state, seen):
            await until_told(each, "Redis cannot write its files")
        assert await client.get("key") == b"value"  # reads go on
        (server.folder / "taken.rdb").rmdir()
        await client.config_set("save", "")
        async with asyncio.timeout(DEADLINE_S):
            await writing
        await until(lambda: seen.reason is None)
        watching.cancel()
    assert set(told(logs)) == {"redis_disk_failed", "redis_available"}
    assert await minutes(client, message) == 1
    assert letters.records == []


async def test_a_server_that_does_not_tell_of_its_memory_is_available(
    settings: config.Redis,
) -> None:
    state, shown = Dependency("redis"), list[Memory]()
    async with silent(settings):
        watching = asyncio.create_task(watch(settings, state, shown.append))
        await until(lambda: state.reason is None)
        watching.cancel()
    assert shown[0] == Memory(0, 0, "noeviction")


async def set_for_ever(client: Redis) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await client.set("key", "x" * 100_000)


async def test_cells_wait_while_the_disk_of_redis_is_full() -> None:
    server = launched(SmallDisk)
    state, seen = Dependency("redis"), Dependency("redis")
    settings = config.Redis(url=SecretStr(server.url))
    message = report("g", PLACES, start=NOW - MINUTE)
    try:
        async with connect(settings) as client:
            processor, letters = processor_of(client, state)
            with pytest.raises(library.ResponseError, match="MISCONF"):
                await set_for_ever(client)
            watching = asyncio.create_task(watch(settings, seen))
            writing = asyncio.create_task(process(processor, raw(message)))
            for each in (state, seen):
                await until_told(each, "Redis cannot write its files")
            server.enlarge()
            async with asyncio.timeout(DEADLINE_S):
                await writing
            await until(lambda: seen.reason is None)
            watching.cancel()
            assert await minutes(client, message) == 1
            assert letters.records == []
    finally:
        server.close()


async def test_cells_wait_while_redis_is_a_replica_and_the_address_is_looked_up_again(
    client: Redis, settings: config.Redis
) -> None:
    state, seen = Dependency("redis"), Dependency("redis")
    processor, letters = processor_of(client, state)
    message = report("d", PLACES, start=NOW - MINUTE)
    async with connect(settings) as operator:
        before = await client.client_id()
        await operator.replicaof("127.0.0.1", 1)
        watching = asyncio.create_task(watch(settings, seen))
        writing = asyncio.create_task(process(processor, raw(message)))
        for each in (state, seen):
            await until_told(each, "Redis is a read-only replica: point the ")
        await operator.replicaof("NO", "ONE")
        async with asyncio.timeout(DEADLINE_S):
            await writing
        await until(lambda: seen.reason is None)
        watching.cancel()
    assert await client.client_id() != before
    assert await minutes(client, message) == 1
    assert letters.records == []


async def test_what_redis_refuses_for_its_size_is_a_dead_letter_and_the_rest_is_written(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = library.ResponseError("Protocol error: invalid bulk length")
    write = CellWriter._write_at_once

    async def refusing(
        self: CellWriter, generation: Any, claimed: Any, *more: Any, **last: Any
    ) -> Any:
        if any(message.pool == "large" for message, _ in claimed):
            raise refusal
        return await write(self, generation, claimed, *more, **last)

    monkeypatch.setattr(CellWriter, "_write_at_once", refusing)
    state = Dependency("redis")
    processor, letters = processor_of(client, state)
    some = [report(pool, PLACES, start=NOW - MINUTE) for pool in ("e", "large", "f")]
    await process(processor, raw(*some))
    assert [await minutes(client, message) for message in some] == [1, 0, 1]
    (letter,) = letters.records
    headers = dict(letter.headers)
    assert letter.value == encode(some[1])
    assert headers["reason"] == b"too_large"
    assert headers["offset"] == b"1"
    assert headers["error"] == b"Redis refuses it: Protocol error: invalid bulk length"
    assert state.reason is None
