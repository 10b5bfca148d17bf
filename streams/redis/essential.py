"""Writes that go on while Redis is full, because they are small and replace what is there.

Without them a full Redis would stop the snapshots too, and with them everything that is served,
although all cells are there to be read. They may exceed the limit (``maxmemory``) by their own size
only: the newest snapshot, the log of the last hour, and who takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

from streams.redis.scripts import script_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

Word: TypeAlias = "str | bytes | int"

_SCRIPT: Final = script_of("essential.lua")


async def run(redis: Redis, key: str, commands: Iterable[Sequence[Word]]) -> list[object]:
    """Run commands in one step, and return their replies.

    Args:
        redis: where.
        key: the first key of the commands; the name after it is used for a key that never exists.
        commands: each with its words; the second one is its key. All keys are in one slot.
    """
    listed = [list(command) for command in commands]
    names = [f"{key}:nothing", *dict.fromkeys(str(command[1]) for command in listed)]
    words = [word for command in listed for word in (len(command), *command)]
    found = await redis.eval(_SCRIPT.text, len(names), *names, *words)
    return cast("list[object]", found)
