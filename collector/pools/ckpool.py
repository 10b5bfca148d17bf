"""CKPool's solo servers: six regional hosts, which may share their statistics.

Each host once reported only the miners connected to it. Since July 2026 their statistics are said
to be merged. What the hosts respond tells which it is: statistics that several of them have in
common count once and are of no place.
"""

from __future__ import annotations

from statistics import median_high
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from collector.sources import decoding
from collector.sources.base import (
    Locating,
    PermanentError,
    PoolSource,
    Reading,
    Request,
    SourceError,
)
from collector.sources.located import by_place
from miningmap.places import OTHER
from miningmap.plausibility import MAX_AHEAD
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# Miners choose the nearest host, so most of a host's hashrate is in its part of the world. The
# first is in the US and gets all miners that did not choose one. Those in Germany and Singapore
# serve Europe, Africa and Asia, so no country is right: OTHER means "located, but in no listed
# country".
_HOSTS: Final = {
    "solo.ckpool.org": "US",
    "uwsolo.ckpool.org": "US",
    "uesolo.ckpool.org": "US",
    "eusolo.ckpool.org": OTHER,
    "sgsolo.ckpool.org": OTHER,
    "ausolo.ckpool.org": "AU",
}

# A host whose file is so much older than the newest one, in seconds, does not write it any more.
_STALE_S: Final = 600
# Files that began to count at the same time, to so many seconds, are the same statistics, read
# before and after they were written again. So are files with the same number of users, to this
# part. An error in this direction locates nothing; in the other, it counts hashrate several times.
_SAME_START_S: Final = 120
_SAME_USERS: Final = 0.02


class _Status(msgspec.Struct):
    runtime: float
    lastupdate: float
    users: float = msgspec.field(name="Users")


class _Hashrates(msgspec.Struct):
    hashrate5m: float | str | None


class _File(NamedTuple):
    """The status file of a host, which has a known hashrate (H/s, over 5 minutes)."""

    place: str
    started: float  # seconds since 1970, like the next one
    updated: float
    users: float
    hashrate: float

    def is_same(self, other: _File) -> bool:
        """Return whether both are the same statistics."""
        largest = max(self.users, other.users)
        return (
            abs(self.started - other.started) <= _SAME_START_S
            or abs(self.users - other.users) <= _SAME_USERS * largest
        )


def parse(bodies: Sequence[bytes], now: datetime | None = None) -> list[Reading]:
    """Return the total, and places if the hosts' statistics differ, as of the oldest file.

    A host is left out if it does not respond, has no figure, or has a wrong clock.

    Args:
        bodies: the hosts' files.
        now: the time of the fetch. Without it, a clock is compared with those of other hosts.

    Raises:
        SourceError: no host has a valid file; the error is the first one's.
    """
    files = _files(bodies, now)
    if not files:
        return []
    groups = _by_statistics(files)
    # Of files with the same statistics, the one with most users is the most complete.
    chosen = [max(group, key=lambda file: file.users) for group in groups]
    places = [_common_place(group) if len(groups) > 1 else None for group in groups]
    hashrates = [file.hashrate for file in chosen]
    return [
        Reading(
            "solock",
            sum(hashrates),
            by_place(zip(places, hashrates, strict=True), "estimated"),
            observed_at=decoding.unix_time(min(file.updated for file in chosen)),
        )
    ]


def _files(bodies: Sequence[bytes], now: datetime | None) -> list[_File]:
    """Return the files that are still written and have a figure.

    Raises:
        SourceError: none is valid.
    """
    files: list[_File] = []
    failures: list[SourceError] = []
    for place, body in zip(_HOSTS.values(), bodies, strict=True):
        try:
            if file := _file(place, body):
                files.append(file)
        except SourceError as error:
            failures.append(error)
    latest = _latest(files, now) if files else 0
    usable = [file for file in files if file.updated <= latest]
    failures += [_ahead() for _ in range(len(files) - len(usable))]
    if len(failures) == len(bodies):
        raise failures[0]
    newest = max((file.updated for file in usable), default=0)
    return [file for file in usable if newest - file.updated <= _STALE_S]


