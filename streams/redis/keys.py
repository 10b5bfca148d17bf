r"""The names of all keys in Redis that the streams service writes. Pure.

In a Redis Cluster a command, a transaction or a script may touch keys of one slot only, and a key's
slot follows from the part of its name in braces. So the keys of one series share ``{p:POOL}``
(``{n}`` for the network), those about positions ``{positions}``, and the keys around the snapshot
``{snapshots}``.

The cells and all that belongs to them are in a **generation** of keys, ``G``: the time at which it
was begun, in milliseconds since the Unix epoch, so that no number is ever used twice. Readers use
the one that is current.

==================================  ===============================================================
``mm:{positions}``                  hash: ``generation`` -> the current one, ``next`` -> the one
                                    that ``miningmap rebuild`` fills
``mm:{positions}:G``                hash: ``TOPIC/PARTITION`` -> the offset after the last message
                                    that was applied to G, without a gap before it
``mm:{positions}:G:targets``        hash: ``TOPIC/PARTITION`` -> ``START END``, what has to be
                                    applied before G can be read; absent once that is so
``mm:G:{PART}:applied``             hash, only in a Redis Cluster: a copy of ``mm:{positions}:G``
                                    in each part of the slots, and ``complete`` -> 1
``mm:{positions}:builder``          the process that fills the next generation; expires
``mm:G:series``                     set of all series, as ``POOL/SOURCE``
``mm:G:{p:POOL}:SOURCE:m:HOUR``     hash: minute of the hour -> claim
``mm:G:{p:POOL}:SOURCE:h:DAY``      hash: ``c``\ hour -> claim, ``r``\ hour -> roll-up
``mm:G:{p:POOL}:SOURCE:d``          hash: ``c``\ day -> claim, ``r``\ day -> roll-up; kept for ever
``mm:G:{p:POOL}:SOURCE:published``  hash: first day of a month -> claim of the table that was
                                    published for that month; kept for ever
``mm:G:{p:POOL}:SOURCE:meta``       hash: the first bucket of each tier, the oldest hashes that are
                                    kept, the last report, and a stamp that changes with every
                                    change of the cells
``mm:G:{p:POOL}:SOURCE:stamps``     hash: number of 32 days -> 16 digits for each of them, which
                                    change with every change of its cells; ``base`` -> those of
                                    any other day; ``last`` -> the stamp that is in the meta data
                                    too; kept for ever
``mm:G:damaged``                    hash: series -> why a claim could not be written; the series is
                                    left out until its keys are made anew
``mm:G:refused``                    hash: pool -> its newest rejected reading
``mm:{snapshots}``                  hash, the newest snapshot: ``WINDOW/LEVEL[/COUNTRY]`` -> answer,
                                    ``pools`` -> list of pools, ``at`` -> when it was taken
``mm:{snapshots}:events``           stream: the events of the last hour, encoded as in
                                    :mod:`streams.redis.event_log`
``mm:{snapshots}:leader``           the process that takes the snapshots; expires
``mm:{snapshots}:swings``           hash: ``minute`` -> the last one in which swings were evaluated,
                                    ``tracks`` -> what is remembered of subjects (JSON),
                                    ``status`` -> what swings in that minute (JSON)
``mm:{snapshots}:swings:hours``     hash: hour -> the deltas at its start, by pair (JSON)
``mm:{snapshots}:swings:list``      hash: id of a swing -> its events, the oldest first (JSON)
``mm:{snapshots}:swings:times``     sorted set: id of a swing, by the time of its newest event
``mm:{snapshots}:swings:outbox``    list: the events that are not in Kafka yet, the oldest first
``mm:{snapshots}:swings:leader``    the process that evaluates swings; expires
==================================  ===============================================================

Minutes, hours and days are numbered from the Unix epoch. A roll-up is the sum of the tier below.
Values are sums over minutes, as in :mod:`streams.method.cells`. Hashes of minutes and hours do not
expire by the clock: :mod:`streams.redis.expiry` removes them when no message can change them any
more, because a roll-up needs all of its parts however late a message is processed.

Before there were generations, their keys had no number: :mod:`streams.redis.takeover` renames them.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

if TYPE_CHECKING:
    from streams.method.cells import Series

POSITIONS: Final = "mm:{positions}"
COPIES: Final = 32
"""How many copies of the positions a Redis Cluster has: more than it has nodes."""
BUILDER: Final = f"{POSITIONS}:builder"

UNNUMBERED_SERIES: Final = "mm:series"
"""The set of all series before there were generations."""

SNAPSHOTS: Final = "mm:{snapshots}"
EVENTS: Final = f"{SNAPSHOTS}:events"
LEADER: Final = f"{SNAPSHOTS}:leader"

SWINGS: Final = f"{SNAPSHOTS}:swings"
SWING_HOURS: Final = f"{SWINGS}:hours"
SWING_LIST: Final = f"{SWINGS}:list"
SWING_TIMES: Final = f"{SWINGS}:times"
SWING_OUTBOX: Final = f"{SWINGS}:outbox"
SWING_LEADER: Final = f"{SWINGS}:leader"


def positions(generation: int) -> str:
    """Return the key of the positions of a generation."""
    return f"{POSITIONS}:{generation}"


def copies(generation: int) -> list[str]:
    """Return the keys of the copies of the positions, one in each of some equal parts of the slots.

    So each node of a cluster has one, unless it has hardly any slots.
    """
    return [f"mm:{generation}:{{{tag}}}:applied" for tag in _parts_of_slots()]


@cache
def _parts_of_slots() -> tuple[str, ...]:
    """Return for each part of the slots a text whose slot is in it: the first number that is."""
    found: dict[int, str] = {}
    for number in count():
        part = key_slot(b"%d" % number) * COPIES // REDIS_CLUSTER_HASH_SLOTS
        found.setdefault(part, str(number))
        if len(found) == COPIES:
            break
    return tuple(found[part] for part in sorted(found))


def targets(generation: int) -> str:
    """Return the key of what has to be applied before a generation can be read."""
    return f"{positions(generation)}:targets"


class Generation(NamedTuple):
    """The names of the keys of one generation."""

    number: int

    @property
    def series(self) -> str:
        """The key of the set of all series."""
        return f"mm:{self.number}:series"

    @property
    def rejected(self) -> str:
        """The key of the newest rejected reading of each pool."""
        return f"mm:{self.number}:refused"

    @property
    def damaged(self) -> str:
        """The key of the series that lack a claim."""
        return f"mm:{self.number}:damaged"

    def meta(self, series: Series) -> str:
        """Return the key of the meta data of a series."""
        return f"{self._prefix(series)}:meta"

    def minutes(self, series: Series, hour: int) -> str:
        """Return the key of the minutes of one hour."""
        return f"{self._prefix(series)}:m:{hour}"

    def hours(self, series: Series, day: int) -> str:
        """Return the key of the hours of one day."""
        return f"{self._prefix(series)}:h:{day}"

    def days(self, series: Series) -> str:
        """Return the key of all days of a series."""
        return f"{self._prefix(series)}:d"

    def published(self, series: Series) -> str:
        """Return the key of the tables that a source published."""
        return f"{self._prefix(series)}:published"

    def stamps(self, series: Series) -> str:
        """Return the key of the stamps of the days of a series."""
        return f"{self._prefix(series)}:stamps"

    def _prefix(self, series: Series) -> str:
        subject = "n" if series.pool is None else f"p:{series.pool}"
        return f"mm:{self.number}:{{{subject}}}:{series.source}"
