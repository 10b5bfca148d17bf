"""The network's hashrate, at the query API ("q") of blockchain.com."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.sources.base import NetworkSource, Rate, Request
from collector.sources.single import network_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import NetworkReading

# The whole response is one number.
parse = network_figure(float, lambda figure: figure, unit="GH/s")


def example(readings: Sequence[NetworkReading], _at: datetime) -> list[bytes]:
    """Return the number in GH/s."""
    (reading,) = readings
    return [f"{reading.hashrate / 1e9:.1f}".encode()]


SOURCE = NetworkSource(
    # After mempool by name: of sources that say as much the first one counts (method.md 4), so this
    # stands in while mempool is away.
    slug="q_blockchain",
    name="Blockchain.com, query API",
    home="https://www.blockchain.com/explorer",
    docs="https://www.blockchain.com/explorer/api/q",
    terms="https://www.blockchain.com/legal/terms",
    requests=(Request("https://blockchain.info/q/hashrate"),),
    rate=Rate(1, 10),
    poll_s=60,
    poll_reason="the API asks for no more than 1 request in 10 s",
    # Not stated; the estimate follows the difficulty and the blocks of a day.
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    unsure="over what time it averages is not stated",
    default=True,
    parse=parse,
    example=example,
)
