"""The client of a Redis Cluster, on a real one whose slots move and whose nodes end."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from redis import RedisError, WatchError

from miningmap import redis_client
from miningmap import settings as config
from miningmap.dependencies import Dependency
from miningmap.metrics import redis_durations
from miningmap.redis_client import connect, watch
from miningmap.redis_cluster import RedisCluster, SlotUnavailableError, all_servers
from tests.cluster_servers import RedisClusterServers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from miningmap.redis_errors import Memory

DEADLINE_S = 60
KEYS = [f"key{n}" for n in range(30)]
ONE_SLOT = [f"{{slot}}{n}" for n in range(30)]


@pytest.fixture
async def client(cluster_settings: config.Redis) -> AsyncIterator[Redis]:
    async with connect(cluster_settings) as client:
        yield client


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.01)


async def fill(client: Redis, keys: list[str]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, key)
        await pipe.execute()


async def read(client: Redis, keys: list[str]) -> list[str]:
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        return [value.decode() for value in await pipe.execute()]


async def test_each_node_has_a_part_of_the_keys(client: Redis) -> None:
    await fill(client, KEYS)
    assert await read(client, KEYS) == KEYS
    assert sorted([key.decode() async for key in client.scan_iter("key*")]) == sorted(KEYS)
    sizes = [await node.dbsize() for node in await all_servers(client)]
    assert len(sizes) == 3
    assert 0 not in sizes
    assert sum(sizes) == len(KEYS)


async def test_a_slot_that_is_being_moved_can_be_read_and_written(
    redis_cluster: RedisClusterServers, client: Redis
) -> None:
    await fill(client, ONE_SLOT)
    with redis_cluster.moving("{slot}") as move_some:
        await asyncio.to_thread(move_some, 10)
        # Many connections: what is asked for must be asked on the one that said ASKING.
        found = await asyncio.gather(*(read(client, ONE_SLOT) for _ in range(10)))
        assert found == [ONE_SLOT] * 10
        assert await asyncio.gather(*map(client.get, ONE_SLOT)) == [k.encode() for k in ONE_SLOT]
        await client.set("{slot}new", "new")
        assert await client.get("{slot}new") == b"new"
    assert await read(client, [*ONE_SLOT, "{slot}new"]) == [*ONE_SLOT, "new"]


async def test_commands_of_one_slot_keep_their_order_while_it_is_being_moved(
    redis_cluster: RedisClusterServers, client: Redis
) -> None:
    await fill(client, ONE_SLOT)
    with redis_cluster.moving("{slot}") as move_some:
        await asyncio.to_thread(move_some, 15)
        for key in ONE_SLOT:
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(key, "first")
                pipe.get(key)
                pipe.set(key, "second")
                pipe.get(key)
                assert await pipe.execute() == [True, b"first", True, b"second"]


async def test_what_needs_keys_on_both_nodes_fails_until_the_slot_is_moved(
    redis_cluster: RedisClusterServers, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miningmap.redis_cluster.WAIT_S", 0.2)
    await fill(client, ONE_SLOT)
    with redis_cluster.moving("{slot}") as move_some:
        await asyncio.to_thread(move_some, 15)
        with pytest.raises(SlotUnavailableError, match="is moving"):
            await client.exists(*ONE_SLOT)
        assert await read(client, ONE_SLOT) == ONE_SLOT
    assert await client.exists(*ONE_SLOT) == len(ONE_SLOT)


async def test_a_transaction_is_at_the_node_of_its_key(
    redis_cluster: RedisClusterServers, client: Redis
) -> None:
    for _ in range(2):  # the second time, the client does not know yet where the slot is
        async with client.pipeline(transaction=True, shard_hint="{slot}a") as pipe:
            pipe.set("{slot}a", 1)
            pipe.incr("{slot}a")
            assert await pipe.execute() == [True, 2]
        with redis_cluster.moving("{slot}"):
            pass


async def test_a_transaction_does_nothing_if_a_watched_key_has_changed(client: Redis) -> None:
    async with client.pipeline(transaction=True, shard_hint="{slot}a") as pipe:
        await pipe.watch("{slot}a")
        assert await pipe.get("{slot}a") is None
        await client.set("{slot}a", "other")
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.set("{slot}a", "own")
        with pytest.raises(WatchError):
            await pipe.execute()
    assert await client.get("{slot}a") == b"other"


async def test_a_transaction_and_a_command_without_a_key_are_refused(client: Redis) -> None:
    with pytest.raises(ValueError, match="needs a key of its slot"):
        client.pipeline(transaction=True)
    with pytest.raises(ValueError, match="PING has no key"):
        await client.ping()


async def test_a_node_that_ends_and_comes_back_is_used_again(
    redis_cluster: RedisClusterServers, cluster_settings: config.Redis
) -> None:
    async with connect(cluster_settings, patient=False) as client:
        await fill(client, KEYS)
        for node in redis_cluster.nodes:  # the first one is that of the URL
            await asyncio.to_thread(node.stop, signal.SIGKILL)
            with pytest.raises(RedisError):
                await read(client, KEYS)
            await asyncio.to_thread(redis_cluster.start)
            async with asyncio.timeout(DEADLINE_S):
                while await _values(client) != KEYS:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)


async def test_a_replica_takes_the_place_of_its_node(redis_cluster: RedisClusterServers) -> None:
    del redis_cluster  # requested to skip on machines without a redis-server
    cluster = RedisClusterServers.launch()
    try:
        lost = cluster.nodes[0]  # that of the URL, too
        replica = await asyncio.to_thread(cluster.add_replica, lost)
        settings = config.Redis(url=SecretStr(cluster.url), cluster=True)
        async with connect(settings, patient=False) as client:
            await fill(client, KEYS)
            with lost.client() as primary, replica.client() as other:
                await until(lambda: primary.dbsize() == other.dbsize())
            await asyncio.to_thread(lost.stop, signal.SIGKILL)
            async with asyncio.timeout(DEADLINE_S):
                while await _values(client) != KEYS:  # noqa: ASYNC110 - they are other processes
                    await asyncio.sleep(0.05)
    finally:
        cluster.close()


async def _values(client: Redis) -> list[str] | None:
    try:
        return await read(client, KEYS)
    except RedisError:
        return None


async def test_the_time_of_answers_is_shown_by_operation(cluster_settings: config.Redis) -> None:
    registry = CollectorRegistry()
    async with connect(cluster_settings, durations=redis_durations(registry)) as client:
        await client.hset("a", mapping={"b": "c"})
        await fill(client, KEYS)
    name = "miningmap_redis_request_duration_seconds_count"
    assert registry.get_sample_value(name, {"operation": "hset"}) == 1
    assert registry.get_sample_value(name, {"operation": "pipeline"}) == 3


# --- settings, and the state of all nodes ---


async def test_settings_that_do_not_fit_the_server_name_the_setting(
    cluster_settings: config.Redis, redis_url: str
) -> None:
    for settings, expected in (
        (cluster_settings.model_copy(update={"cluster": False}), "is a cluster; expected true"),
        (config.Redis(url=SecretStr(redis_url), cluster=True), "not a cluster; expected false"),
    ):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(config.SettingsError, match=expected) as caught:
                await watch(settings, Dependency("redis"))
        assert str(caught.value).startswith("MININGMAP_REDIS__CLUSTER: ")


def test_a_cluster_has_no_other_database() -> None:
    for url in ("redis://127.0.0.1:6379/1", "unix:///run/redis.sock"):
        with pytest.raises(config.SettingsError, match=r"^MININGMAP_REDIS__URL: expected a host"):
            connect(config.Redis(url=SecretStr(url), cluster=True))


async def test_one_full_node_is_a_full_redis(
    cluster_settings: config.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "PERIOD_S", 0.05)
    state = Dependency("redis")
    shown: list[Memory] = []
    async with connect(cluster_settings) as client:
        assert isinstance(client, RedisCluster)
        _, node, _ = await client.primaries()
        watching = asyncio.create_task(watch(cluster_settings, state, shown.append))
        try:
            await until(lambda: state.reason is None)
            await node.config_set("maxmemory", 1)
            await until(lambda: "full" in (state.reason or ""))
            assert shown[-1].limit == 1
        finally:
            await node.config_set("maxmemory", 0)
        await until(lambda: state.reason is None)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait([watching])
