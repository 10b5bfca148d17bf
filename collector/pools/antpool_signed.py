"""AntPool, as its API reports the pool to holders of an account; requests are signed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from collector.sources import decoding
from collector.sources.authorisation import hmac_sha256
from collector.sources.base import Credential, PoolSource, Rate, Request
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import Secrets

# The pool's API for operators gives the same field in MH/s. Read as H/s, such a figure would make
# one of the largest pools smaller than an exahash, which it last was in 2016.
_LEAST: Final = 1e18


class _Stats(msgspec.Struct, rename="camel"):
    pool_hashrate: decoding.Figure | None


def authorise(request: Request, secrets: Secrets, now: datetime) -> Request:
    """Return the request with a signed form; the nonce is the time in ms, which only grows."""
    nonce = str(int(now.timestamp() * 1000))
    signature = hmac_sha256(secrets["secret"], f"{secrets['user']}{secrets['key']}{nonce}").upper()
    form = {"key": secrets["key"], "nonce": nonce, "signature": signature, "coin": "BTC"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return replace(request, headers=headers, body=urlencode(form).encode())


parse = single_pool(
    "antpool",
    _Stats,
    lambda stats: decoding.hashrate(stats.pool_hashrate, least=_LEAST),
    envelope=Envelope(),
)


SOURCE = PoolSource(
    slug="antpool_signed",
    name="AntPool, signed API",
    home="https://www.antpool.com",
    docs="https://www.antpool.com/userApiGuide",
    terms=(
        "for holders of an account; an address that sends more than 600 requests in 10 minutes is"
        " banned"
    ),
    credentials=(
        Credential("user", "the account's user ID, which is part of the signed text"),
        Credential("key", "the API key"),
        Credential("secret", "the API secret, which signs requests and is never sent"),
    ),
    requests=(Request("https://antpool.com/api/poolStats.htm", method="POST"),),
    authorise=authorise,
    rate=Rate(600, 600),
    poll_s=60,
    poll_reason="The documented limit is 600 requests in 10 minutes; beyond it clients are banned.",
    # Not documented; this is the shortest average in the pool's API for accounts.
    averaging_s=600,
    hold_s=300,
    least=1e19,
    confidence="high",
    unsure="The code for a wrong key or signature is not known, so it is reported as refused.",
    default=False,
    pool="antpool",
    parse=parse,
)
