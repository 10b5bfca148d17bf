"""MiningRigRentals: rigs for rent, each behind a proxy of the broker, so no pool of its own.

What they mine is also in the totals of the pools that their renters mine at.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import (
    Locating,
    PermanentError,
    PoolSource,
    Reading,
    Request,
    TransientError,
)
from miningmap.messages import Located
from miningmap.places import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# Two lists, both of Bitcoin's algorithm. They may share rigs, of which each counts once.
_TYPES: Final = ("sha256", "sha256ab")
_PER_PAGE: Final = 100  # the most that the server gives
_PAGES: Final = 3  # of each list; there were 170 rigs in 2026

# A rig's owner chooses the nearest proxy. These are those that the server has listed; it also
# splits the US ("us-east", "us-nw"). All of Europe or Asia is no country: no code of one would be
# honest, and OTHER says "located, but in no listed country". What follows a dash is not read as a
# country unless it is here: "ne" may be Niger or the north-east.
_PLACES: Final[dict[str, str]] = {
    "ap": OTHER,
    "au": "AU",
    "ca": "CA",
    "eu": OTHER,
    "eu-de": "DE",
    "eu-ru": "RU",
    "eu-uk": "GB",
    "in": "IN",
    "jp": "JP",
    "us": "US",
}


class _Status(msgspec.Struct):
    online: bool


class _Hash(msgspec.Struct):
    hash: float | decoding.BareNumber | None
    type: str


class _Hashrate(msgspec.Struct):
    last_5min: _Hash


class _Rig(msgspec.Struct):
    id: str
    region: str
    status: _Status
    hashrate: _Hashrate


class _Page(msgspec.Struct):
    total: int
    records: list[_Rig]


class _Answer(msgspec.Struct):
    success: bool
    data: msgspec.Raw = msgspec.Raw(b"null")


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The rigs that are online, by the mean of 5 minutes.

    One of which it does not say how fast it is counts as one that is offline.
    """
    pages = [_page(answer) for answer in bodies]
    rigs = {
        rig.id: rig
        for first in range(0, len(pages), _PAGES)
        for rig in _listed(pages[first : first + _PAGES])
    }
    places = defaultdict[str, float](float)
    speeds = []
    for rig in rigs.values():
        speed = _speed(rig.hashrate.last_5min)
        if not rig.status.online or speed is None:
            continue
        speeds.append(speed)
        if place := _place(rig.region):
            places[place] += speed
    if not speeds:
        return []
    located = tuple(Located(code, places[code], "estimated") for code in sorted(places))
    return [Reading("miningrigrentals", sum(speeds), places=located)]


def _page(answer: bytes) -> _Page:
    said = decoding.decode(answer, _Answer)
    if not said.success:
        raise decoding.refused(bytes(said.data).decode())
    return decoding.decode(bytes(said.data), _Page)


def _listed(pages: Sequence[_Page]) -> list[_Rig]:
    """All rigs of one list.

    Raises:
        PermanentError: it is longer than what was asked of it.
        TransientError: it changed while it was read, and rigs are missing.
    """
    total = max(page.total for page in pages)
    if total > _PER_PAGE * _PAGES:
        text = f"{total} rigs, more than the {_PER_PAGE * _PAGES} that are asked for"
        raise PermanentError(text, reason="shape")
    rigs = [rig for page in pages for rig in page.records]
    missing = total - len({rig.id for rig in rigs})
    if missing > 0:
        raise TransientError(f"{missing} of {total} rigs are missing", reason="refused")
    return rigs


def _speed(measured: _Hash) -> float | None:
    """In H/s, of a figure like 137.137 "th"; plain hashes are a "hash"."""
    unit = "H" if measured.type == "hash" else measured.type
    return decoding.hashrate(measured.hash, unit)


def _place(region: str) -> str | None:
    if region.startswith("us-"):
        return _PLACES["us"]
    return _PLACES.get(region)


SOURCE = PoolSource(
    slug="miningrigrentals",
    name="MiningRigRentals, rigs for rent",
    home="https://www.miningrigrentals.com",
    docs="https://www.miningrigrentals.com/apidocv2",
    terms="none stated for the lists; the API is called a beta that may change without notice",
    scope="market",
    requests=tuple(
        Request(
            f"https://www.miningrigrentals.com/api/v2/rig?type={kind}&rented=true"
            f"&count={_PER_PAGE}&offset={_PER_PAGE * page}"
        )
        for kind in _TYPES
        for page in range(_PAGES)
    ),
    poll_s=300,
    poll_reason="the figures are averages over 5 minutes; limits are not stated",
    averaging_s=300,
    # A list that changed while it was read is asked for again only after the next interval.
    hold_s=1800,
    locates=Locating("estimated", "country", "by the proxy that the rig's owner chose"),
    confidence="medium",
    unsure=(
        "whether rigs that are rented are listed too, as is asked; whether the lists stay open to"
        " all, as the documentation wants a key; what part mines other coins. It is in the totals"
        " of the pools that renters mine at, too, so it is off by default"
    ),
    default=False,
    pool="miningrigrentals",
    parse=parse,
)
