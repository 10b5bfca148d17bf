"""The network's hashrate by difficulty and block times, at mempool.space."""

from __future__ import annotations

import msgspec

from collector.sources.base import NetworkSource, Request
from collector.sources.single import network_figure


class _Hashrate(msgspec.Struct, rename="camel"):
    current_hashrate: float


# The estimate in H/s, which is 0 while mempool's own node is down.
parse = network_figure(_Hashrate, lambda answer: answer.current_hashrate)


SOURCE = NetworkSource(
    slug="mempool",
    name="mempool.space, network",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/hashrate/3d"),),
    poll_s=300,
    poll_reason="the server caches the answer for 300 s; limits are not published, 429 then a ban",
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    default=True,
    parse=parse,
)
