"""The simulated pools' HTTP servers, all in one: ``/HOST/PATH`` answers as ``https://HOST/PATH``.

Shapes, types and units are those of the real servers; who asks the wrong host or path is told 404.
A pool that is out answers 503.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from launch.simulation import chain, responses
from launch.simulation.pools import POOLS, UNATTRIBUTED
from miningmap.times import DAY_S, bucket, bucket_start, rfc3339, utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from launch.simulation.world import World

    Handler = Callable[[web.Request], Awaitable[web.Response]]
    Clock = Callable[[], datetime]
    Answer = Callable[[World, datetime], web.Response]

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)

_CKPOOL_SPANS: Final = {
    "hashrate1m": _MINUTE,
    "hashrate5m": 5 * _MINUTE,
    "hashrate15m": 15 * _MINUTE,
    "hashrate1hr": _HOUR,
    "hashrate6hr": 6 * _HOUR,
    "hashrate1d": _DAY,
    "hashrate7d": 7 * _DAY,
}
_OCEAN_SPANS_S: Final = (60, 300, 10_800, 86_400)


def make_app(world: World, clock: Clock = utc_now) -> web.Application:
    """The application of all simulated pools, which answer for the instant that ``clock`` says."""
    app = web.Application()
    mempool = "/mempool.space/api/v1/mining"
    app.router.add_get(f"{mempool}/pools/24h", _handler(world, clock, _mempool_pools))
    app.router.add_get(f"{mempool}/hashrate/3d", _handler(world, clock, _mempool_hashrate))
    app.router.add_get(
        "/api.foundryusapool.com/pool_stats",
        _for_bitcoin(_handler(world, clock, _foundry, "foundryusa")),
    )
    app.router.add_get(
        "/www.antpool.com/auth/v3/index/poolcoins", _handler(world, clock, _antpool, "antpool")
    )
    app.router.add_get("/api.ocean.xyz/v1/pool_hashrate", _handler(world, clock, _ocean, "ocean"))
    spans = {told.source: told for told in responses.PLAIN}
    for path, (source, body) in _PLAIN.items():
        answer = _plain(spans[source], body)
        app.router.add_get(path, _handler(world, clock, answer, spans[source].pool))
    app.router.add_get("/blockchain.info/q/hashrate", _handler(world, clock, _q_blockchain))
    for host in responses.CKPOOL_HOSTS:
        app.router.add_get(
            f"/{host}/pool/pool.status", _handler(world, clock, _ckpool(host), "solock")
        )
    return app


def _handler(world: World, clock: Clock, answer: Answer, pool: str | None = None) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        at = clock()
        if pool is not None and not world.is_up(pool, at):
            raise web.HTTPServiceUnavailable
        return answer(world, at)

    return handle


def _for_bitcoin(handler: Handler) -> Handler:
    """Foundry's API wants to know the coin."""

    async def handle(request: web.Request) -> web.Response:
        if request.query.get("coin") != "BTC":
            raise web.HTTPBadRequest(text="coin=BTC is wanted")
        return await handler(request)

    return handle


def _mempool_pools(world: World, at: datetime) -> web.Response:
    counts = chain.blocks_by_pool(world, at, _DAY)
    ids = {pool.slug: number for number, pool in enumerate(POOLS, start=1)}
    found = sorted((pool for pool in POOLS if counts[pool.slug]), key=lambda p: -counts[p.slug])
    body = {
        "pools": [
            {
                "poolId": ids[pool.slug],
                "name": pool.name,
                "link": f"https://{pool.slug}.example",
                "blockCount": counts[pool.slug],
                "rank": rank,
                "emptyBlocks": 0,
                "slug": pool.slug,
                "avgMatchRate": None if pool.slug == UNATTRIBUTED else 99.5,
                "avgFeeDelta": "-0.0012",
                "poolUniqueId": ids[pool.slug],
            }
            for rank, pool in enumerate(found, start=1)
        ],
        "blockCount": counts.total(),
        "lastEstimatedHashrate": chain.estimated_network(world, at, _DAY),
        "lastEstimatedHashrate3d": chain.estimated_network(world, at, 3 * _DAY),
        "lastEstimatedHashrate1w": chain.estimated_network(world, at, 7 * _DAY),
    }
    headers = {"X-total-count": str(chain.height(world, at))}
    return web.json_response(body, headers=headers)


def _mempool_hashrate(world: World, at: datetime) -> web.Response:
    block = chain.height(world, at)
    retarget = chain.retarget(block)
    difficulty = chain.difficulty(world, block)
    midnights = [bucket_start(bucket(at, DAY_S) - days, DAY_S) for days in (2, 1, 0)]
    body = {
        "hashrates": [
            {
                "timestamp": int(midnight.timestamp()),
                "avgHashrate": chain.estimated_network(world, midnight, _DAY),
            }
            for midnight in midnights
        ],
        "difficulty": [
            {
                "time": int(chain.found_at(world, retarget).timestamp()),
                "height": retarget,
                "difficulty": difficulty,
                "adjustment": difficulty / chain.difficulty(world, retarget - 1),
            }
        ],
        "currentHashrate": chain.estimated_network(world, at, _DAY),
        "currentDifficulty": difficulty,
    }
    return web.json_response(body)


