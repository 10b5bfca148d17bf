"""An own account at SBI Crypto: the sum of its workers, in a unit that the API does not name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import (
    ACCOUNT_TERMS,
    Credential,
    PermanentError,
    PoolSource,
    Reading,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets

# What two clients, written by others, take it for: one makes TH/s of it by dividing by a million,
# the other H/s by multiplying.
_UNIT: Final = "MH/s"
# One machine that wrote H/s would look like a hundred exahashes. A worker may be the proxy of a
# farm, but not most of the pool.
_MOST: Final = 1e19


class _Worker(msgspec.Struct):
    # Averages over 10 minutes, an hour and a day.
    hashrates: Annotated[list[float | None], msgspec.Meta(min_length=1)]


class _Page(msgspec.Struct, rename="camel"):
    content: list[_Worker]
    total_elements: int


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With key and secret in headers."""
    headers = {
        "X-API-Key": secrets["key"],
        "X-API-Secret": secrets["secret"],
        "Accept": "application/json",
    }
    return replace(request, headers=headers)


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The sum over all workers, averages over 10 minutes. The answer has no time of its own.

    One worker of unknown hashrate leaves the sum unknown: without it the account would seem to have
    shrunk. A page that does not hold all workers is an error for the same reason.
    """
    page = decoding.decode(bodies[0], _Page)
    if page.total_elements != len(page.content):
        text = f"{len(page.content)} of {page.total_elements} workers: one page does not hold all"
        raise PermanentError(text, reason="shape")
    hashrates = [_hashrate(worker) for worker in page.content]
    known = [hashrate for hashrate in hashrates if hashrate is not None]
    if len(known) < len(hashrates):
        return []
    return [Reading("sbicrypto-account", sum(known))]


def _hashrate(worker: _Worker) -> float | None:
    hashrate = decoding.hashrate(worker.hashrates[0], _UNIT)
    if hashrate is not None and hashrate > _MOST:
        raise PermanentError(f"a worker of {hashrate:g} H/s: not in {_UNIT}", reason="unit")
    return hashrate


SOURCE = PoolSource(
    slug="sbicrypto",
    name="SBI Crypto, own account",
    home="https://sbicrypto.com",
    docs="https://sbicrypto.com/en/api",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("key", "an API key with the permission READ, for the subaccounts that it sees"),
        Credential("secret", "the secret that belongs to the key"),
    ),
    requests=(Request("https://pool-api.sbicrypto.com/api/external/v1/workers?page=0&size=1000"),),
    authorise=authorise,
    poll_s=300,
    poll_reason="averages over 10 minutes of a list of all workers; limits are not stated",
    averaging_s=600,
    hold_s=600,
    confidence="low",
    unsure="not documented: the unit, which two clients of others take for MH/s, and the order of"
    " the averages. Not known: how many workers a page holds at most, and whether workers that"
    " mine another coin are listed too",
    default=False,
    pool="sbicrypto-account",
    parse=parse,
)
