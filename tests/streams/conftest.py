"""What several tests of the streams service need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from miningmap.redis_client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from miningmap.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Redis]:
    """A client of the Redis that the service under test writes to."""
    client = connect(settings.redis)
    yield client
    await client.aclose()
