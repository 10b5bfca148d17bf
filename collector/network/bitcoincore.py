"""The network's hashrate by the last 120 blocks, by the operator's own Bitcoin Core node."""

from __future__ import annotations

from collector.sources import bitcoin_core

SOURCE = bitcoin_core.node_source(
    slug="bitcoincore",
    name="Bitcoin Core, own node, by 120 blocks",
    docs="https://developer.bitcoin.org/reference/rpc/getnetworkhashps.html",
    request=bitcoin_core.call("getnetworkhashps", bitcoin_core.BLOCKS, -1),  # -1: up to the tip
    shape=float,
    figure=lambda hashrate: hashrate,
)
