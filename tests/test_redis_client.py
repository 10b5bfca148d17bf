"""The Redis client: its settings, and its behaviour while Redis is unavailable."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import redis as library
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from miningmap import redis_client
from miningmap import settings as config
from miningmap.dependencies import Dependency
from miningmap.metrics import redis_durations
from miningmap.redis_client import connect, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import RedisServer

DEADLINE_S = 20


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.01)


def test_an_invalid_url_is_a_setting_error_that_does_not_quote_it() -> None:
    with pytest.raises(config.SettingsError, match="MININGMAP_REDIS__URL") as caught:
        connect(config.Redis(url=SecretStr("s3cret")))
    assert "s3cret" not in str(caught.value)


async def test_a_separate_password_overrides_one_in_the_url(redis_url: str) -> None:
    redis = connect(config.Redis(url=SecretStr(redis_url)))
    await redis.config_set("requirepass", "right")
    try:
        url = SecretStr(redis_url.replace("redis://", "redis://:wrong@"))
        client = connect(config.Redis(url=url, password=SecretStr("right")))
        try:
            assert await client.ping()
        finally:
            await client.aclose()
    finally:
        await redis.config_set("requirepass", "")
        await redis.aclose()


async def test_without_patience_a_command_fails_at_once(
    unused_tcp_port: int,
) -> None:
    url = SecretStr(f"redis://127.0.0.1:{unused_tcp_port}/0")
    client = connect(config.Redis(url=url), patient=False)
    began = time.monotonic()
    with pytest.raises(library.ConnectionError):
        await client.ping()
    assert time.monotonic() - began < 1
    await client.aclose()


@pytest.mark.parametrize(
    ("url", "password", "error"),
    [
        ("", "wrong", "MININGMAP_REDIS__PASSWORD: Redis refuses it: "),
        ("", None, "MININGMAP_REDIS__PASSWORD: Redis refuses it: "),
        (":wrong@", None, "MININGMAP_REDIS__URL: Redis refuses it: "),
    ],
)
async def test_a_refused_password_at_the_start_names_its_setting(
    redis_url: str, url: str, password: str | None, error: str
) -> None:
    settings = config.Redis(
        url=SecretStr(redis_url.replace("redis://", f"redis://{url}")),
        password=None if password is None else SecretStr(password),
    )
    async with connect(config.Redis(url=SecretStr(redis_url))) as redis:
        await redis.config_set("requirepass", "right")
        try:
            with pytest.raises(config.SettingsError, match=f"^{error}") as caught:
                async with asyncio.timeout(DEADLINE_S):
                    await watch(settings, Dependency("redis"))
        finally:
            await redis.config_set("requirepass", "")
    assert "wrong@" not in str(caught.value)
    assert "right" not in str(caught.value)


async def test_a_database_that_redis_does_not_have_names_the_url(redis_url: str) -> None:
    settings = config.Redis(url=SecretStr(redis_url.removesuffix("/0") + "/999"))
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(config.SettingsError, match=r"^MININGMAP_REDIS__URL: .*no such"):
            await watch(settings, Dependency("redis"))


async def test_later_a_refusal_or_a_frozen_redis_only_makes_it_unavailable(
    redis: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "PERIOD_S", 0.05)
    monkeypatch.setattr(redis_client, "DEADLINE_S", 0.2)
    state = Dependency("redis")
    async with connect(config.Redis(url=SecretStr(redis_url))) as operator:
        watching = asyncio.create_task(watch(config.Redis(url=SecretStr(redis_url)), state))
        await until(lambda: state.reason is None)
        with redis.frozen():
            await until(lambda: state.reason)
        await until(lambda: state.reason is None)
        await operator.config_set("requirepass", "new")
        try:
            await operator.client_kill_filter(skipme=True, _type="normal")
            await until(lambda: "authenticated" in (state.reason or ""))
        finally:
            await operator.config_set("requirepass", "")
        await until(lambda: state.reason is None)
        assert not watching.done()
        watching.cancel()


async def test_the_watch_ends_if_the_client_drops_its_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asyncio.Event()

    async def ask(_: object) -> dict[str, object]:
        first = not asked.is_set()
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not first:
                raise  # else dropped, as by wait_for() of Python 3.11
        return {}

    monkeypatch.setattr(redis_client, "_info", ask)
    watching = asyncio.create_task(watch(config.Redis(), Dependency("redis")))
    await asked.wait()
    watching.cancel()
    await asyncio.wait({watching}, timeout=2)
    assert watching.cancelled()


async def test_the_time_of_each_command_and_pipeline_is_shown_by_operation(redis_url: str) -> None:
    registry = CollectorRegistry()
    settings = config.Redis(url=SecretStr(redis_url))
    async with connect(settings, durations=redis_durations(registry)) as redis:
        await redis.set("key", "value")
        await redis.get("key")
        await redis.get("key")
        await redis.script_load("return 1")
        await redis.xread({"stream": "0"}, block=1)  # waits for an event, so its time says nothing
        for transaction in (False, True):
            async with redis.pipeline(transaction=transaction) as pipe:
                pipe.get("key")
                pipe.get("key")
                assert await pipe.execute() == [b"value", b"value"]
        with pytest.raises(library.ResponseError):
            await redis.hget("key", "field")
    (family,) = registry.collect()
    counts = [sample for sample in family.samples if sample.name.endswith("_count")]
    assert {sample.labels["operation"]: sample.value for sample in counts} == {
        "set": 1,
        "get": 2,
        "script load": 1,
        "pipeline": 1,
        "transaction": 1,
        "hget": 1,
    }
