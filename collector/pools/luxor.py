"""The operator's own account (a workspace) at Luxor, and the places that the operator names."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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
    from collections.abc import Sequence

    from collector.sources.base import Secrets

_SUMMARY: Final = "https://app.luxor.tech/api/v2/pool/summary/BTC"


class _Summary(msgspec.Struct):
    hashrate_5m: decoding.Figure | None


def configure(secrets: Secrets) -> PoolSource:
    """Return the source with a request for each site that the operator has placed.

    Raises:
        SettingsError: ``sites`` is not a map from sites to places.
    """
    if "sites" not in secrets:
        return SOURCE
    sites = _placed(secrets["sites"])
    requests = (Request(f"{_SUMMARY}?{urlencode({'site_id': site})}") for site in sites)
    return replace(
        SOURCE,
        requests=(*SOURCE.requests, *requests),
        parse=partial(parse, codes=tuple(sites.values())),
    )


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


def parse(bodies: Sequence[bytes], *, codes: Sequence[str] = ()) -> list[Reading]:
    """Return the average over 5 minutes, and where it is.

    What is at no site with a place is unlocated. So is a site of unknown hashrate.

    Args:
        bodies: the summary of the whole account, then those of the sites.
        codes: the places of the sites, in the same order; several sites may share a place.
    """
    total, *sites = (
        decoding.hashrate(decoding.decode(body, _Summary).hashrate_5m) for body in bodies
    )
    if total is None:
        return []
    located = by_place(zip(codes, sites, strict=True), "measured")
    # The sites' responses come a moment later, and their hashrate may have grown.
    hashrate = max(total, sum(place.hashrate for place in located))
    return [Reading("luxor-account", hashrate, located)]


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
            'the places of the workspace\'s sites, as JSON: {"SITE_ID": "US-TX", ...}',
            required=False,
        ),
    ),
    requests=(Request(_SUMMARY),),
    # The token as it is: without "Bearer".
    authorise=credentials_in(headers={"Authorization": "{token}"}),
    configure=configure,
    poll_s=300,
    poll_reason=(
        "The figure is an average over 5 minutes; requests of each key and workspace are limited."
    ),
    averaging_s=300,
    hold_s=600,
    locates=Locating("measured", "subdivision", "by site, at the place that the operator names"),
    confidence="medium",
    unsure=(
        "It is assumed that a summary without names of subaccounts is of the whole workspace, as"
        " other clients do, and that its fields are those documented for version 1 of the API."
    ),
    default=False,
    pool="luxor-account",
    parse=parse,
)
