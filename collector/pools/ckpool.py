"""CKPool's solo servers. Each server reports only the miners connected to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import Locating, PoolSource, Reading, Request
from miningmap.messages import Located
from miningmap.places import OTHER
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# Miners choose the nearest server, so most of a server's hashrate is in its part of the world. The
# main server is in the US and gets all miners that did not choose one. The European one serves
# Europe and Africa, so no country is right for it: OTHER means "located, but in no listed country".
_SERVERS: Final = {
    "solo.ckpool.org": "US",
    "eusolo.ckpool.org": OTHER,
    "ausolo.ckpool.org": "AU",
}


class _Status(msgspec.Struct):
    lastupdate: int


class _Hashrates(msgspec.Struct):
    hashrate5m: float | str | None


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return all servers as one pool with one place each, as of the oldest status file."""
    times, hashrates = zip(*map(_server, bodies), strict=True)
    total = decoding.sum_or_unknown(hashrates)
    if total is None:
        return []
    servers = zip(_SERVERS.values(), hashrates, strict=True)
    # No rate is None here; the condition tells the type checker.
    places = tuple(Located(code, rate, "estimated") for code, rate in servers if rate is not None)
    return [Reading("solock", total, places, observed_at=min(times))]


def _server(body: bytes) -> tuple[datetime, float | None]:
    """Return when a server wrote its status file, and its hashrate over 5 minutes in H/s.

    The file has three lines, each of which is a JSON document. Hashrates in it are like "141P".
    """
    first, second, *_ = [*body.splitlines(), b"", b""]  # a missing line is a truncated document
    status = decoding.decode(first, _Status)
    hashrates = decoding.decode(second, _Hashrates)
    return decoding.unix_time(status.lastupdate), decoding.hashrate(hashrates.hashrate5m)


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the status file of each server, which it writes once a minute."""
    (reading,) = readings
    written = reading.observed_at or at.replace(second=0)
    located = {place.code: place.hashrate for place in reading.places}
    seconds = int(written.timestamp())
    return [_example_file(located.get(code, 0.0), seconds) for code in _SERVERS.values()]


def _example_file(hashrate: float, written: int) -> bytes:
    short = format_hashrate(hashrate, 3).removesuffix("H/s").replace(" ", "")  # "141P"
    lines: tuple[object, ...] = (
        {
            "runtime": 8_812_345,
            "lastupdate": written,
            "Users": 23_550,
            "Workers": 38_949,
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
    requests=tuple(Request(f"https://{host}/pool/pool.status") for host in _SERVERS),
    poll_s=60,
    poll_reason="Each server writes its file once a minute.",
    averaging_s=300,
    hold_s=300,
    locates=Locating("estimated", "country", "by server: US, AU, and OTHER for Europe and Africa"),
    confidence="medium",
    default=True,
    pool="solock",  # mempool.space's slug of the pool
    parse=parse,
    example=example,
)
