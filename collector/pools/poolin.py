"""An own account (a subaccount) at Poolin, as a watcher of it sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import msgspec

from collector.sources import decoding
from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets

_OK: Final = 0


class _Answer(msgspec.Struct):
    err_no: int
    err_msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Stats(msgspec.Struct):
    shares_15m: float | None
    shares_unit: str


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With the token in a header, and the subaccount's number in the query."""
    who = urlencode({"puid": secrets["puid"]}, quote_via=quote)
    return replace(
        request,
        url=f"{request.url}&{who}",
        headers={"Authorization": f"Bearer {secrets['token']}"},
    )


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The average over 15 minutes, in the unit beside it ("T"). The answer has no time."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.err_no != _OK:
        raise decoding.refused(f"{answer.err_no} {answer.err_msg or ''}")
    stats = decoding.decode(bytes(answer.data), _Stats)
    hashrate = decoding.hashrate(stats.shares_15m, stats.shares_unit)
    return [] if hashrate is None else [Reading("poolin-account", hashrate)]


SOURCE = PoolSource(
    slug="poolin",
    name="Poolin, own account",
    home="https://www.poolin.com",
    docs="https://github.com/iblockin/pool_web_api_doc",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("token", "the read token of a link for watchers: Settings, Share to Watcher"),
        Credential("puid", "the subaccount's number, in the same link"),
    ),
    requests=(Request("https://api-prod.poolin.com/api/public/v2/worker/stats?coin_type=btc"),),
    authorise=authorise,
    poll_s=300,
    poll_reason="an average over 15 minutes; limits are not stated",
    averaging_s=900,
    hold_s=600,
    confidence="low",
    unsure="the call is one that clients of others use; the documentation gives its fields for"
    " other calls only. Not known: whether the pool still answers",
    default=False,
    pool="poolin-account",
    parse=parse,
)
