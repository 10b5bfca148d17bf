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
    # The name sorts after mempool: of sources with equal coverage the first one counts (method.md
    # 4), so this one counts only while mempool gives no figure.
    slug="q_blockchain",
    name="Blockchain.com, query API",
    home="https://www.blockchain.com/explorer",
    docs="https://www.blockchain.com/explorer/api/q",
    terms="https://www.blockchain.com/legal/terms",
    requests=(Request("https://blockchain.info/q/hashrate"),),
    rate=Rate(1, 10),
    poll_s=60,
    poll_reason="The API allows 1 request in 10 s.",
    # Not documented; the estimate follows the difficulty and the blocks of a day.
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    unsure="It is not documented over what time the figure is averaged.",
    default=True,
    parse=parse,
    example=example,
)
