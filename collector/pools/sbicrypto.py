"""The operator's own account at SBI Crypto: the sum of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import decoding
from collector.sources.authorisation import credentials_in
from collector.sources.base import ACCOUNT_TERMS, Credential, PermanentError, PoolSource, Request
from collector.sources.single import pool_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Reading

# The largest credible worker, in H/s. A worker may be the proxy of a farm, but not most of the
# pool; a single machine in H/s, read as MH/s, would have a hundred exahashes.
_MOST: Final = 1e19


class _Worker(msgspec.Struct):
    # Averages over 10 minutes, an hour and a day.
    hashrates: Annotated[list[decoding.Figure | None], msgspec.Meta(min_length=1)]


class _Page(msgspec.Struct, rename="camel"):
    content: list[_Worker]
    total_elements: int


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the sum over all workers, by their averages over 10 minutes.

    Raises:
        PermanentError: the page does not hold all workers, so the sum would be too small.
    """
    page = decoding.decode(bodies[0], _Page)
    if page.total_elements != len(page.content):
        text = f"one page holds only {len(page.content)} of {page.total_elements} workers"
        raise PermanentError(text, reason="shape")
    # The API does not name its unit. Two independent clients take it for MH/s: one divides by a
    # million to get TH/s, the other multiplies by a million to get H/s.
    figures = (decoding.hashrate(w.hashrates[0], "MH/s", most=_MOST) for w in page.content)
    return pool_reading("sbicrypto-account", decoding.sum_or_unknown(figures))


SOURCE = PoolSource(
    slug="sbicrypto",
    name="SBI Crypto, own account",
    home="https://sbicrypto.com",
    docs="https://sbicrypto.com/en/api",
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("key", "an API key with the permission READ; its subaccounts are counted"),
        Credential("secret", "the secret of that key"),
    ),
    requests=(Request("https://pool-api.sbicrypto.com/api/external/v1/workers?page=0&size=1000"),),
    authorise=credentials_in(
        headers={
            "X-API-Key": "{key}",
            "X-API-Secret": "{secret}",
            "Accept": "application/json",
        }
    ),
    poll_s=300,
    poll_reason="The figures are averages over 10 minutes of all workers; no limit is documented.",
    averaging_s=600,
    hold_s=600,
    confidence="low",
    unsure=(
        "The unit and the order of the averages are not documented; two independent clients take"
        " the unit for MH/s. It is not known how many workers a page may hold, and whether workers"
        " that mine other coins are listed too."
    ),
    default=False,
    pool="sbicrypto-account",
    part_of="sbicrypto",
    parse=parse,
)
