"""The operator's own account (a workspace) at Luxor, and where its sites are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from collector.sources import decoding
from collector.sources.authorisation import credentials_in
from collector.sources.base import ACCOUNT_TERMS, Credential, Locating, PoolSource, Reading, Request
from collector.sources.credentials import setting
from collector.sources.located import by_place
from miningmap import places
from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.sources.base import Secrets

_API: Final = "https://app.luxor.tech/api/v2"
_PER_PAGE: Final = 100
# A summary has to name its subaccounts. These many names keep its URL below the usual limits.
_PER_SUMMARY: Final = 50
_NO_PLACES: Final[Mapping[str, str]] = MappingProxyType({})

# The API knows these countries, and OTHER, which says nothing.
_COUNTRIES: Final = {"USA": "US", "CA": "CA"}
# The power markets of a single state or province; all others are of several.
_MARKETS: Final = {"AESO": "CA-AB", "ERCOT": "US-TX", "IESO": "CA-ON", "NYISO": "US-NY"}


class _Energy(msgspec.Struct):
    power_market: str | None = None


class _Site(msgspec.Struct):
    id: str | int
    country: str | None = None
    energy: _Energy | None = None


class _Sites(msgspec.Struct):
    sites: list[_Site]


class _Subaccount(msgspec.Struct):
    name: str | int


class _Pagination(msgspec.Struct):
    next_page_url: str | None


class _Subaccounts(msgspec.Struct):
    subaccounts: list[_Subaccount]
    pagination: _Pagination


class _Summary(msgspec.Struct):
    hashrate_5m: decoding.Figure | None


def configure(secrets: Secrets) -> PoolSource:
    """Return the source with the places that the operator names for sites.

    Raises:
        SettingsError: ``sites`` is not a map from sites to places.
    """
    if "sites" not in secrets:
        return SOURCE
    own = _placed(secrets["sites"])
    return replace(SOURCE, more=partial(more, own=own), parse=partial(parse, own=own))


def _placed(text: str) -> dict[str, str]:
    """Return the place of each site."""
    name = setting("luxor", "sites")
    try:
        sites = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise SettingsError(f'{name}: must be JSON like {{"SITE_ID": "US-TX"}}') from None
    for number, code in enumerate(sites.values(), start=1):
        if not places.is_locatable(code):
            raise SettingsError(f"{name}: site {number} is at no known place: {places.hint(code)}")
    return sites


def _page(number: int) -> Request:
    query = urlencode({"page_number": number, "page_size": _PER_PAGE})
    return Request(f"{_API}/pool/subaccounts?{query}")


def _summary(**query: str) -> Request:
    return Request(f"{_API}/pool/summary/BTC?{urlencode(query)}")


def more(bodies: Sequence[bytes], *, own: Mapping[str, str] = _NO_PLACES) -> list[Request]:
    """Return the next page of subaccounts, or the summaries of all of them and of placed sites."""
    pages = _pages(bodies)
    if pages[-1].pagination.next_page_url:
        return [_page(len(pages) + 1)]
    names = [str(subaccount.name) for page in pages for subaccount in page.subaccounts]
    if not names or len(bodies) > 1 + len(pages):
        return []
    parts = (names[n : n + _PER_SUMMARY] for n in range(0, len(names), _PER_SUMMARY))
    return [
        *(_summary(subaccount_names=",".join(part)) for part in parts),
        *(_summary(site_id=site) for site in _codes(bodies[0], own)),
    ]


def parse(bodies: Sequence[bytes], *, own: Mapping[str, str] = _NO_PLACES) -> list[Reading]:
    """Return the average over 5 minutes, and where it is.

    What is at no site with a place is unlocated. So is a site of unknown hashrate.

    Args:
        bodies: the sites, the pages of subaccounts, and the summaries: first those of subaccounts,
            which add up to the whole account, then one of each placed site.
        own: the places that the operator names, by site.
    """
    pages, codes = _pages(bodies), _codes(bodies[0], own)
    figures = [
        decoding.hashrate(decoding.decode(body, _Summary).hashrate_5m)
        for body in bodies[1 + len(pages) :]
    ]
    count = len(figures) - len(codes)
    total = decoding.sum_or_unknown(figures[:count])
    if not figures or total is None:
        return []
    located = by_place(zip(codes.values(), figures[count:], strict=True), "measured")
    # The sites' responses come a moment later, and their hashrate may have grown.
    hashrate = max(total, sum(place.hashrate for place in located))
    return [Reading("luxor-account", hashrate, located)]


def _pages(bodies: Sequence[bytes]) -> list[_Subaccounts]:
    """Return the pages of subaccounts, which come after the sites, up to the last page."""
    pages: list[_Subaccounts] = []
    for body in bodies[1:]:
        pages.append(decoding.decode(body, _Subaccounts))
        if not pages[-1].pagination.next_page_url:
            break
    return pages


def _codes(body: bytes, own: Mapping[str, str]) -> dict[str, str]:
    """Return the places by site: those that the workspace lists, unless the operator names one.

    A key without access to the workspace gets no list.
    """
    listed = decoding.decode(body, _Sites).sites if body else []
    found = {str(site.id): code for site in listed if (code := _place(site)) is not None}
    return found | dict(own)


def _place(site: _Site) -> str | None:
    country = _COUNTRIES.get(site.country or "")
    market = _MARKETS.get((site.energy and site.energy.power_market) or "")
    if market is not None and country in {None, places.country_of(market)}:
        return market
    return country


SOURCE: Final = PoolSource(
    slug="luxor",
    name="Luxor, own account",
    home="https://luxor.tech/mining",
    docs="https://docs.luxor.tech/mining/api/v2/reporting/get-summary",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("token", "an API key of the workspace, with read access to the mining pool"),
        Credential(
            "sites",
            "places of the workspace's sites, in place of or in addition to those that it lists, as"
            ' JSON: {"SITE_ID": "US-TX", ...}',
            required=False,
        ),
    ),
    requests=(Request(f"{_API}/workspace/sites", optional=True), _page(1)),
    more=more,
    # The token as it is: without "Bearer".
    authorise=credentials_in(headers={"Authorization": "{token}"}),
    configure=configure,
    poll_s=300,
    poll_reason=(
        "The figure is an average over 5 minutes; requests of each key and workspace are limited."
    ),
    averaging_s=300,
    hold_s=600,
    locates=Locating(
        "measured",
        "subdivision",
        "by site, at the country and power market in the workspace, or where the operator says",
    ),
    confidence="medium",
    unsure=(
        "The fields of a summary are those documented for version 1 of the API, and used by clients"
        " of version 2. It is not documented how many subaccounts a page may have."
    ),
    default=False,
    pool="luxor-account",
    part_of="luxor",
    parse=parse,
)
