r"""The names of all keys in Redis that the streams service writes. Pure.

In a Redis Cluster a command, a transaction or a script may touch keys of one slot only, and a key's
slot follows from the part of its name in braces. So the keys of one series share
``{p:POOL}`` (``{n}`` for the network), and the keys of the snapshots share ``{snapshots}``.

==================================  ===============================================================
``mm:series``                       set of all series, as ``POOL/SOURCE``
``mm:{p:POOL}:SOURCE:m:HOUR``       hash: minute of the hour -> claim; expires
``mm:{p:POOL}:SOURCE:h:DAY``        hash: ``c``\ hour -> claim, ``r``\ hour -> roll-up; expires
``mm:{p:POOL}:SOURCE:d``            hash: ``c``\ day -> claim, ``r``\ day -> roll-up; never expires
``mm:{p:POOL}:SOURCE:published``    hash: a month's first day -> claim of the table that was
                                    published for it, row by row; never expires
``mm:{p:POOL}:SOURCE:meta``         hash: the first bucket of each tier, the last report, and a
                                    stamp that changes with every change of the cells
``mm:refused``                      hash: pool -> its newest rejected reading
``mm:{snapshots}``                  hash: ``WINDOW/LEVEL[/COUNTRY]`` -> answer, ``pools``, ``at``
``mm:{snapshots}:events``           stream of one hour: an entry for each event, as in
                                    :mod:`streams.redis.event_log`
``mm:{snapshots}:leader``           the process that takes the snapshots; expires
==================================  ===============================================================

Hours, days and minutes are numbered from the Unix epoch. A value is a sum over minutes, as in
:mod:`streams.method.cells`.
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


def meta(series: Series) -> str:
    """Return the key of what is known of a series beside its cells."""
    return f"{_prefix(series)}:meta"


def minutes(series: Series, hour: int) -> str:
    """Return the key of the minutes of one hour."""
    return f"{_prefix(series)}:m:{hour}"


def hours(series: Series, day: int) -> str:
    """Return the key of the hours of one day."""
    return f"{_prefix(series)}:h:{day}"


def days(series: Series) -> str:
    """Return the key of all days."""
    return f"{_prefix(series)}:d"


def published(series: Series) -> str:
    """Return the key of the tables that a source published."""
    return f"{_prefix(series)}:published"


def _prefix(series: Series) -> str:
    subject = "n" if series.pool is None else f"p:{series.pool}"
    return f"mm:{{{subject}}}:{series.source}"
