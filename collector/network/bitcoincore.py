"""The network's hashrate by the last 120 blocks, as one's own Bitcoin Core node reckons it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import bitcoincore, body
from collector.source import NetworkReading, NetworkSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.source import Secrets


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The estimate (H/s) up to the tip; 0 where the node has no two blocks to reckon with."""
    chain, estimate = bodies
    today = bitcoincore.knows_today(chain)
    hashrate = body.hashrate(bitcoincore.result(estimate, float))
    return [NetworkReading(hashrate)] if today and hashrate else []


def configure(secrets: Secrets) -> NetworkSource:
    """The source at the operator's node."""
    return bitcoincore.at(SOURCE, secrets)


SOURCE = NetworkSource(
    slug="bitcoincore",
    name="Bitcoin Core, own node, by 120 blocks",
    home=bitcoincore.HOME,
    docs="https://developer.bitcoin.org/reference/rpc/getnetworkhashps.html",
    terms=bitcoincore.TERMS,
    credentials=bitcoincore.CREDENTIALS,
    requests=(
        bitcoincore.CHAIN,
        bitcoincore.call("getnetworkhashps", bitcoincore.BLOCKS, -1),  # -1: up to the tip
    ),
    authorise=bitcoincore.authorise,
    configure=configure,
    own_server=True,
    poll_s=bitcoincore.POLL_S,
    poll_reason=bitcoincore.POLL_REASON,
    averaging_s=bitcoincore.AVERAGING_S,
    hold_s=600,
    confidence="high",
    default=False,
    parse=parse,
)
