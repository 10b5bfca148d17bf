"""The network's hashrate as one's own Bitcoin Core node tells it to miners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector import bitcoincore, body
from collector.source import NetworkReading, NetworkSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.source import Secrets


class _MiningInfo(msgspec.Struct):
    networkhashps: float | None
    chain: str


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The estimate (H/s) up to the tip; 0 where the node has no two blocks to reckon with."""
    chain, mining = bodies
    today = bitcoincore.knows_today(chain)
    info = bitcoincore.result(mining, _MiningInfo)
    bitcoincore.check_chain(info.chain)
    hashrate = body.hashrate(info.networkhashps)
    return [NetworkReading(hashrate)] if today and hashrate else []


def configure(secrets: Secrets) -> NetworkSource:
    """The source at the operator's node."""
    return bitcoincore.at(SOURCE, secrets)


SOURCE = NetworkSource(
    slug="bitcoincore_mininginfo",
    name="Bitcoin Core, own node, mining info",
    home=bitcoincore.HOME,
    docs="https://developer.bitcoin.org/reference/rpc/getmininginfo.html",
    terms=bitcoincore.TERMS,
    credentials=bitcoincore.CREDENTIALS,
    requests=(bitcoincore.CHAIN, bitcoincore.call("getmininginfo")),
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
