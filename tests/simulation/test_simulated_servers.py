"""The responses have the shapes of the pools' documentation, by types that only tests use."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from collector.registry import load
from collector.sources.base import Request
from launch.simulation import World, chain, servers
from launch.simulation.servers import make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    Client: TypeAlias = TestClient[web.Request, web.Application]

Text = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+$")]


class Pool(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pool_id: int
    name: str
    link: str
    block_count: int
    rank: int
    empty_blocks: int
    slug: str
    avg_match_rate: float | None
    avg_fee_delta: str
    pool_unique_id: int


class Pools(msgspec.Struct, forbid_unknown_fields=True):
    pools: list[Pool]
    block_count: int = msgspec.field(name="blockCount")
    day: float = msgspec.field(name="lastEstimatedHashrate")
    three_days: float = msgspec.field(name="lastEstimatedHashrate3d")
    week: float = msgspec.field(name="lastEstimatedHashrate1w")


class HashratePoint(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    timestamp: int
    avg_hashrate: float


class DifficultyPoint(msgspec.Struct, forbid_unknown_fields=True):
    time: int
    height: int
    difficulty: float
    adjustment: float


class NetworkHashrate(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    hashrates: list[HashratePoint]
    difficulty: list[DifficultyPoint]
    current_hashrate: float
    current_difficulty: float


class FoundryStats(msgspec.Struct, forbid_unknown_fields=True):
    activeWorkers: int  # noqa: N815 - the names on the wire
    hashrate5minAvg: int  # noqa: N815
    hashrate15minAvg: int  # noqa: N815
    stale15minAvg: int  # noqa: N815
    reject15minAvg: int  # noqa: N815
    hashrate1hrAvg: int  # noqa: N815
    hashrate24hrAvg: int  # noqa: N815
    stale1hrAvg: int  # noqa: N815
    reject1hrAvg: int  # noqa: N815
    lastShareTime: datetime  # noqa: N815
    updatedAt: datetime  # noqa: N815


class Coin(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    coin_type: str
    algorithm: str
    pool_hashrate: str
    network_diff: Text
    block_reward: str
    block_incentive: str
    merge_mining_infos: list[object]


class Coins(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Coin]


class PoolCoins(msgspec.Struct, forbid_unknown_fields=True):
    code: str
    msg: str
    data: Coins


class OceanHashrates(msgspec.Struct, forbid_unknown_fields=True):
    pool_60s: Text
    pool_300s: Text
    pool_10800s: Text
    pool_86400s: Text


class Ocean(msgspec.Struct, forbid_unknown_fields=True):
    result: OceanHashrates


class CkpoolUsers(msgspec.Struct, forbid_unknown_fields=True):
    runtime: int
    lastupdate: int
    users: int = msgspec.field(name="Users")
    workers: int = msgspec.field(name="Workers")
    idle: int = msgspec.field(name="Idle")
    disconnected: int = msgspec.field(name="Disconnected")


class CkpoolHashrates(msgspec.Struct, forbid_unknown_fields=True):
    hashrate1m: str
    hashrate5m: str
    hashrate15m: str
    hashrate1hr: str
    hashrate6hr: str
    hashrate1d: str
    hashrate7d: str


class CkpoolShares(msgspec.Struct, forbid_unknown_fields=True):
    diff: float
    accepted: int
    rejected: int
    bestshare: int
    SPS1m: float
    SPS5m: str
    SPS15m: float
    SPS1h: float


class Clock:
    """A clock that only changes when it is set."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(origin: datetime) -> Clock:
    return Clock(origin)


@pytest.fixture
async def client(texas: World, clock: Clock) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(texas, clock))) as client:
        yield client


async def fetch(client: Client, path: str) -> bytes:
    async with client.get(path) as response:
        assert response.status == 200, path
        return await response.read()


async def test_mempool_counts_the_blocks_of_a_day(
    client: Client,
    texas: World,
    origin: datetime,
) -> None:
    body = await fetch(client, "/mempool.space/api/v1/mining/pools/24h")
    answer = msgspec.json.decode(body, type=Pools)
    counts = [pool.block_count for pool in answer.pools]
    assert sum(counts) == answer.block_count == pytest.approx(144, abs=1)
    assert counts == sorted(counts, reverse=True)
    assert [pool.rank for pool in answer.pools] == list(range(1, len(counts) + 1))
    assert min(counts) >= 1
    assert {pool.slug: pool.block_count for pool in answer.pools} == dict(
        chain.blocks_by_pool(texas, origin, timedelta(days=1))
    )
    assert [answer.day, answer.three_days, answer.week] == pytest.approx([950e18] * 3, rel=0.1)


async def test_mempool_gives_the_hashrate_of_the_network_in_hashes_a_second(
    client: Client,
    origin: datetime,
) -> None:
    body = await fetch(client, "/mempool.space/api/v1/mining/hashrate/3d")
    answer = msgspec.json.decode(body, type=NetworkHashrate)
    assert answer.current_hashrate == pytest.approx(950e18, rel=0.1)
    assert answer.current_difficulty * 2**32 / 600 == pytest.approx(950e18, rel=0.15)
    assert answer.difficulty[-1].difficulty == answer.current_difficulty
    assert answer.difficulty[-1].height % 2016 == 0
    seconds = [point.timestamp for point in answer.hashrates]
    assert seconds == sorted(seconds)
    assert all(0 <= origin.timestamp() - s <= 3 * 86_400 for s in seconds)
    assert [p.avg_hashrate for p in answer.hashrates] == pytest.approx([950e18] * 3, rel=0.1)


