"""Heavy questions: computed once and in turn, within limits, and never at the cost of others."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

import endpoint.service
from endpoint.data.heavy_questions import HeavyQuestions
from endpoint.errors import BusyError
from endpoint.routes import cbeci
from miningmap import settings as config
from miningmap.redis_client import connect
from tests.endpoint.conftest import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from streams.queries.pieces import Worker
    from streams.redis.store import Store
    from tests.endpoint.conftest import Client

    Serve = Callable[..., Awaitable[Client]]

DEADLINE_S = 10.0
PIECES = 4
HISTORY = "/api/v1/history"


class Question:
    """A question of some pieces, whose computation stops before the second one until released."""

    def __init__(self, name: str, answered: list[str] | None = None) -> None:
        self.name = name
        self.answered = [] if answered is None else answered
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.pieces = 0

    async def compute(self, work: Worker) -> str:
        self.begun.set()
        for number in range(PIECES):
            if number == 1:
                await self.released.wait()
            await work(self._piece, 1 - number / PIECES)
        self.answered.append(self.name)
        return f"answer to {self.name}"

    def _piece(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.pieces += 1


@pytest.fixture
async def heavy() -> AsyncIterator[HeavyQuestions]:
    questions = HeavyQuestions(CollectorRegistry())
    yield questions
    await questions.close()


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


async def test_equal_questions_are_computed_once(heavy: HeavyQuestions) -> None:
    question = Question("a")
    charged: list[int] = []
    asking = [
        asyncio.create_task(heavy.answer("a", 7, question.compute, charge=charged.append))
        for _ in range(12)
    ]
    await question.begun.wait()
    sharing = asyncio.create_task(heavy.shared("a"))
    await asyncio.sleep(0)
    question.released.set()
    assert await asyncio.gather(*asking) == ["answer to a"] * 12
    assert await sharing == "answer to a"
    assert question.pieces == PIECES
    assert charged == [7]  # only who asked first
    assert await heavy.shared("a") is None


async def test_the_others_get_their_answer_when_the_first_client_has_gone(
    heavy: HeavyQuestions,
) -> None:
    question = Question("a")
    first = asyncio.create_task(heavy.answer("a", 1, question.compute))
    await question.begun.wait()
    second = asyncio.create_task(heavy.answer("a", 1, question.compute))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    question.released.set()
    assert await second == "answer to a"
    assert question.pieces == PIECES


@pytest.mark.parametrize("notices", [True, False])
async def test_a_question_stops_when_all_clients_have_gone(
    heavy: HeavyQuestions,
    notices: bool,  # noqa: FBT001 - whether the server cancels the handler
) -> None:
    question, again = Question("a"), Question("again")
    connected = [True]
    asking = asyncio.create_task(
        heavy.answer("a", 1, question.compute, is_wanted=lambda: connected[0])
    )
    await question.begun.wait()
    if notices:
        asking.cancel()
    else:
        connected[0] = False
    with pytest.raises(asyncio.CancelledError):
        await asking
    again.released.set()
    question.released.set()
    # Who asks now gets an answer of its own, not the end of what was given up.
    assert await heavy.answer("a", 1, again.compute) == "answer to again"
    assert question.pieces <= 1
    assert again.pieces == PIECES


async def test_a_short_question_has_its_turn_between_the_pieces_of_a_long_one(
    heavy: HeavyQuestions,
) -> None:
    blocked = threading.Event()
    order: list[str] = []

    def question(name: str) -> Callable[[Worker], Awaitable[None]]:
        async def compute(work: Worker) -> None:
            for number in range(PIECES):
                await work(partial(piece, name), 1 - number / PIECES)

        return compute

    def piece(name: str) -> None:
        order.append(name)
        assert blocked.wait(DEADLINE_S)

    asking = [
        asyncio.create_task(heavy.answer(name, cost, question(name)))
        for name, cost in (("long", 100), ("longer", 200), ("short", 10))
    ]
    while not order:  # noqa: ASYNC110 - the thread has no event
        await asyncio.sleep(0)
    for _ in range(10):  # all have asked for a turn
        await asyncio.sleep(0)
    blocked.set()
    await asyncio.gather(*asking)
    # What is left of the long one is less than all of the longer one.
    assert order == ["long", *["short"] * PIECES, *["long"] * (PIECES - 1), *["longer"] * PIECES]


async def test_more_than_can_be_done_in_time_is_refused_at_once() -> None:
    registry = CollectorRegistry()
    heavy = HeavyQuestions(registry, most_work_s=10)
    first, second = Question("first"), Question("second")
    # Alone, any question is accepted.
    asking = asyncio.create_task(heavy.answer("first", 501, first.compute))
    await first.begun.wait()
    charged: list[int] = []
    with pytest.raises(BusyError, match="try again in 11 s") as refused:
        await heavy.answer("second", 1, second.compute, charge=charged.append)
    assert refused.value.retry_after_s == 11  # 50 units a second, as long as nothing else is known
    assert not charged
    assert registry.get_sample_value("miningmap_heavy_questions") == 1
    full = registry.get_sample_value("miningmap_heavy_questions_refused_total", {"reason": "full"})
    assert full == 1
    first.released.set()
    await asking
    second.released.set()
    assert await heavy.answer("second", 1, second.compute) == "answer to second"
    await heavy.close()


async def test_what_is_accepted_follows_the_speed_of_late() -> None:
    heavy = HeavyQuestions(CollectorRegistry(), most_work_s=1)
    slow, other = Question("slow"), Question("other")

    async def compute(work: Worker) -> None:
        for left in (1.0, 0.0):
            await work(partial(sleep, 0.2), left)  # 2 units in 0.2 s

    await heavy.answer("slow", 3, compute)
    slow.released.set()
    asking = asyncio.create_task(heavy.answer("a", 1, slow.compute))
    await slow.begun.wait()
    with pytest.raises(BusyError):  # at 50 units a second it would be done in time
        await heavy.answer("b", 45, other.compute)
    await asking
    await heavy.close()


async def test_a_question_is_given_up_after_the_deadline() -> None:
    registry = CollectorRegistry()
    heavy = HeavyQuestions(registry, deadline_s=0.05)
    question = Question("a")
    with pytest.raises(BusyError, match=r"within 0\.05 s"):
        await heavy.answer("a", 1, question.compute)
    late = registry.get_sample_value("miningmap_heavy_questions_refused_total", {"reason": "late"})
    assert late == 1
    question.released.set()
    await heavy.close()
    assert question.pieces <= 1


async def test_what_is_refused_for_its_cost_is_not_computed(heavy: HeavyQuestions) -> None:
    question = Question("a")

    def refuse(cost: int) -> None:
        raise ValueError(cost)

    with pytest.raises(ValueError, match="7"):
        await heavy.answer("a", 7, question.compute, charge=refuse)
    assert not question.begun.is_set()
    assert await heavy.shared("a") is None


async def test_all_who_ask_get_the_error(heavy: HeavyQuestions) -> None:
    async def compute(work: Worker) -> None:
        await work(lambda: 1 / 0, 1.0)

    found = await asyncio.gather(
        *(heavy.answer("a", 1, compute) for _ in range(3)), return_exceptions=True
    )
    assert [type(error) for error in found] == [ZeroDivisionError] * 3


async def test_at_the_end_all_questions_are_given_up() -> None:
    heavy = HeavyQuestions(CollectorRegistry())
    question = Question("a")
    asking = [asyncio.create_task(heavy.answer("a", 1, question.compute)) for _ in range(2)]
    await question.begun.wait()
    await heavy.close()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in found] == ["the service is being stopped; try again"] * 2
    with pytest.raises(BusyError, match="stopped"):
        await heavy.answer("b", 1, question.compute)


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
async def statistics(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the Redis, for its statistics of commands."""
    async with connect(config.Redis(url=SecretStr(redis_url))) as client:
        yield client


