"""The operator's own account at EMCD."""

from __future__ import annotations

import msgspec

from collector.sources.authorisation import credentials_in
from collector.sources.base import ACCOUNT_TERMS, Credential, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Total(msgspec.Struct):
    hashrate: Figure | None


# The present hashrate, in H/s.
parse = single_pool(
    "emcdpool-account",
    _Total,
    lambda total: total.hashrate,
    envelope=Envelope(code=None, data="total_hashrate"),
)


SOURCE = PoolSource(
    slug="emcd",
    name="EMCD, own account",
    home="https://emcd.io",
    docs=None,
    terms=ACCOUNT_TERMS,
    scope="account",
    credentials=(
        Credential("key", "the account's API key, which the API accepts only in the URL"),
    ),
    requests=(Request("https://api.emcd.io/v1/btc/workers/"),),
    authorise=credentials_in(path="{key}"),
    poll_s=300,
    poll_reason="No limit is documented, and new workers appear only after 7 to 15 minutes.",
    # Not documented for the present hashrate; the API's next average is over an hour.
    averaging_s=600,
    hold_s=600,
    confidence="medium",
    unsure=(
        "It is not documented over what time the present hashrate is averaged. The response to a"
        " wrong key is not known."
    ),
    default=False,
    pool="emcdpool-account",
    part_of="emcdpool",
    parse=parse,
)
