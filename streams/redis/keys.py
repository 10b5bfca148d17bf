r"""The names of all keys in Redis that the streams service writes. Pure.

In a Redis Cluster a command, a transaction or a script may touch keys of one slot only, and a key's
slot follows from the part of its name in braces. So the keys of one series share ``{p:POOL}``
(``{n}`` for the network), and the keys around the snapshot share ``{snapshots}``.

==================================  ===============================================================
``mm:series``                       set of all series, as ``POOL/SOURCE``
``mm:{p:POOL}:SOURCE:m:HOUR``       hash: minute of the hour -> claim; expires
``mm:{p:POOL}:SOURCE:h:DAY``        hash: ``c``\ hour -> claim, ``r``\ hour -> roll-up; expires
``mm:{p:POOL}:SOURCE:d``            hash: ``c``\ day -> claim, ``r``\ day -> roll-up; never expires
``mm:{p:POOL}:SOURCE:published``    hash: first day of a month -> claim of the table that was
                                    published for that month; never expires
``mm:{p:POOL}:SOURCE:meta``         hash: the first bucket of each tier, the last report, and a
                                    stamp that changes with every change of the cells
``mm:refused``                      hash: pool -> its newest rejected reading
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
Values are sums over minutes, as in :mod:`streams.method.cells`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.method.cells import Series

SERIES: Final = "mm:series"
REJECTED: Final = "mm:refused"

SNAPSHOTS: Final = "mm:{snapshots}"
EVENTS: Final = f"{SNAPSHOTS}:events"
LEADER: Final = f"{SNAPSHOTS}:leader"

SWINGS: Final = f"{SNAPSHOTS}:swings"
SWING_HOURS: Final = f"{SWINGS}:hours"
SWING_LIST: Final = f"{SWINGS}:list"
SWING_TIMES: Final = f"{SWINGS}:times"
SWING_OUTBOX: Final = f"{SWINGS}:outbox"
SWING_LEADER: Final = f"{SWINGS}:leader"


def meta(series: Series) -> str:
    """Return the key of the meta data of a series."""
    return f"{_prefix(series)}:meta"


def minutes(series: Series, hour: int) -> str:
    """Return the key of the minutes of one hour."""
    return f"{_prefix(series)}:m:{hour}"


def hours(series: Series, day: int) -> str:
    """Return the key of the hours of one day."""
    return f"{_prefix(series)}:h:{day}"


def days(series: Series) -> str:
    """Return the key of all days of a series."""
    return f"{_prefix(series)}:d"


def published(series: Series) -> str:
    """Return the key of the tables that a source published."""
    return f"{_prefix(series)}:published"


def _prefix(series: Series) -> str:
    subject = "n" if series.pool is None else f"p:{series.pool}"
    return f"mm:{{{subject}}}:{series.source}"
