"""AntPool, as its API reports the pool to those who have an account; signed."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from collector.sources import decoding
from collector.sources.base import Credential, PermanentError, PoolSource, Rate, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets

_OK: Final = 0


# Another API of the pool, that for operators, gives the same field in MH/s. In that unit the
# largest of pools would seem to have less than one exahash, as it last had in 2016.
_LEAST: Final = 1e18


class _Answer(msgspec.Struct):
    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Stats(msgspec.Struct, rename="camel"):
    pool_hashrate: decoding.BareNumber | None


def authorise(request: Request, secrets: Secrets, now: datetime) -> Request:
    """With a form that is signed: the nonce is the time in ms, so it only ever grows."""
    nonce = str(int(now.timestamp() * 1000))
    signed = f"{secrets['user']}{secrets['key']}{nonce}".encode()
    form = {
        "key": secrets["key"],
        "nonce": nonce,
        "signature": _hmac(secrets["secret"], signed).upper(),
        "coin": "BTC",
    }
    return replace(
        request,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )


def _hmac(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate, in H/s. The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.code != _OK:
        raise decoding.refused(f"{answer.code} {answer.message}")
    hashrate = decoding.hashrate(decoding.decode(bytes(answer.data), _Stats).pool_hashrate)
    if hashrate is None:
        return []
    if 0 < hashrate < _LEAST:
        raise PermanentError(f"{hashrate:g} is too little for H/s", reason="unit")
    return [Reading("antpool", hashrate)]


SOURCE = PoolSource(
    slug="antpool_signed",
    name="AntPool, signed API",
    home="https://www.antpool.com",
    docs="https://www.antpool.com/userApiGuide",
    terms="for holders of an account; 600 requests in 10 minutes from one address, then a ban",
    credentials=(
        Credential("user", "the account's user ID, which is part of what is signed"),
        Credential("key", "the API key"),
        Credential("secret", "the API secret, with which requests are signed; it is never sent"),
    ),
    requests=(Request("https://antpool.com/api/poolStats.htm", method="POST"),),
    authorise=authorise,
    rate=Rate(600, 600),
    poll_s=60,
    poll_reason="the pool's documented limit is 600 requests in 10 minutes, then a ban",
    # Not stated; the shortest average that the pool's account API knows.
    averaging_s=600,
    hold_s=300,
    confidence="high",
    unsure="not known: the code for a wrong key or signature, which counts as a refusal",
    default=False,
    pool="antpool",
    parse=parse,
)
