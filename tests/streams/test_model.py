"""The answers of ``streams`` compared with the brute-force model of method.md, on random worlds.

Every run takes the same few examples. For more and different ones, use
``HYPOTHESIS_PROFILE=nightly``, or with
``EXAMPLES=20000 REDIS_EXAMPLES=500 make test ARGS=tests/streams/test_model.py``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.retention import TooLateError, horizon
from miningmap.times import parse_rfc3339
from streams.method.cells import claims_of
from streams.queries.snapshot import compute_answer
from streams.redis.store import Store
from tests.examples import examples
from tests.streams import golden, model, worlds
from tests.streams.fixtures import empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from tests.streams.worlds import Json, Scene

WORKERS = 3
# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
SHORTEST = config.Retention(minutes_h=2, hours_d=31)


def in_floats(answer: Any) -> Any:
    """The model's answer with the types of JSON."""
    if isinstance(answer, Fraction):
        return float(answer)
    if isinstance(answer, dict):
        return {name: in_floats(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [in_floats(value) for value in answer]
    return answer


def modelled(scene: Scene) -> Json:
    answer: Json = in_floats(model.answer(scene.world, *scene.query))
    return answer


@golden.parametrize()
def test_the_model_gives_the_golden_answers(path: Path) -> None:
    case = golden.Case(path)
    world = model.World(case.messages, case.document)
    for parameters, want in zip(case.parameters, case.expected, strict=True):
        got = model.answer(
            world,
            parameters["window"],
            parse_rfc3339(parameters["as_of"]),
            parameters.get("country"),
            parameters.get("adjust", "published"),
            parameters.get("prior", "default"),
        )
        golden.assert_same({**want, **in_floats(got)}, want)


@examples(250, "EXAMPLES")
@given(worlds.scenes(), st.data())
def test_recomputed_answers_equal_the_model(scene: Scene, data: st.DataObject) -> None:
    order = data.draw(worlds.repeated(scene.world.messages))
    got = worlds.recomputed(order, scene)
    golden.assert_same(got, modelled(scene))
    # Not only to 1e-9: every recomputation gives the same digits.
    assert got == worlds.recomputed(scene.world.messages, scene)


@pytest.fixture
async def clients(redis_url: str) -> AsyncIterator[list[Redis]]:
    """A connection for each worker, to one empty Redis."""
    connections = [connect(config.Redis(url=SecretStr(redis_url))) for _ in range(WORKERS)]
    yield connections
    for client in connections:
        await client.aclose()


async def write(
    clients: Sequence[Redis],
    data: st.DataObject,
    messages: Sequence[Message],
) -> None:
    """Write messages, once or more each, in batches of workers that write at the same time."""
    await empty(clients[0])
    batches: list[list[list[Message]]] = [[] for _ in clients]
    for message in data.draw(worlds.repeated(messages)):
        own = batches[data.draw(st.integers(0, len(clients) - 1))]
        if not own or data.draw(st.booleans()):
            own.append([])
        own[-1].append(message)

    async def work(client: Redis, own: list[list[Message]]) -> None:
        store = Store(client, FOR_EVER)
        for batch in own:
            await store.writer.write([(message, claims_of(message)) for message in batch])

    await asyncio.gather(*map(work, clients, batches))


async def answer_from_redis(clients: Sequence[Redis], scene: Scene) -> Json:
    query, beliefs = worlds.query_of(scene.query), worlds.beliefs_of(scene.world)
    return worlds.as_json(await compute_answer(Store(clients[-1], FOR_EVER).cells, query, beliefs))


@examples(60, "REDIS_EXAMPLES")
@given(worlds.scenes(), st.data())
async def test_answers_from_redis_equal_the_model_for_any_number_of_workers(
    clients: list[Redis], scene: Scene, data: st.DataObject
) -> None:
    await write(clients, data, scene.world.messages)
    got = await answer_from_redis(clients, scene)
    golden.assert_same(got, modelled(scene))
    assert got == worlds.recomputed(scene.world.messages, scene)


@examples(30, "REDIS_EXAMPLES")
@given(worlds.old_scenes(), st.data())
async def test_days_are_kept_after_their_hours_and_minutes_have_expired(
    clients: list[Redis], scene: Scene, data: st.DataObject
) -> None:
    """Late reports claim days whose hours are gone; messages too late for that are rejected.

    Messages come in the order of their clocks: a report in time does not follow one that is late.
    """
    retention = model.Retention(SHORTEST.minutes_h, SHORTEST.hours_d)
    scene = scene._replace(world=replace(scene.world, retention=retention))
    in_time = []
    for message in scene.world.messages:
        if model.claims(message, retention):
            in_time.append(message)
        else:
            with pytest.raises(TooLateError):
                claims_of(message, horizon(SHORTEST, message.fetched_at))
    await empty(clients[0])
    for message in sorted(data.draw(worlds.repeated(in_time)), key=lambda m: m.fetched_at):
        store = Store(data.draw(st.sampled_from(clients)), FOR_EVER)
        await store.writer.write(
            [(message, claims_of(message, horizon(SHORTEST, message.fetched_at)))]
        )
    golden.assert_same(await answer_from_redis(clients, scene), modelled(scene))
