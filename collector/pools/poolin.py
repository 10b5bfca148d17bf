"""The operator's own account (a subaccount) at Poolin, as a watcher of it sees it."""

from __future__ import annotations

import msgspec

from collector.sources.authorisation import credentials_in
from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Stats(msgspec.Struct):
    shares_15m: Figure | None
    shares_unit: str


# The average over 15 minutes, in the unit beside it ("T").
parse = single_pool(
    "poolin-account",
    _Stats,
    lambda stats: stats.shares_15m,
    envelope=Envelope(code="err_no", message="err_msg"),
    unit=lambda stats: stats.shares_unit,
)


SOURCE = PoolSource(
    slug="poolin",
    name="Poolin, own account",
    home="https://www.poolin.com",
    docs="https://github.com/iblockin/pool_web_api_doc",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("token", "the read token of a link for watchers (Settings, Share to Watcher)"),
        Credential("puid", "the number of the subaccount, from the same link"),
    ),
    requests=(Request("https://api-prod.poolin.com/api/public/v2/worker/stats?coin_type=btc"),),
    authorise=credentials_in(headers={"Authorization": "Bearer {token}"}, query={"puid": "{puid}"}),
    poll_s=300,
    poll_reason="The figure is an average over 15 minutes; no limit is documented.",
    averaging_s=900,
    hold_s=600,
    confidence="low",
    unsure=(
        "This request is known from other clients; the documentation describes its fields for other"
        " requests only. It is not known whether the pool still responds."
    ),
    default=False,
    pool="poolin-account",
    part_of="poolin",
    parse=parse,
)
