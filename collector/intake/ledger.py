"""The ledger: all rows that partners have sent, so that several requests add up to one report.

It follows from ``miningmap.reports``: the rows of a pool and a period are those of the latest
report about them. Redis holds the result, one hash for each pool, ``mm:intake:{POOL}:ledger``:

====================  ============================================================================
field                 value
====================  ============================================================================
``rows:NAME:START``   the rows of a period: their version, a space, and JSON, place -> H/s
``turn``              the version of the pool's latest report
``position:NUMBER``   the offset in this partition up to which all reports are in the hash
``building:ID``       a process is reading all reports
``hours_d``           days for which rows of hours are kept
====================  ============================================================================

Since everything is in one key, there is no half of it: a Redis that has lost the ledger, by
whatever accident, has lost the positions too, and a Redis that was set back to an earlier moment
has the positions and the turn of that moment. A process names those that it knows with each
request, and is refused if Redis does not have at least these: then the ledger is read from Kafka
again (:mod:`collector.intake.follower`). Nothing expires; rows of hours are removed once rows about
such a time are refused.

Concurrent requests are ordered by optimistic locking. Each takes a *version*, a time (microseconds)
later than all versions of its pool before it, whatever the clocks of several collectors say; it is
also the ``fetched_at`` of the reports that the request publishes. A request that finds, when it
writes, that a later version was taken starts over, because the later one has read the ledger
without its rows. So every version has read what was written before it, and the report with the
later ``fetched_at`` has all rows of the earlier one (docs/adr/0010-ledger-from-kafka.md).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import msgspec

from miningmap.cbeci.contribution import HOURLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

    from miningmap.cbeci.contribution_rows import Period, Rows

Positions: TypeAlias = "Mapping[int, int]"
"""By partition of ``miningmap.reports``, the offset of the first message that is not applied."""

_Args: TypeAlias = "list[str | int | bytes]"

_HOURS_D: Final = b"hours_d"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)  # the resolution of times in messages

# Each script begins with these functions. Redis runs a script as a whole or not at all.
_FUNCTIONS: Final = """
local key, next_arg = KEYS[1], 1
local function take() next_arg = next_arg + 1; return ARGV[next_arg - 1] end
local function positions()
  local found = {}
  for _ = 1, tonumber(take()) do found[#found + 1] = {'position:' .. take(), tonumber(take())} end
  return found
end
local function has_known()
  local known = positions()
  known[#known + 1] = {'turn', tonumber(take())}
  for _, least in ipairs(known) do
    local stored = redis.call('HGET', key, least[1]) or (least[1] == 'turn' and '0')
    if not stored or tonumber(stored) < least[2] then return false end
  end
  return true
end
local function raise_turn(version)
  local turn = tonumber(redis.call('HGET', key, 'turn') or '0')
  if version > turn then redis.call('HSET', key, 'turn', string.format('%.0f', version)) end
end
local function store_later_rows()
  for _ = 1, tonumber(take()) do
    local field, version, rows = take(), take(), take()
    local stored = redis.call('HGET', key, field)
    if not stored or tonumber(string.match(stored, '^%d+')) < tonumber(version) then
      redis.call('HSET', key, field, version .. ' ' .. rows)
    end
    raise_turn(tonumber(version))
  end
end
"""
_BEGIN: Final = (
    _FUNCTIONS
    + """
if not has_known() then return false end
local version = math.max(tonumber(take()), tonumber(redis.call('HGET', key, 'turn') or '0') + 1)
version = string.format('%.0f', version)
local rows = {}
for _ = 1, tonumber(take()) do rows[#rows + 1] = redis.call('HGET', key, take()) or '' end
redis.call('HSET', key, 'turn', version)
return {version, rows}
"""
)
_WRITE: Final = (
    _FUNCTIONS
    + """
if not has_known() or redis.call('HGET', key, 'turn') ~= take() then return 0 end
store_later_rows()
return 1
"""
)
_FOLLOW: Final = (
    _FUNCTIONS
    + """
if not has_known() then return 0 end
store_later_rows()
for _, position in ipairs(positions()) do
  local stored = tonumber(redis.call('HGET', key, position[1]) or '0')
  if position[2] > stored then redis.call('HSET', key, position[1], position[2]) end
end
return 1
"""
)
_BUILD: Final = (
    _FUNCTIONS
    + """
if redis.call('HEXISTS', key, take()) == 0 then return 0 end
store_later_rows()
return 1
"""
)
_FINISH: Final = (
    _FUNCTIONS
    + """
if redis.call('HEXISTS', key, take()) == 0 then return 0 end
for _, position in ipairs(positions()) do redis.call('HSET', key, position[1], position[2]) end
redis.call('HSET', key, 'hours_d', take())
for _, field in ipairs(redis.call('HKEYS', key)) do
  if string.sub(field, 1, 9) == 'building:' then redis.call('HDEL', key, field) end
end
return 1
"""
)


class Known(NamedTuple):
    """What Redis has to have at least, or it has lost rows.

    Attributes:
        positions: up to which the ledger is complete; none where nothing is followed.
        turn: the latest version that was written.
    """

    positions: Positions = MappingProxyType({})
    turn: datetime = _EPOCH


class Entry(NamedTuple):
    """The rows of a period as the report with this version (``fetched_at``) has them."""

    version: datetime
    rows: Rows


Entries: TypeAlias = "Mapping[Period, Entry]"


class State(NamedTuple):
    """How far a pool's ledger follows the reports.

    Attributes:
        positions: of what is in it; empty if it is not complete.
        hours_d: for how many days it has kept rows of hours.
    """

    positions: Positions
    hours_d: int


class Turn(NamedTuple):
    """A version that a request has taken, and the rows before it; empty where there are none."""

    version: datetime
    before: dict[Period, Rows]


class Ledger:
    """The partners' ledger in one Redis. Every method raises ``redis.RedisError`` if that fails."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    # --- for requests -----------------------------------------------------------------------------

    async def begin(
        self, pool: str, now: datetime, periods: Iterable[Period], known: Known
    ) -> Turn | None:
        """Take a version later than all before it, and read the rows of these periods.

        Args:
            pool: the slug.
            now: the clock; the version is just after the latest one if that is later.
            periods: whose rows are read.
            known: what Redis has to have at least.

        Returns:
            ``None`` if Redis has lost rows.
        """
        wanted = list(periods)
        fields = [_field(period) for period in wanted]
        args: _Args = [*_least(known), _number(now), len(fields), *fields]
        found = await self._run(_BEGIN, pool, args)
        if found is None:
            return None
        version, rows = found
        before = {period: _rows(value) for period, value in zip(wanted, rows, strict=True)}
        return Turn(_time(int(version)), before)

    async def write(
        self, pool: str, rows: Mapping[Period, Rows], version: datetime, known: Known
    ) -> bool:
        """Replace the rows of periods, all or none, if ``version`` still is the latest one.

        Returns:
            Whether it is. Otherwise nothing is written, nor if Redis has lost rows.
        """
        entries = {period: Entry(version, places) for period, places in rows.items()}
        args = [*_least(known), _number(version), *_encoded(entries)]
        return bool(await self._run(_WRITE, pool, args))

    async def read(self, pool: str, periods: Iterable[Period]) -> dict[Period, Rows]:
        """Return a pool's rows of these periods as H/s by place; empty where there are none."""
        wanted = list(periods)
        fields = [_field(period) for period in wanted]
        values = cast("list[bytes | None]", await self._redis.hmget(_key(pool), fields))
        return {period: _rows(value or b"") for period, value in zip(wanted, values, strict=True)}

    # --- for the follower -------------------------------------------------------------------------

    async def state(self, pool: str) -> State:
        """Return how far the ledger of a pool follows the reports."""
        names = [name for name in await self._fields(pool) if _is_state(name)]
        if not names:
            return State({}, 0)
        values = cast("list[bytes | None]", await self._redis.hmget(_key(pool), names))
        found = {name: int(value or 0) for name, value in zip(names, values, strict=True)}
        hours_d = found.pop(_HOURS_D, 0)
        return State({int(name.partition(b":")[2]): at for name, at in found.items()}, hours_d)

    async def follow(self, pool: str, entries: Entries, known: Known, positions: Positions) -> bool:
        """Add what reports say, and the positions after them, to a complete ledger.

        Returns:
            ``False`` if Redis has lost rows: it lacks what is known. Nothing was added.
        """
        args = [*_least(known), *_encoded(entries), *_listed(positions)]
        return bool(await self._run(_FOLLOW, pool, args))

    async def start_building(self, pool: str, process: str) -> None:
        """Note that a process begins to add all reports; several may do so at a time."""
        await self._redis.hset(_key(pool), f"building:{process}", "1")

    async def build(self, pool: str, process: str, entries: Entries) -> bool:
        """Add what reports say while all of them are read; ``False`` if Redis has lost rows."""
        args = [f"building:{process}", *_encoded(entries)]
        return bool(await self._run(_BUILD, pool, args))

    async def finish(self, pool: str, process: str, positions: Positions, hours_d: int) -> bool:
        """Note that all reports up to these positions were added.

        Returns:
            ``False`` if Redis has lost rows since the process began, or another one has finished.
        """
        args: _Args = [f"building:{process}", *_listed(positions), hours_d]
        return bool(await self._run(_FINISH, pool, args))

    async def forget_hours(self, pool: str, before: datetime) -> int:
        """Remove the rows of hours that began before a time; return of how many."""
        last = f"rows:{HOURLY}:{before:%Y-%m-%dT%H:%M:%SZ}".encode()
        names = await self._fields(pool)
        old = [
            name for name in names if name.startswith(f"rows:{HOURLY}:".encode()) and name < last
        ]
        if old:
            await self._redis.hdel(_key(pool), *old)
        return len(old)

    async def _run(self, script: str, pool: str, args: _Args) -> Any:  # noqa: ANN401 - as redis-py
        return await self._redis.register_script(script)(keys=[_key(pool)], args=args)

    async def _fields(self, pool: str) -> list[bytes]:
        return cast("list[bytes]", await self._redis.hkeys(_key(pool)))


def _key(pool: str) -> str:
    return f"mm:intake:{{{pool}}}:ledger"


def _field(period: Period) -> str:
    return f"rows:{period.name}:{period.start_date}"


def _is_state(field: bytes) -> bool:
    return field.startswith(b"position:") or field == _HOURS_D


def _number(time: datetime) -> int:
    return max(0, (time - _EPOCH) // _TICK)


def _time(number: int) -> datetime:
    return _EPOCH + number * _TICK


def _listed(positions: Positions) -> list[int]:
    return [len(positions), *(number for pair in positions.items() for number in pair)]


def _least(known: Known) -> list[int]:
    return [*_listed(known.positions), _number(known.turn)]


def _encoded(entries: Entries) -> _Args:
    encoded: _Args = [len(entries)]
    for period, entry in entries.items():
        # JSON keeps every bit of a float.
        rows = msgspec.json.encode(entry.rows)
        encoded += [_field(period), _number(entry.version), rows]
    return encoded


def _rows(value: bytes) -> Rows:
    _, _, rows = value.partition(b" ")
    return msgspec.json.decode(rows, type=dict[str, float]) if rows else {}
