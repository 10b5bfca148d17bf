"""A client of Redis by the settings, the same for every service that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from miningmap.settings import Redis as RedisSettings


def connect(settings: RedisSettings, *, patient: bool = True) -> Redis:
    """A client. Nothing is sent until it is used.

    Args:
        settings: where Redis is.
        patient: wait for a Redis that is away, as a writer in the background does; else fail at
            once, for a request whose client is to be told. The one retry left is for connections
            that a restart of Redis has left dead in the pool.

    Raises:
        SettingsError: the URL is none of a Redis.
    """
    try:
        redis = Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=5
        )
    except ValueError:  # its text can quote what was meant to be the password
        text = "MININGMAP_REDIS__URL: a URL such as redis://127.0.0.1:6379/0 is wanted"
        raise SettingsError(text) from None
    if settings.password:
        redis.connection_pool.connection_kwargs["password"] = settings.password.get_secret_value()
    if not patient:
        redis.set_retry(Retry(NoBackoff(), retries=1))
    return redis