def _ahead() -> SourceError:
    return PermanentError("the clocks of the hosts are ahead of the time", reason="future")


def _latest(files: Sequence[_File], now: datetime | None) -> float:
    """Return the latest time that a host whose clock is right can have written."""
    if now is not None:
        return (now + MAX_AHEAD).timestamp()
    return median_high(file.updated for file in files) + _STALE_S


def _file(place: str, body: bytes) -> _File | None:
    """Return a host's status file, or ``None`` if it has no figure.

    It has three lines, each of which is a JSON document. Hashrates in it are like "141P".
    """
    first, second, *_ = [*body.splitlines(), b"", b""]  # a missing line is a truncated document
    status = decoding.decode(first, _Status)
    hashrate = decoding.hashrate(decoding.decode(second, _Hashrates).hashrate5m)
    if hashrate is None:
        return None
    updated = decoding.unix_time(status.lastupdate).timestamp()
    return _File(place, updated - status.runtime, updated, status.users, hashrate)


def _by_statistics(files: Sequence[_File]) -> list[list[_File]]:
    """Return the files grouped by the statistics that they have in common."""
    groups: list[list[_File]] = []
    for file in files:
        same = (group for group in groups if any(map(file.is_same, group)))
        group = next(same, None)
        if group is None:
            groups.append([file])
        else:
            group.append(file)
    return groups


def _common_place(files: Sequence[_File]) -> str | None:
    place, *others = {file.place for file in files}
    return None if others else place


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the status file of each host, which it writes once a minute.

    Of several hosts in one place, the first has all of the hashrate there.
    """
    (reading,) = readings
    written = reading.observed_at or at.replace(second=0)
    left = {place.code: place.hashrate for place in reading.places}
    seconds = int(written.timestamp())
    return [
        _example_file(number, left.pop(place, 0.0), seconds)
        for number, place in enumerate(_HOSTS.values(), start=1)
    ]


def _example_file(number: int, hashrate: float, written: int) -> bytes:
    short = format_hashrate(hashrate, 3).removesuffix("H/s").replace(" ", "")  # "141P"
    lines: tuple[object, ...] = (
        {
            "runtime": 8_812_345 // number,
            "lastupdate": written,
            "Users": 23_550 // number,
            "Workers": 38_949 // number,
            "Idle": 4_211,
            "Disconnected": 1_022,
        },
        {f"hashrate{span}": short for span in ("1m", "5m", "15m", "1hr", "6hr", "1d", "7d")},
        {
            "diff": 5.1,
            "accepted": 6_512_345_678_901,
            "rejected": 8_123_456_789,
            "bestshare": 9_812_345_678_901,
            "SPS1m": 312.0,
            "SPS5m": "3.92e3",
            "SPS15m": 331.0,
            "SPS1h": 340.0,
        },
    )
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


SOURCE = PoolSource(
    slug="ckpool",
    name="Solo CKPool",
    home="https://solo.ckpool.org",
    docs=None,
    terms="none stated",
    requests=tuple(Request(f"https://{host}/pool/pool.status", optional=True) for host in _HOSTS),
    poll_s=60,
    poll_reason="Each host writes its file once a minute.",
    averaging_s=300,
    hold_s=300,
    locates=Locating(
        "estimated",
        "country",
        "by host, if the hosts' statistics differ: US, AU, and OTHER for Europe, Africa and Asia",
    ),
    confidence="medium",
    unsure=(
        "Since July 2026 the hosts are said to have their statistics in common (stats.ckpool.org,"
        " raw.stats.ckpool.org); it is not known which of them still respond."
    ),
    default=True,
    pool="solock",  # mempool.space's slug of the pool
    parse=parse,
    parse_at=parse,
    example=example,
)