def _foundry(world: World, at: datetime) -> web.Response:
    last_hour = responses.foundry(world, at, _HOUR)
    body = {
        "activeWorkers": 1_812_345,
        "hashrate5minAvg": responses.foundry(world, at, responses.FOUNDRY_SPAN),
        "hashrate15minAvg": responses.foundry(world, at, 15 * _MINUTE),
        "stale15minAvg": last_hour // 200_000,
        "reject15minAvg": last_hour // 300_000,
        "hashrate1hrAvg": last_hour,
        "hashrate24hrAvg": responses.foundry(world, at, _DAY),
        "stale1hrAvg": last_hour // 200_000,
        "reject1hrAvg": last_hour // 300_000,
        "lastShareTime": rfc3339(at.replace(microsecond=0)),
        "updatedAt": rfc3339(at.replace(microsecond=0)),
    }
    return web.json_response(body)


def _antpool(world: World, at: datetime) -> web.Response:
    item = {
        "coinType": "BTC",
        "algorithm": "SHA256d",
        "poolHashrate": responses.antpool(world, at, responses.ANTPOOL_SPAN),
        "networkDiff": str(round(chain.difficulty(world, chain.height(world, at)))),
        "blockReward": "3.125",
        "blockIncentive": "0.02",
        "mergeMiningInfos": [],
    }
    return web.json_response({"code": "000000", "msg": "ok", "data": {"items": [item]}})


def _ocean(world: World, at: datetime) -> web.Response:
    result = {
        f"pool_{span_s}s": responses.ocean(world, at, timedelta(seconds=span_s))
        for span_s in _OCEAN_SPANS_S
    }
    return web.json_response({"result": result})


def _q_blockchain(world: World, at: datetime) -> web.Response:
    return web.Response(text=responses.q_blockchain(world, at))


def _plain(told: responses.Plain, body: Callable[[int, datetime], object]) -> Answer:
    def answer(world: World, at: datetime) -> web.Response:
        return web.json_response(body(responses.plain(world, told.pool, at, told.span), at))

    return answer


def _viabtc(hashrate: int, _at: datetime) -> object:
    return {"code": 0, "message": "OK", "data": {"viabtc_hash": [hashrate, hashrate]}}


def _binance(hashrate: int, _at: datetime) -> object:
    algorithm = {
        "algoName": "SHA256",
        "poolHash": str(hashrate),
        "effectiveCount": 81_234,
        "rate": 0.025,
        "symbolInfos": [{"symbol": "BTC", "eachEarn": "0.00000045", "eachEarnMap": {}}],
    }
    return {"code": 0, "msg": "", "data": {"algoList": [algorithm]}}


def _whitepool(hashrate: int, at: datetime) -> object:
    part = {
        "connectionLinks": ["stratum+tcp://whitepool.example:3333"],
        "location": "global",
        "assets": ["BTC"],
        "rewardSchemes": ["FPPS"],
        "workers": 12_034,
        "currentHashRate": f"{hashrate}.0",
        "last7daysHashRate": [
            {"timestamp": int(at.timestamp()) // DAY_S * DAY_S, "hashrate": f"{hashrate}.0"}
        ],
        "blocks": [],
    }
    return {"data": [part]}


def _publicpool(hashrate: int, _at: datetime) -> object:
    return {"totalHashRate": hashrate, "totalMiners": 8_123, "blocksFound": [], "fee": 0}


def _solopool(hashrate: int, at: datetime) -> object:
    return {
        "hashrate": hashrate,
        "totalMiners": 412,
        "totalWorkers": 655,
        "totalBlocks": 87,
        "charts": [{"x": int(at.timestamp()), "y": hashrate}],
    }


def _twominers(hashrate: int, at: datetime) -> object:
    return {
        "hashrate": hashrate,
        "minersTotal": 93,
        "workersTotal": 410,
        "now": int(at.timestamp() * 1000),
    }


# By path: the source that asks there, and the body that says its pool's hashrate.
_PLAIN: Final[dict[str, tuple[str, Callable[[int, datetime], object]]]] = {
    "/www.viabtc.com/res/pool/BTC/state/usd/chart": ("viabtc", _viabtc),
    "/pool.binance.com/mining-api/v1/public/pool/index": ("binance", _binance),
    "/whitebit.com/api/v4/public/mining-pool": ("whitepool", _whitepool),
    "/public-pool.io/api/pool": ("publicpool", _publicpool),
    "/btc.solopool.org/api/stats": ("solopool", _solopool),
    "/btc.2miners.com/api/stats": ("twominers", _twominers),
}


def _ckpool(host: str) -> Answer:
    """Three JSON documents, one a line, as the daemon writes them each minute."""

    def answer(world: World, at: datetime) -> web.Response:
        users = 23_550
        lines: list[dict[str, object]] = [
            {
                "runtime": int((at - world.origin + 100 * _DAY).total_seconds()),
                "lastupdate": int(at.timestamp()) // 60 * 60,
                "Users": users,
                "Workers": 38_949,
                "Idle": 4_211,
                "Disconnected": 1_022,
            },
            {name: responses.ckpool(world, host, at, span) for name, span in _CKPOOL_SPANS.items()},
            {
                "diff": 5.1,
                "accepted": 6_512_345_678_901,
                "rejected": 8_123_456_789,
                "bestshare": 9_812_345_678_901,
                "SPS1m": 312.0,
                "SPS5m": "3.92e3",
                "SPS15m": 331.0,
                "SPS1h": 340.0,
            },
        ]
        return web.Response(text="".join(json.dumps(line) + "\n" for line in lines))

    return answer
