"""A second opinion: ``streams`` against the brute-force model of method.md, on random worlds.

Every run takes the same few examples. More and other ones are tried with
``HYPOTHESIS_PROFILE=nightly``, or with
``EXAMPLES=20000 REDIS_EXAMPLES=500 make test ARGS=tests/streams/test_model.py``.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.times import parse_rfc3339
from streams.method.cells import TooLateError, claims_of, horizon
from streams.queries.snapshot import compute_answer
from streams.redis.store import Store
from tests.streams import golden, model, worlds
from tests.streams.examples import examples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from tests.streams.worlds import Json, Scene

WORKERS = 3
# Redis expires by its own clock, and these tests are to hold on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
SHORTEST = config.Retention(minutes_h=2, hours_d=31)


def in_floats(answer: Any) -> Any:
    """The model's answer as JSON has it."""
    if isinstance(answer, Fraction):
        return float(answer)
    if isinstance(answer, dict):
        return {name: in_floats(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [in_floats(value) for value in answer]
    return answer


def modelled(scene: Scene) -> Json:
    answer: Json = in_floats(model.answer(scene.world, *scene.asked))
    return answer


@golden.parametrize()
def test_the_model_gives_the_golden_answers(path: Path) -> None:
    case, content = golden.Case(path), json.loads(path.read_text())
    rules = [model.Rule(**rule) for rule in content["rules"]]
    world = model.World(case.messages, content["priors"], rules=rules)
    for asked, want in zip(case.asked, case.expected, strict=True):
        got = model.answer(
            world,
            asked["window"],
            parse_rfc3339(asked["as_of"]),
            asked.get("country"),
            asked.get("adjust", "published"),
        )
        golden.assert_same({**want, **in_floats(got)}, want)


@examples(250, "EXAMPLES")
@given(worlds.scenes(), st.data())
def test_recomputed_in_any_order_any_number_of_times(scene: Scene, data: st.DataObject) -> None:
    order = data.draw(worlds.repeated(scene.world.messages))
    got = worlds.recomputed(order, scene)
    golden.assert_same(got, modelled(scene))
    # Not only to 1e-9: everyone who recomputes gets the same digits.
    assert got == worlds.recomputed(scene.world.messages, scene)


@pytest.fixture
async def clients(redis_url: str) -> AsyncIterator[list[Redis]]:
    """A connection for each worker, to one empty Redis."""
    made = [connect(config.Redis(url=SecretStr(redis_url))) for _ in range(WORKERS)]
    yield made
    for client in made:
        await client.aclose()


async def write(
    clients: Sequence[Redis],
    data: st.DataObject,
    messages: Sequence[Message],
    kept: config.Retention,
) -> None:
    """Messages, once or more each, split over workers that write at the same time, in batches."""
    await clients[0].flushdb()
    batches: list[list[list[Message]]] = [[] for _ in clients]
    for message in data.draw(worlds.repeated(messages)):
        mine = batches[data.draw(st.integers(0, len(clients) - 1))]
        if not mine or data.draw(st.booleans()):
            mine.append([])
        mine[-1].append(message)

    async def work(client: Redis, mine: list[list[Message]]) -> None:
        store = Store(client, FOR_EVER)
        for batch in mine:
            claimed = [(m, claims_of(m, horizon(kept, m.fetched_at))) for m in batch]
            await store.write(claimed)

    await asyncio.gather(*map(work, clients, batches))


async def asked_of_redis(clients: Sequence[Redis], scene: Scene) -> Json:
    query, beliefs = worlds.query_of(scene.asked), worlds.beliefs_of(scene.world)
    return worlds.as_json(await compute_answer(Store(clients[-1], FOR_EVER), query, beliefs))


@examples(60, "REDIS_EXAMPLES")
@given(worlds.scenes(), st.data())
async def test_through_redis_by_any_number_of_workers(
    clients: list[Redis], scene: Scene, data: st.DataObject
) -> None:
    await write(clients, data, scene.world.messages, FOR_EVER)
    got = await asked_of_redis(clients, scene)
    golden.assert_same(got, modelled(scene))
    assert got == worlds.recomputed(scene.world.messages, scene)


@examples(30, "REDIS_EXAMPLES")
@given(worlds.old_scenes(), st.data())
async def test_days_outlive_what_they_were_made_of(
    clients: list[Redis], scene: Scene, data: st.DataObject
) -> None:
    """Late reports claim days whose hours are gone; what is too late for that is rejected."""
    retention = model.Retention(SHORTEST.minutes_h, SHORTEST.hours_d)
    scene = scene._replace(world=replace(scene.world, retention=retention))
    in_time = []
    for message in scene.world.messages:
        if model.claims(message, retention):
            in_time.append(message)
        else:
            with pytest.raises(TooLateError):
                claims_of(message, horizon(SHORTEST, message.fetched_at))
    await write(clients, data, in_time, SHORTEST)
    golden.assert_same(await asked_of_redis(clients, scene), modelled(scene))
