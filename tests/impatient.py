"""``python -m tests.impatient NAME``: a service that notices within a second what is unavailable.

It asks Kafka and Redis more often than in production, gives them less time to answer, and takes
whole snapshots as often as it may, so tests of what it does then need not wait as long. All other
times are those of production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from launch.cli import main
from miningmap import redis_client
from miningmap.kafka import producer
from streams.worker import snapshot_writer, stall_watchdog

if TYPE_CHECKING:
    from types import ModuleType

WAITS_S: Final[dict[ModuleType, dict[str, float]]] = {
    producer: {"PROBE_S": 0.5, "SLOW_S": 0.5, "LONGEST_WAIT_S": 0.5},
    redis_client: {"PERIOD_S": 0.25, "DEADLINE_S": 0.5},
    stall_watchdog: {"PERIOD_S": 0.25},
    snapshot_writer: {"WHOLE_S": 0.2},
}

if __name__ == "__main__":
    for module, waits in WAITS_S.items():
        for name, seconds in waits.items():
            assert getattr(module, name) > seconds, name
            setattr(module, name, seconds)
    main(prog_name="miningmap")
