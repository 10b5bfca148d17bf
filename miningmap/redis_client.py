"""Create the Redis client of a service from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from miningmap.settings import Redis as RedisSettings


def connect(settings: RedisSettings, *, patient: bool = True) -> Redis:
    """A client that connects when it is first used.

    Args:
        settings: where Redis is.
        patient: retry with pauses while Redis is unavailable, as suits a writer in the background.
            Without, a command fails at once, as suits an HTTP request; it is retried only once,
            because a restart of Redis leaves closed connections in the pool.

    Raises:
        SettingsError: the URL is not one of Redis.
    """
    try:
        redis = Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=5
        )
    except ValueError:  # its text can contain the password
        text = "MININGMAP_REDIS__URL: expected a URL such as redis://127.0.0.1:6379/0"
        raise SettingsError(text) from None
    if settings.password:
        redis.connection_pool.connection_kwargs["password"] = settings.password.get_secret_value()
    if not patient:
        redis.set_retry(Retry(NoBackoff(), retries=1))
    return redis
