"""The operator's own account at F2Pool, by version 2 of the pool's API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import Secrets


class _Info(msgspec.Struct):
    hash_rate: Figure | None


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
        ok=(None, 0),  # only errors are documented to have a code
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
        Credential("token", "the API token, from the pool's website or its customer service"),
        Credential("user", "the mining user name of the account"),
    ),
    requests=(Request("https://api.f2pool.com/v2/hash_rate/info", method="POST"),),
    authorise=authorise,
    poll_s=60,
    poll_reason="No limit is documented; other clients send at most one request a second.",
    # Not documented for the present hashrate; the API's next average is over an hour.
    averaging_s=600,
    hold_s=300,
    confidence="high",
    unsure=(
        "It is not documented over what time the present hashrate is averaged. The code for a wrong"
        " token is not known; unless it is 5010, it is reported as refused."
    ),
    default=False,
    pool="f2pool-account",
    part_of="f2pool",
    parse=parse,
)