async def reads_of_cells(redis: Redis) -> int:
    """Return how many times cells were read from Redis since the statistics were reset."""
    stats: dict[str, Any] = await redis.info("commandstats")
    return int(stats.get("cmdstat_hmget", {"calls": 0})["calls"])


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
async def test_twelve_equal_histories_at_once_read_and_cost_as_much_as_one(
    serve: Serve, store: Store, statistics: Redis
) -> None:
    client = await serve(store, limit_loopback=True)
    query = {"code": "US", "step": "day", "from": "2026-10-01", "to": "2026-11-22"}

    async def asked() -> tuple[int, bytes]:
        async with client.get(HISTORY, params=query) as answer:
            return answer.status, await answer.read()

    await statistics.config_resetstat()
    once = await asked()
    reads = await reads_of_cells(statistics)
    assert reads > 0
    await statistics.config_resetstat()
    assert await asyncio.gather(*(asked() for _ in range(12))) == [once] * 12
    # Some may come when the first have their answer already; most come in time.
    assert 0 < await reads_of_cells(statistics) <= 3 * reads


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("step", ["hour", "day", "month"])
async def test_ranges_without_data_are_answered_without_reading_a_cell(
    serve: Serve, store: Store, statistics: Redis, step: str
) -> None:
    client = await serve(store, rate_limit=10, limit_loopback=True)
    await statistics.config_resetstat()
    for start, to, count in (
        ("1943-01-01T00:00:00Z", "1943-02-01T00:00:00Z", {"hour": 744, "day": 31, "month": 1}),
        ("2031-01-01T00:00:00Z", "2031-02-01T00:00:00Z", {"hour": 744, "day": 31, "month": 1}),
    ):
        query = {"code": "*,US", "step": step, "from": start, "to": to}
        if step == "hour":
            query["code"] = "US"
        async with client.get(HISTORY, params=query) as answer:
            found = await answer.json()
            left = answer.headers["RateLimit"]
        points = found["points"] if step == "hour" else found["series"][0]["points"]
        assert len(points) == count[step]
        assert all(point["share"] is None and point["pools"] == [] for point in points)
    assert await reads_of_cells(statistics) == 0
    assert left.startswith('"client";r=8;')  # two requests, and nothing for their buckets


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
async def test_a_history_counts_as_many_requests_as_it_costs(serve: Serve, store: Store) -> None:
    client = await serve(store, rate_limit=20, limit_loopback=True)
    # Of 60 days data begin 12 days ago: 12 x (6 + 2 x 1 level) / 40 and the request itself.
    query = {"code": "US", "step": "day", "from": "2026-09-23", "to": "2026-11-22"}
    for left in (16, 12):
        async with client.get(HISTORY, params=query) as answer:
            assert answer.status == 200
            assert answer.headers["RateLimit"].startswith(f'"client";r={left};')
    query["code"] = "*,US-*,CN-*"  # 12 x (6 + 2 x 3 + 3 x 3) / 40, more than what is left
    async with client.get(HISTORY, params=query) as answer:
        # All of 12 is less than a full bucket, so it is not too much for ever.
        assert answer.status == 200
    async with client.get(HISTORY, params=query) as answer:
        document = await answer.json(content_type=None)
        assert answer.status == 429
        assert answer.headers["RateLimit"].startswith('"client";r=3;')
        assert int(answer.headers["Retry-After"]) > 1
    assert document["cost"] == 7
    assert "counts as 7 more" in document["detail"]
    async with client.get("/api/v1/places") as answer:  # light requests go on
        assert answer.status == 200


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
async def test_what_costs_more_than_the_limit_takes_all_of_a_full_quota(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, rate_limit=2, limit_loopback=True)
    query = {"code": "US", "step": "day", "from": "2026-11-01", "to": "2026-11-22"}
    async with client.get(HISTORY, params=query) as answer:
        assert answer.status == 200
        assert answer.headers["RateLimit"].startswith('"client";r=0;')
    client = await serve(store, rate_limit=2, limit_loopback=True)
    async with client.get("/api/v1/places"):
        pass
    async with client.get(HISTORY, params=query) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "60"  # 30 s for each of both


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
async def test_months_in_the_format_of_cambridge_are_served_for_longer_while_busy(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HeavyQuestions] = []

    def remember(*args: Any) -> HeavyQuestions:
        made.append(HeavyQuestions(*args))
        return made[-1]

    monkeypatch.setattr(endpoint.service, "HeavyQuestions", remember)
    monkeypatch.setattr(cbeci, "MAX_AGE", timedelta(0))
    client = await serve(store)
    path = "/cbeci/api/charts/mining_countries"
    async with client.get(path) as answer:
        first = await answer.read()
        assert answer.status == 200
    await made[0].close()
    async with client.get(path) as answer:
        assert (answer.status, await answer.read()) == (200, first)


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_what_takes_too_long_is_busy_and_redis_is_available(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(HeavyQuestions, deadline_s=0.0)
    monkeypatch.setattr(endpoint.service, "HeavyQuestions", impatient)
    client = await serve(store)
    for path in (HISTORY, "/api/v1/history.csv", "/cbeci/api/charts/mining_countries"):
        async with client.get(path, params={"code": "US"}) as answer:
            document = await answer.json(content_type=None)
            assert answer.status == 503, path
            assert answer.content_type == "application/problem+json"
            assert int(answer.headers["Retry-After"]) >= 1
        assert document["reason"] == "busy"
        assert document["type"].endswith("#temporary-reduced-capacity")
        assert "Redis" not in document["detail"]
    async with client.get("/readyz") as answer:
        assert answer.status == 200
    async with client.get("/metrics") as answer:
        text = await answer.text()
    assert 'miningmap_dependency_up{dependency="redis"} 1.0' in text
    assert 'miningmap_heavy_questions_refused_total{reason="late"} 3.0' in text


@pytest.mark.integration
@pytest.mark.usefixtures("cells")
async def test_histories_have_nulls_before_and_after_the_data(client: Client) -> None:
    query = {"code": "US", "step": "day", "from": "2026-10-01", "to": "2027-01-01"}
    async with client.get(HISTORY, params=query) as answer:
        points = (await answer.json())["points"]
    with_share = [point["at"] for point in points if point["share"] is not None]
    assert with_share[0] == "2026-11-11T00:00:00Z"
    assert with_share[-1] == f"{NOW:%Y-%m-%d}T00:00:00Z"
    assert len(points) == 92
