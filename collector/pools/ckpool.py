"""CKPool's solo servers, each of which reports itself: a place by the server, not by the miner."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import Locating, PoolSource, Reading, Request, TransientError
from miningmap.messages import Located
from miningmap.places import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

# Miners choose the nearest server, so most of a server's hashrate is in its part of the world. The
# main one stands in the US, and takes those who did not choose. The European one is for Europe and
# Africa: no country's code would be honest, and OTHER says "located, but in no listed country".
_SERVERS: Final = (
    ("solo.ckpool.org", "US"),
    ("eusolo.ckpool.org", OTHER),
    ("ausolo.ckpool.org", "AU"),
)


class _Status(msgspec.Struct):
    lastupdate: int


class _Hashrates(msgspec.Struct):
    hashrate5m: str | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """All servers as one pool, as old as the oldest of them.

    One server that does not know its hashrate leaves the sum unknown: without it the pool would
    seem to have shrunk.
    """
    servers = list(map(_server, bodies))
    places = [
        Located(place, hashrate, "estimated")
        for (_, place), (_, hashrate) in zip(_SERVERS, servers, strict=True)
        if hashrate is not None
    ]
    if len(places) < len(_SERVERS):
        return []
    return [
        Reading(
            "solock",
            sum(place.hashrate for place in places),
            places=tuple(places),
            observed_at=min(updated for updated, _ in servers),
        )
    ]


def _server(status: bytes) -> tuple[datetime, float | None]:
    """When a server wrote its file, and its hashrate over 5 minutes in H/s ("141P").

    The file is three JSON documents, one a line, and is written anew each minute.
    """
    lines = status.splitlines()
    first = decoding.decode(lines[0] if lines else b"", _Status)
    if len(lines) == 1:
        raise TransientError("the file ends after its first line", reason="not_json")
    second = decoding.decode(lines[1], _Hashrates)
    return datetime.fromtimestamp(first.lastupdate, UTC), decoding.hashrate(second.hashrate5m)


SOURCE = PoolSource(
    slug="ckpool",
    name="Solo CKPool",
    home="https://solo.ckpool.org",
    docs=None,
    terms="none stated",
    requests=tuple(Request(f"https://{host}/pool/pool.status") for host, _ in _SERVERS),
    poll_s=60,
    poll_reason="each server writes its file once a minute",
    averaging_s=300,
    hold_s=300,
    locates=Locating(
        "estimated", "country", "by server: US, AU, and OTHER for that of Europe and Africa"
    ),
    confidence="medium",
    default=True,
    pool="solock",
    parse=parse,
)
