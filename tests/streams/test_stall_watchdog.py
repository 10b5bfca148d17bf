from __future__ import annotations

import pytest

from miningmap.kafka.lag import Progress
from streams.worker.stall_watchdog import StallDetector, StalledError

WHERE = ("miningmap.reports", 0)


def test_waiting_messages_without_a_commit_are_a_stall() -> None:
    detector = StallDetector(limit_s=60)
    for at in (0, 30, 60):
        detector.check({WHERE: Progress(committed=5, lag=2)}, at)
    with pytest.raises(StalledError, match=r"2 messages are waiting in miningmap\.reports/0"):
        detector.check({WHERE: Progress(committed=5, lag=2)}, 61)


def test_slow_progress_is_no_stall() -> None:
    detector = StallDetector(limit_s=60)
    for at in range(0, 600, 50):
        detector.check({WHERE: Progress(committed=at, lag=1000)}, at)


def test_an_idle_consumer_is_not_stalled() -> None:
    detector = StallDetector(limit_s=60)
    for at in (0, 100, 200):
        detector.check({WHERE: Progress(committed=5, lag=0)}, at)
    detector.check({WHERE: Progress(committed=5, lag=1)}, 250)
    with pytest.raises(StalledError):
        detector.check({WHERE: Progress(committed=5, lag=1)}, 261)
