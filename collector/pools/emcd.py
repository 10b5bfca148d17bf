"""An own account at EMCD."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from collector.sources import decoding
from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets


class _Total(msgspec.Struct):
    hashrate: float | None


class _Workers(msgspec.Struct):
    total_hashrate: _Total


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With the key in the path: the API knows no other way."""
    return replace(request, url=request.url + quote(secrets["key"], safe=""))


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The account's present hashrate, in H/s. The answer has no time of its own."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Workers).total_hashrate.hashrate)
    return [] if hashrate is None else [Reading("emcdpool-account", hashrate)]


SOURCE = PoolSource(
    slug="emcd",
    name="EMCD, own account",
    home="https://emcd.io",
    docs=None,
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("key", "the account's API key; it is in the address, as the API wants it"),
    ),
    requests=(Request("https://api.emcd.io/v1/btc/workers/"),),
    authorise=authorise,
    poll_s=300,
    poll_reason="limits are not stated, and workers show up after 7 to 15 minutes",
    # Not stated for the present hashrate; the next average that the API gives is over an hour.
    averaging_s=600,
    hold_s=600,
    confidence="medium",
    unsure="not known: over which time the present hashrate is an average; what it answers to a"
    " wrong key",
    default=False,
    pool="emcdpool-account",
    parse=parse,
)
