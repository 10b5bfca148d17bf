"""An own account (a workspace) at Luxor, and where its sites are, as far as the operator says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from collector.sources import decoding
from collector.sources.base import ACCOUNT_TERMS, Credential, Locating, PoolSource, Reading, Request
from collector.sources.credentials import setting
from miningmap import places
from miningmap.messages import Located
from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets

_POOL: Final = "luxor-account"
_SUMMARY: Final = "https://app.luxor.tech/api/v2/pool/summary/BTC"
_SITES: Final = "sites"


class _Summary(msgspec.Struct):
    hashrate_5m: decoding.BareNumber | None


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With the token in a header, as it is: without "Bearer"."""
    return replace(request, headers={"Authorization": secrets["token"]})


def configure(secrets: Secrets) -> PoolSource:
    """The source that also asks for each of the sites that the operator has placed.

    Raises:
        SettingsError: ``sites`` is no map from sites to places.
    """
    if _SITES not in secrets:
        return SOURCE
    sites = _placed(secrets[_SITES])
    asked = (Request(f"{_SUMMARY}?{urlencode({'site_id': site})}") for site in sites)
    return replace(
        SOURCE,
        requests=(*SOURCE.requests, *asked),
        parse=partial(parse, codes=tuple(sites.values())),
    )


def _placed(text: str) -> dict[str, str]:
    """Places by site."""
    name = setting("luxor", _SITES)
    try:
        sites = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise SettingsError(f'{name}: must be JSON like {{"SITE_ID": "US-TX"}}') from None
    for number, code in enumerate(sites.values(), start=1):
        if not places.is_locatable(code):
            raise SettingsError(f"{name}: site {number} is at no place: {places.hint(code)}")
    return sites


def parse(
    bodies: Sequence[bytes], _fetched_at: datetime, *, codes: Sequence[str] = ()
) -> list[Reading]:
    """The average over 5 minutes in H/s, and where it is. The answers have no time of their own.

    Args:
        bodies: the summary of the whole account, then those of the sites.
        codes: where these sites are, in the same order; several may be at one place.

    What is at no site with a place is left unlocated. So is a site whose hashrate is unknown.
    """
    total, *sites = [_hashrate(summary) for summary in bodies]
    if total is None:
        return []
    located: dict[str, float] = defaultdict(float)
    for code, hashrate in zip(codes, sites, strict=True):
        if hashrate is not None:
            located[code] += hashrate
    return [
        Reading(
            _POOL,
            # The sites are asked a moment later, and may have grown since.
            max(total, sum(located.values())),
            places=tuple(Located(code, here, "measured") for code, here in located.items()),
        )
    ]


def _hashrate(summary: bytes) -> float | None:
    return decoding.hashrate(decoding.decode(summary, _Summary).hashrate_5m)


SOURCE: Final = PoolSource(
    slug="luxor",
    name="Luxor, own account",
    home="https://luxor.tech/mining",
    docs="https://docs.luxor.tech/mining/api/v2/reporting/get-summary",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("token", "an API key of the workspace that may read the mining pool"),
        Credential(
            _SITES,
            'where the workspace\'s sites are, as JSON: {"SITE_ID": "US-TX", ...}',
            required=False,
        ),
    ),
    requests=(Request(_SUMMARY),),
    authorise=authorise,
    configure=configure,
    poll_s=300,
    poll_reason="an average over 5 minutes; a bucket of tokens limits each key and workspace",
    averaging_s=300,
    hold_s=600,
    locates=Locating("measured", "subdivision", "by site, where its operator says that it is"),
    confidence="medium",
    unsure="assumed: that a summary without names of subaccounts is of the whole workspace, as"
    " clients take it, and that its fields are those documented for the first version of the API",
    default=False,
    pool=_POOL,
    parse=parse,
)
