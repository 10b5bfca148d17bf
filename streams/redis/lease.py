"""Leases: of several processes, the one that holds a lease does some work, for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def renew(redis: Redis, key: str, process: str, for_s: float) -> bool:
    """Return whether ``process`` holds the lease ``key`` for the next ``for_s`` seconds.

    This is not atomic, and slow work can outlive the lease, so two processes can do the same work.
    """
    await redis.set(key, process, nx=True, px=int(for_s * 1000))
    if await redis.get(key) != process.encode():
        return False
    await redis.pexpire(key, int(for_s * 1000))
    return True


async def end(redis: Redis, key: str, process: str) -> None:
    """Let another process have the lease ``key`` at once, if ``process`` holds it."""
    if await redis.get(key) == process.encode():
        await redis.delete(key)
