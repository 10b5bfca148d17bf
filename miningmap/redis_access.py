"""What Redis's access rules allow this client, asked before it is needed.

Without this, a missing permission shows only at the first command that needs it, in the middle of
the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.exceptions import NoPermissionError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_READING: Final = ("GET {}", "HGETALL {}", "HMGET {} f", "XREVRANGE {} + -", "SMEMBERS {}")
_WRITING: Final = ("SET {} v", "HSET {} f v", "HDEL {} f", "EXPIRE {} 1", "UNLINK {}", "MULTI")
_SCRIPTS: Final = ("EVALSHA x 1 {}", "SCRIPT LOAD x", "TIME")

# A script can ask about commands without running them, from Redis 7 on. Older ones are not asked.
_SCRIPT: Final = """
local missing = {}
if redis.acl_check_cmd then
  for _, line in ipairs(ARGV) do
    local words = {}
    for word in line:gmatch("%S+") do words[#words + 1] = word end
    if not redis.acl_check_cmd(unpack(words)) then missing[#missing + 1] = line end
  end
end
return missing
"""


@dataclass(frozen=True)
class Access:
    """What a service does with keys that begin with a prefix."""

    prefix: str
    writes: bool = True
    scripts: bool = False

    def commands(self) -> list[str]:
        """Return one command of each kind that is needed, in words."""
        wanted = _READING + _WRITING * self.writes + _SCRIPTS * self.scripts
        return [command.format(f"{self.prefix}access") for command in wanted]


ENDPOINT: Final = Access("mm:", writes=False)
STREAMS: Final = Access("mm:", scripts=True)
COLLECTOR: Final = Access("mm:intake:")


async def missing_commands(redis: Redis, access: Access) -> list[str]:
    """Return the commands that Redis does not allow; an empty list if it allows all.

    Raises:
        RedisError: Redis did not answer.
    """
    try:
        denied: list[bytes] = await redis.eval_ro(_SCRIPT, 0, *access.commands())
    except NoPermissionError:
        return ["EVAL_RO"]
    return [command.decode() for command in denied]
