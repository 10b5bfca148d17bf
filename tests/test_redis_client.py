"""The Redis client: its settings, and its behaviour while Redis is unavailable."""

from __future__ import annotations

import time

import pytest
import redis as library
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.redis_client import connect


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
