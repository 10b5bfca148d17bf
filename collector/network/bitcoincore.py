"""The network's hashrate by the last 120 blocks, as one's own Bitcoin Core node reckons it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.sources import bitcoin_core, decoding
from collector.sources.base import NetworkReading, NetworkSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The estimate (H/s) up to the tip; 0 where the node has no two blocks to reckon with."""
    chain, estimate = bodies
    today = bitcoin_core.knows_today(chain)
    hashrate = decoding.hashrate(bitcoin_core.result(estimate, float))
    return [NetworkReading(hashrate)] if today and hashrate else []


def configure(secrets: Secrets) -> NetworkSource:
    """The source at the operator's node."""
    return bitcoin_core.at(SOURCE, secrets)


SOURCE = NetworkSource(
    slug="bitcoincore",
    name="Bitcoin Core, own node, by 120 blocks",
    home=bitcoin_core.HOME,
    docs="https://developer.bitcoin.org/reference/rpc/getnetworkhashps.html",
    terms=bitcoin_core.TERMS,
    credentials=bitcoin_core.CREDENTIALS,
    requests=(
        bitcoin_core.CHAIN,
        bitcoin_core.call("getnetworkhashps", bitcoin_core.BLOCKS, -1),  # -1: up to the tip
    ),
    authorise=bitcoin_core.authorise,
    configure=configure,
    own_server=True,
    poll_s=bitcoin_core.POLL_S,
    poll_reason=bitcoin_core.POLL_REASON,
    averaging_s=bitcoin_core.AVERAGING_S,
    hold_s=600,
    confidence="high",
    default=False,
    parse=parse,
)
