"""An own account at ViaBTC, by the pool's open API."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from collector.sources import decoding
from collector.sources.base import (
    ACCOUNT_TERMS,
    Credential,
    CredentialsError,
    PoolSource,
    Reading,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets

_OK: Final = 0
# The pool's documented codes for what only the account's holder can put right.
_UNAUTHORIZED: Final = {
    12001: "the key is wrong",
    12002: "the signature is wrong, so the secret is",
    12003: "the time of the signature is wrong: set this machine's clock",
    12004: "this address is not allowed: list it in the pool's settings of the account",
}


class _Answer(msgspec.Struct):
    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Account(msgspec.Struct):
    hashrate_10min: decoding.BareNumber | None


def authorise(request: Request, secrets: Secrets, now: datetime) -> Request:
    """With the key in a header, and signed where there is a secret.

    This call is documented as needing no signature. Who sets a secret gets one all the same, so
    that it also works for an account whose calls all need one.
    """
    headers = {"X-API-KEY": secrets["key"]}
    if secret := secrets.get("secret"):
        request = replace(request, url=f"{request.url}&tonce={int(now.timestamp() * 1000)}")
        headers["X-SIGNATURE"] = _signature(secret, urlsplit(request.url).query)
    return replace(request, headers=headers)


def _signature(secret: str, query: str) -> str:
    return hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The account's average over 10 minutes, in H/s. The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.code in _UNAUTHORIZED:
        text = f"code {answer.code}: {_UNAUTHORIZED[answer.code]}"
        raise CredentialsError(text, reason="unauthorized")
    if answer.code != _OK:
        raise decoding.refused(f"{answer.code} {answer.message}")
    hashrate = decoding.hashrate(decoding.decode(bytes(answer.data), _Account).hashrate_10min)
    return [] if hashrate is None else [Reading("viabtc-account", hashrate)]


SOURCE = PoolSource(
    slug="viabtc_account",
    name="ViaBTC, own account",
    home="https://www.viabtc.com",
    docs="https://github.com/viabtc/viapool_api/wiki",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("key", "the API key; the pool answers only addresses that its settings list"),
        Credential("secret", "the secret key, to sign requests with; never sent", required=False),
    ),
    requests=(Request("https://www.viabtc.com/res/openapi/v1/hashrate?coin=BTC"),),
    authorise=authorise,
    poll_s=60,
    poll_reason="an average over 10 minutes; limits are not stated",
    averaging_s=600,
    hold_s=300,
    confidence="high",
    default=False,
    pool="viabtc-account",
    parse=parse,
)
