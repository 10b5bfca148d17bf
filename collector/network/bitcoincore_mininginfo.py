"""The network's hashrate as one's own Bitcoin Core node tells it to miners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import bitcoin_core, decoding
from collector.sources.base import NetworkReading, NetworkSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets


class _MiningInfo(msgspec.Struct):
    networkhashps: float | None
    chain: str


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The estimate (H/s) up to the tip; 0 where the node has no two blocks to reckon with."""
    chain, mining = bodies
    today = bitcoin_core.knows_today(chain)
    info = bitcoin_core.result(mining, _MiningInfo)
    bitcoin_core.check_chain(info.chain)
    hashrate = decoding.hashrate(info.networkhashps)
    return [NetworkReading(hashrate)] if today and hashrate else []


def configure(secrets: Secrets) -> NetworkSource:
    """The source at the operator's node."""
    return bitcoin_core.at(SOURCE, secrets)


SOURCE = NetworkSource(
    slug="bitcoincore_mininginfo",
    name="Bitcoin Core, own node, mining info",
    home=bitcoin_core.HOME,
    docs="https://developer.bitcoin.org/reference/rpc/getmininginfo.html",
    terms=bitcoin_core.TERMS,
    credentials=bitcoin_core.CREDENTIALS,
    requests=(bitcoin_core.CHAIN, bitcoin_core.call("getmininginfo")),
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
