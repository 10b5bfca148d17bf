"""The Kafka topics and their settings. The names are public: changing one is a breaking change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REPORTS: Final = "miningmap.reports"
NETWORK: Final = "miningmap.network"
SHARES: Final = "miningmap.shares"
SWINGS: Final = "miningmap.swings"
DEAD_LETTERS: Final = "miningmap.dead-letters"

_FOR_EVER = "-1"
# Batches stay as their producer compressed them, so the broker spends no time on that. This is set
# because a broker may have another default.
_AS_SENT = {"compression.type": "producer"}
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """A topic as it should be; ``config`` holds what differs from the broker's defaults."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


# Partitions only spread the work: messages of one pool share a key and so a partition. Reports and
# network messages are kept for ever, because everything else can be rebuilt from them.
TOPICS: Final = (
    Topic(REPORTS, 6, {"cleanup.policy": "delete", "retention.ms": _FOR_EVER, **_AS_SENT}),
    Topic(NETWORK, 1, {"cleanup.policy": "delete", "retention.ms": _FOR_EVER, **_AS_SENT}),
    Topic(SHARES, 1, {"cleanup.policy": "compact", **_AS_SENT}),
    Topic(
        SWINGS,
        1,
        {"cleanup.policy": "delete", "retention.ms": str(365 * _DAY_MS), **_AS_SENT},
    ),
    Topic(
        DEAD_LETTERS,
        1,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(90 * _DAY_MS),
            # Room for the largest message of any other topic, and the headers that explain it.
            "max.message.bytes": str(2 * 1024 * 1024),
            **_AS_SENT,
        },
    ),
)
