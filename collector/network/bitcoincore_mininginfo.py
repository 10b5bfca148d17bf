"""The network's hashrate as the operator's own Bitcoin Core node reports it to miners."""

from __future__ import annotations

import msgspec

from collector.sources import bitcoin_core
from collector.sources.decoding import Figure


class _MiningInfo(msgspec.Struct):
    networkhashps: Figure | None
    chain: str


def _hashrate(info: _MiningInfo) -> Figure | None:
    bitcoin_core.check_chain(info.chain)
    return info.networkhashps


SOURCE = bitcoin_core.node_source(
    slug="bitcoincore_mininginfo",
    name="Bitcoin Core, own node, mining info",
    docs="https://developer.bitcoin.org/reference/rpc/getmininginfo.html",
    request=bitcoin_core.call("getmininginfo"),
    shape=_MiningInfo,
    figure=_hashrate,
)
