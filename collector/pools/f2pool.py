"""An own account at F2Pool, by the second version of the pool's API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

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

_PERMISSION_DENIED: Final = 5010


class _Refusal(msgspec.Struct):
    code: int | str = 0
    msg: str = ""


class _Info(msgspec.Struct):
    hash_rate: float | None


class _Answer(msgspec.Struct):
    info: _Info


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With the token in a header, and the account's name in the body."""
    asked = {"currency": "bitcoin", "mining_user_name": secrets["user"]}
    return replace(
        request,
        headers={"F2P-API-SECRET": secrets["token"], "Content-Type": "application/json"},
        body=msgspec.json.encode(asked),
    )


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The account's present hashrate, in H/s. The answer has no time of its own."""
    refusal = decoding.decode(bodies[0], _Refusal)
    if refusal.code == _PERMISSION_DENIED:
        text = f"code {refusal.code}: the token is not for the account of that name"
        raise CredentialsError(text, reason="unauthorized")
    if refusal.code:
        raise decoding.refused(f"{refusal.code} {refusal.msg}")
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Answer).info.hash_rate)
    return [] if hashrate is None else [Reading("f2pool-account", hashrate)]


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
