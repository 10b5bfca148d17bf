"""The network's hashrate that the present difficulty implies, at mempool.space."""

from __future__ import annotations

from typing import Annotated

import msgspec

from collector.sources.base import NetworkSource, Request
from collector.sources.single import network_figure


class _Hashrate(msgspec.Struct, rename="camel"):
    current_difficulty: Annotated[float, msgspec.Meta(ge=0)] | None


# A block takes 2**32 hashes per unit of difficulty, and 600 s. This is the average over the 2016
# blocks before the last change of difficulty. It is 0 while mempool's own node is down.
parse = network_figure(_Hashrate, lambda answer: (answer.current_difficulty or 0) * 2**32 / 600)


SOURCE = NetworkSource(
    slug="mempool_difficulty",
    name="mempool.space, network by difficulty",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/hashrate/3d"),),
    poll_s=300,
    poll_reason=(
        "The server caches the response for 300 s. Its limits are not published; beyond them it"
        " responds with 429, then bans the client."
    ),
    averaging_s=2016 * 600,
    hold_s=3600,
    confidence="high",
    unsure=(
        "The figure is from the same response as network/mempool's and up to two weeks old, so the"
        " source is off by default."
    ),
    default=False,
    parse=parse,
)
