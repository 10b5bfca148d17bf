"""Leases: of several processes, the one that holds a lease does some work, for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.redis import essential

if TYPE_CHECKING:
    from redis.asyncio import Redis

_NO_EXPIRY: Final = -1


async def renew(redis: Redis, key: str, process: str, for_s: float) -> bool:
    """Return whether ``process`` holds the lease ``key`` for the next ``for_s`` seconds.

    This is not atomic, and slow work can outlive the lease, so two processes can do the same work.
    A lease without an expiry, which somebody else must have written, gets one: it would be held for
    ever.
    """
    for_ms = int(for_s * 1000)
    # Goes on while Redis is full: a lease is small.
    commands = [("SET", key, process, "NX", "PX", for_ms), ("GET", key), ("PTTL", key)]
    _, holder, left_ms = await essential.run(redis, key, commands)
    is_held = bool(holder == process.encode())
    if is_held or left_ms == _NO_EXPIRY:
        await redis.pexpire(key, for_ms)
    return is_held


async def end(redis: Redis, key: str, process: str) -> None:
    """Let another process have the lease ``key`` at once, if ``process`` holds it."""
    if await redis.get(key) == process.encode():
        await redis.delete(key)
