"""MiningRigRentals: rigs for rent, which mine at the pools of those who rent them.

Their hashrate is therefore in the totals of those pools, too.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

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
from collector.sources.envelope import Envelope
from collector.sources.located import by_place
from miningmap.places import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two lists, both of Bitcoin's algorithm. A rig may be on both; it counts once.
_TYPES: Final = ("sha256", "sha256ab")
_PER_PAGE: Final = 100  # the server's maximum
# Of one list; there were 170 rigs in 2026. More pages of both would take most of an interval.
_MOST_PAGES: Final = 40

# The owner of a rig chooses the nearest proxy. These are the proxies that the server has listed,
# beside several of the US ("us-east", "us-nw"). Europe or Asia is not a country, and OTHER means
# "located, but in no listed country". No other text after a dash is read as a country: "ne" may be
# Niger or the north-east.
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

_ENVELOPE: Final = Envelope(code="success", ok=(True,), message="data")


class _Status(msgspec.Struct):
    online: bool


class _Speed(msgspec.Struct):
    hash: decoding.Figure | None
    type: str


class _Hashrate(msgspec.Struct):
    last_5min: _Speed


class _Rig(msgspec.Struct):
    id: str | int
    region: decoding.Label
    status: _Status
    hashrate: _Hashrate


class _Page(msgspec.Struct):
    total: Annotated[int, msgspec.Meta(ge=0)]
    records: list[_Rig]


def _request(kind: str, page: int) -> Request:
    query = f"type={kind}&rented=true&count={_PER_PAGE}&offset={_PER_PAGE * page}"
    return Request(f"https://www.miningrigrentals.com/api/v2/rig?{query}")


def more(bodies: Sequence[bytes]) -> list[Request]:
    """Return the requests of all pages but the first ones, list by list."""
    if len(bodies) > len(_TYPES):
        return []
    firsts = zip(_TYPES, _pages(bodies), strict=True)
    return [_request(kind, n) for kind, first in firsts for n in range(1, _page_count(first))]


def _pages(bodies: Sequence[bytes]) -> list[_Page]:
    return [_ENVELOPE.decode(body, _Page) for body in bodies]


def _page_count(first: _Page) -> int:
    """Return the number of pages of a list.

    Raises:
        PermanentError: the list is too long.
    """
    if first.total > _PER_PAGE * _MOST_PAGES:
        text = f"a list of more than {_PER_PAGE * _MOST_PAGES} rigs"
        raise PermanentError(text, reason="shape")
    return max(1, math.ceil(first.total / _PER_PAGE))


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the rigs that are online, by their means over 5 minutes.

    A rig of unknown hashrate counts as offline.

    Args:
        bodies: the first page of each list, then the further pages of each.
    """
    pages = _pages(bodies)
    further = iter(pages[len(_TYPES) :])
    lists = [[first, *islice(further, _page_count(first) - 1)] for first in pages[: len(_TYPES)]]
    rigs = {str(rig.id): rig for pages_of_list in lists for rig in _rigs(pages_of_list)}
    online = [
        (_place(rig.region), speed)
        for rig in rigs.values()
        if (speed := _speed(rig.hashrate.last_5min)) is not None and rig.status.online
    ]
    if not online:
        return []
    places = by_place(online, "estimated")
    return [Reading("miningrigrentals", sum(speed for _, speed in online), places)]


def _rigs(pages: Sequence[_Page]) -> list[_Rig]:
    """Return all rigs of one list.

    Raises:
        TransientError: the list changed between the requests, and rigs are missing.
    """
    total = max(page.total for page in pages)
    rigs = [rig for page in pages for rig in page.records]
    missing = total - len({str(rig.id) for rig in rigs})
    if missing > 0:
        raise TransientError(f"{missing} of {total} rigs are missing", reason="refused")
    return rigs


def _speed(speed: _Speed) -> float | None:
    """Return the H/s of a figure like 137.137 "th"; the unit of plain hashes is "hash"."""
    return decoding.hashrate(
        speed.hash, "H" if decoding.is_named(speed.type, "hash") else speed.type
    )


def _place(region: decoding.Label) -> str | None:
    name = str(region).strip().casefold()
    return _PLACES["us"] if name.startswith("us-") else _PLACES.get(name)


SOURCE = PoolSource(
    slug="miningrigrentals",
    name="MiningRigRentals, rigs for rent",
    home="https://www.miningrigrentals.com",
    docs="https://www.miningrigrentals.com/apidocv2",
    terms="none stated for the lists; the API is a beta that may change without notice",
    scope="market",
    requests=tuple(_request(kind, 0) for kind in _TYPES),
    more=more,
    poll_s=300,
    poll_reason="The figures are averages over 5 minutes; no limit is documented.",
    averaging_s=300,
    # If a list changes between the requests, the next figure comes only after another interval.
    hold_s=1800,
    locates=Locating("estimated", "country", "by the proxy that the owner of a rig chose"),
    confidence="medium",
    unsure=(
        "It is not known whether rented rigs are listed, as requested; whether the lists stay open,"
        " because the documentation requires a key; and what part mines other coins. The hashrate"
        " is also in the totals of the pools at which the rigs mine, so the source is off by"
        " default."
    ),
    default=False,
    pool="miningrigrentals",
    parse=parse,
)
