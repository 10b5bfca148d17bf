"""KanoPool, as the pool reports itself to those who have an account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

import msgspec

from collector.sources import decoding
from collector.sources.base import Credential, CredentialsError, PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Secrets

_Seconds = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+$")]


class _Refusal(msgspec.Struct):
    nil: object = None


class _Home(msgspec.Struct):
    stamp: _Seconds | int = msgspec.field(name="STAMP")
    p_hashrate5m: decoding.BareNumber | None


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With user and key in the query: the API knows no other way."""
    who = urlencode({"username": secrets["user"], "api": secrets["key"]}, quote_via=quote)
    return replace(request, url=f"{request.url}&{who}")


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's average over 5 minutes, in H/s; fields ``u_`` are the user's own.

    Raises:
        CredentialsError: ``{"nil":"0"}``, which is all that the API says to whom it does not know.
    """
    if decoding.decode(bodies[0], _Refusal).nil is not None:
        raise CredentialsError("answered nil: user or key is wrong", reason="unauthorized")
    home = decoding.decode(bodies[0], _Home)
    hashrate = decoding.hashrate(home.p_hashrate5m)
    if hashrate is None:
        return []
    observed_at = datetime.fromtimestamp(int(home.stamp), UTC)
    return [Reading("kanopool", hashrate, observed_at=observed_at)]


SOURCE = PoolSource(
    slug="kanopool",
    name="KanoPool",
    home="https://kano.is",
    docs=None,
    terms="for holders of an account; the key is in the address, as the API wants it",
    credentials=(
        Credential("user", "the account's user name"),
        Credential("key", "the account's API key"),
    ),
    requests=(Request("https://kano.is/index.php?k=api&json=y"),),
    authorise=authorise,
    poll_s=60,
    poll_reason="an average over 5 minutes; limits are not stated",
    averaging_s=300,
    # Its time can be as old as the average is long.
    hold_s=600,
    confidence="medium",
    unsure="not known: whether it still answers as its published code does; nil may also mean that"
    " the pool's own database is away",
    default=False,
    pool="kanopool",
    parse=parse,
)
