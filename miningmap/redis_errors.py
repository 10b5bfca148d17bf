"""Why Redis does not take a write: by the error that it answers, and by what it tells of itself.

A Redis that is away, one that is full and one that refuses a single value for its size need
different things: to wait, to be given room, and to leave that value out. Pure.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Cause: TypeAlias = Literal["away", "full", "disk", "read_only", "loading", "too_large", "refused"]
"""Why a write failed:

``away``       it cannot be reached
``full``       its memory limit is reached (``maxmemory``, policy ``noeviction``)
``disk``       it cannot write its files, and takes no writes meanwhile (``MISCONF``)
``read_only``  it is a replica, for instance after a failover
``loading``    it reads its files after a start
``too_large``  the write itself is larger than it accepts; to send it again cannot help
``refused``    it answers that it does not do it, such as for a key's wrong type
"""

NOEVICTION: Final = "noeviction"

_MB: Final = 10**6

# A script reports an error of a command in it with other words around it, by version.
_CAUSES: Final[tuple[tuple[Cause, re.Pattern[str]], ...]] = (
    ("full", re.compile(r"used memory > 'maxmemory'")),
    ("disk", re.compile(r"\bMISCONF\b")),
    ("read_only", re.compile(r"\bREADONLY\b|read only replica")),
    ("loading", re.compile(r"\bLOADING\b|is loading the dataset")),
    (
        "too_large",
        re.compile(
            r"invalid (multi)?bulk length|exceeds maximum allowed|request size exceeded"
            r"|too many results to unpack|string slice too long|not enough memory|unpacked too",
            re.IGNORECASE,
        ),
    ),
)
_WORDS: Final[Mapping[Cause, str]] = {
    "full": "Redis is full: give it more memory (maxmemory); what is to be written waits",
    "disk": (
        "Redis cannot write its files and takes no writes: give its disk room; "
        "what is to be written waits"
    ),
    "read_only": "Redis is a read-only replica: point the services at the primary",
    "loading": "Redis is loading its files",
}


def cause_of(error: Exception) -> Cause:
    """Return why Redis failed, by its error."""
    if isinstance(error, OutOfMemoryError):
        return "full"
    if isinstance(error, ReadOnlyError):
        return "read_only"
    if isinstance(error, BusyLoadingError):
        return "loading"
    text = str(error)
    otherwise: Cause = "refused" if isinstance(error, ResponseError) else "away"
    return next((cause for cause, pattern in _CAUSES if pattern.search(text)), otherwise)


def described(error: Exception) -> str:
    """Return what is wrong with Redis, in words for people."""
    cause = cause_of(error)
    if cause in _WORDS:
        return _WORDS[cause]
    what = "is unavailable" if cause == "away" else "refuses a command"
    return f"Redis {what}: {str(error) or type(error).__name__}"


class Memory(NamedTuple):
    """What Redis says of its memory.

    Attributes:
        used: bytes that count towards the limit.
        limit: bytes; 0 for none.
        policy: what it does when the limit is reached.
    """

    used: int
    limit: int
    policy: str

    @property
    def is_full(self) -> bool:
        """Whether writes that need memory are refused."""
        return 0 < self.limit < self.used and self.policy == NOEVICTION

    @property
    def evicts(self) -> bool:
        """Whether it removes keys without a word when the limit is reached."""
        return self.limit > 0 and self.policy != NOEVICTION


def fullest(memories: Iterable[Memory]) -> Memory:
    """Return the memory of the server that is next to being full, of at least one."""
    return max(memories, key=lambda memory: (memory.used / (memory.limit or math.inf), memory.used))


def memory_of(info: Mapping[str, object]) -> Memory:
    """Return the memory from an answer to ``INFO``; what it does not say is 0 or ``noeviction``."""
    used = _number(info, "used_memory") - _number(info, "mem_not_counted_for_evict")
    policy = str(info.get("maxmemory_policy", NOEVICTION))
    return Memory(max(0, used), _number(info, "maxmemory"), policy)


def write_problem(info: Mapping[str, object]) -> tuple[Cause, str] | None:
    """Return why writes would fail, by an answer to ``INFO``; ``None`` if they would not."""
    if info.get("role") == "slave" and _number(info, "slave_read_only", 1):
        return "read_only", _WORDS["read_only"]
    memory = memory_of(info)
    if memory.is_full:
        sizes = f"{memory.used / _MB:,.0f} of {memory.limit / _MB:,.0f} MB"
        return "full", f"{_WORDS['full']} ({sizes})"
    return None


def _number(info: Mapping[str, object], name: str, default: int = 0) -> int:
    value = info.get(name, default)
    return int(value) if isinstance(value, int | float) else default
