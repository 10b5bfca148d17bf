"""The operator's own account at F2Pool, by version 2 of the pool's API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Request
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import Secrets


class _Info(msgspec.Struct):
    hash_rate: float | None


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """Return the request with the token in a header and the account's name in the body."""
    account = {"currency": "bitcoin", "mining_user_name": secrets["user"]}
    headers = {"F2P-API-SECRET": secrets["token"], "Content-Type": "application/json"}
    return replace(request, headers=headers, body=msgspec.json.encode(account))


# The present hashrate, in H/s.
parse = single_pool(
    "f2pool-account",
    _Info,
    lambda info: info.hash_rate,
    envelope=Envelope(
        message="msg",
        data="info",
        unauthorized={5010: "the token does not belong to the account of that name"},
    ),
)


SOURCE = PoolSource(
    slug="f2pool",
    name="F2Pool, own account",
    home="https://www.f2pool.com",
    docs="https://api.f2pool.com/v2/doc/en.html",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("token", "the API token, from the pool's site or its customer service"),
        Credential("user", "the mining user name of the account that is asked for"),
    ),
    requests=(Request("https://api.f2pool.com/v2/hash_rate/info", method="POST"),),
    authorise=authorise,
    poll_s=60,
    poll_reason="limits are not stated; clients ask at most once a second",
    # Not stated for the present hashrate; the next average that the API gives is over an hour.
    averaging_s=600,
    hold_s=300,
    confidence="high",
    unsure="not known: over which time the present hashrate is an average; the code for a wrong"
    " token, which counts as a refusal unless it is 5010",
    default=False,
    pool="f2pool-account",
    parse=parse,
)