async def test_foundry_gives_gigahashes(
    client: Client,
    texas: World,
    origin: datetime,
) -> None:
    body = await fetch(client, "/api.foundryusapool.com/pool_stats?coin=BTC")
    answer = msgspec.json.decode(body, type=FoundryStats)
    truth = texas.hashrate("foundryusa", origin)
    assert answer.hashrate5minAvg * 1e9 == pytest.approx(truth, rel=0.01)
    assert answer.updatedAt == origin
    assert b'Z"' in body


@pytest.mark.parametrize("query", ["", "?coin=LTC", "?COIN=BTC"])
async def test_a_query_other_than_the_declared_one_is_a_bad_request(
    client: Client, query: str
) -> None:
    async with client.get(f"/api.foundryusapool.com/pool_stats{query}") as response:
        assert response.status == 400
        assert await response.text() == "expected the query ?coin=BTC"


async def test_antpool_gives_text_with_its_unit(
    client: Client,
    texas: World,
    origin: datetime,
) -> None:
    body = await fetch(client, "/www.antpool.com/auth/v3/index/poolcoins")
    answer = msgspec.json.decode(body, type=PoolCoins)
    assert answer.code == "000000"
    (coin,) = answer.data.items
    assert coin.coin_type == "BTC"
    match = re.fullmatch(r"([0-9]+\.[0-9]{2}) EH/s", coin.pool_hashrate)
    assert match is not None
    assert float(match[1]) * 1e18 == pytest.approx(texas.hashrate("antpool", origin), rel=0.01)


async def test_ocean_gives_whole_hashes_as_text(
    client: Client,
    texas: World,
    origin: datetime,
) -> None:
    body = await fetch(client, "/api.ocean.xyz/v1/pool_hashrate")
    answer = msgspec.json.decode(body, type=Ocean).result
    assert int(answer.pool_60s) == pytest.approx(texas.hashrate("ocean", origin), rel=0.01)
    assert int(answer.pool_86400s) == pytest.approx(int(answer.pool_60s), rel=0.1)


async def test_ckpool_writes_three_documents_a_minute_for_each_instance(
    client: Client,
    texas: World,
    origin: datetime,
) -> None:
    total = 0.0
    for host in ("solo", "eusolo", "ausolo"):
        body = await fetch(client, f"/{host}.ckpool.org/pool/pool.status")
        users, hashrates, shares = body.splitlines()
        first = msgspec.json.decode(users, type=CkpoolUsers)
        assert datetime.fromtimestamp(first.lastupdate, UTC) == origin.replace(second=0)
        assert msgspec.json.decode(shares, type=CkpoolShares).diff > 0
        decoded = msgspec.json.decode(hashrates, type=CkpoolHashrates)
        for text in msgspec.structs.astuple(decoded):
            assert re.fullmatch(r"[0-9]+(\.[0-9]+)?P", text), text
        total += float(decoded.hashrate5m.removesuffix("P")) * 1e15
    assert total == pytest.approx(texas.hashrate("solock", origin), rel=0.02)


async def test_requests_of_one_path_are_distinguished_by_method_and_query(
    texas: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://toy.example/a%20b"
    requests = (Request(url), Request(url + "?coin=BTC"), Request(url, method="POST"))
    toy = replace(
        load("pools/ocean"),
        slug="toy",
        requests=requests,
        example=lambda _readings, _at: [b"first", b"second", b"third"],
    )
    monkeypatch.setattr(servers, "simulated_sources", lambda: [toy])
    async with TestClient(TestServer(make_app(texas, clock))) as client:
        path = "/toy.example/a%20b"
        assert await fetch(client, path) == b"first"
        assert await fetch(client, f"{path}?coin=BTC&t=1") == b"second"
        async with client.post(path) as response:
            assert await response.read() == b"third"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/mempool.space",
        "/mempool.space/api/v1/mining/pools/1w",
        "/example.org/pool_stats?coin=BTC",
        "/pool_stats?coin=BTC",
    ],
)
async def test_an_unknown_host_or_path_is_not_found(client: Client, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 404


async def test_only_a_pool_in_an_outage_responds_with_503(
    client: Client,
    clock: Clock,
    origin: datetime,
) -> None:
    statuses = {}
    for minutes in (0, 5, 20):
        clock.at = origin + timedelta(minutes=minutes)
        for path in ("/solo.ckpool.org/pool/pool.status", "/api.ocean.xyz/v1/pool_hashrate"):
            async with client.get(path) as response:
                statuses[path[1:5], minutes] = response.status
    assert statuses.pop(("solo", 5)) == 503
    assert set(statuses.values()) == {200}


async def test_responses_depend_on_the_clock(
    client: Client,
    clock: Clock,
    origin: datetime,
) -> None:
    path = "/api.ocean.xyz/v1/pool_hashrate"
    now = await fetch(client, path)
    assert await fetch(client, path) == now
    clock.at = origin + timedelta(minutes=1)
    assert await fetch(client, path) != now
