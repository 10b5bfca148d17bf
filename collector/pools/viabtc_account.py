"""The operator's own account at ViaBTC, by the pool's open API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from collector.sources.authorisation import hmac_sha256
from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import Secrets


class _Account(msgspec.Struct):
    hashrate_10min: Figure | None


def authorise(request: Request, secrets: Secrets, now: datetime) -> Request:
    """Return the request with the key in a header, and signed if there is a secret.

    By its documentation this call needs no signature. It is signed all the same if a secret is set,
    for accounts that require it of all calls.
    """
    headers = {"X-API-KEY": secrets["key"]}
    if secret := secrets.get("secret"):
        request = replace(request, url=f"{request.url}&tonce={int(now.timestamp() * 1000)}")
        headers["X-SIGNATURE"] = hmac_sha256(secret, urlsplit(request.url).query)
    return replace(request, headers=headers)


# The account's average over 10 minutes, in H/s. The codes are documented by the pool.
parse = single_pool(
    "viabtc-account",
    _Account,
    lambda account: account.hashrate_10min,
    envelope=Envelope(
        unauthorized={
            12001: "the key is wrong",
            12002: "the signature is wrong, so the secret is",
            12003: "the time of the signature is wrong; set this machine's clock",
            12004: "this address is not allowed; add it in the pool's settings of the account",
        }
    ),
)


SOURCE = PoolSource(
    slug="viabtc_account",
    name="ViaBTC, own account",
    home="https://www.viabtc.com",
    docs="https://github.com/viabtc/viapool_api/wiki",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential(
            "key", "the API key; the pool accepts only the addresses in the account's settings"
        ),
        Credential(
            "secret", "the secret key, which signs requests and is never sent", required=False
        ),
    ),
    requests=(Request("https://www.viabtc.com/res/openapi/v1/hashrate?coin=BTC"),),
    authorise=authorise,
    poll_s=60,
    poll_reason="The figure is an average over 10 minutes; no limit is documented.",
    averaging_s=600,
    hold_s=300,
    confidence="high",
    default=False,
    pool="viabtc-account",
    part_of="viabtc",
    parse=parse,
)
