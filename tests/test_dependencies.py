"""Dependencies are logged once when lost and once when available again; repeats are limited."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from miningmap.dependencies import REPEAT_S, Dependency, RepeatLimit, reasons_of, show


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_cause_passes_once_a_minute_with_the_number_of_lines_left_out() -> None:
    clock = Clock()
    limit = RepeatLimit(clock)
    assert limit.left_out("node 1") == 0
    assert [limit.left_out(f"node {n}") for n in range(3)] == [None] * 3
    assert limit.left_out("other") == 0
    clock.now = REPEAT_S
    assert limit.left_out("node 9") == 3
    assert limit.left_out("node 9") is None


def test_the_number_of_causes_in_memory_is_bounded() -> None:
    limit = RepeatLimit(Clock())
    for n in range(3000):
        limit.left_out("x" * n)
    assert limit.left_out("x" * 2999) is None
    assert limit.left_out("") == 0


def test_a_loss_and_the_recovery_are_logged_once_each() -> None:
    redis = Dependency("redis", Clock())
    assert redis.reason == "redis has not answered yet"
    assert not redis.found()
    assert [redis.lost("refused"), redis.lost("refused")] == [True, False]
    assert redis.reason == "refused"
    assert [redis.found(), redis.found()] == [True, False]
    assert redis.reason is None


def test_a_loss_that_lasts_is_logged_once_a_minute_with_the_present_reason() -> None:
    clock = Clock()
    redis = Dependency("redis", clock)
    logged = []
    for second in range(180):
        clock.now = float(second)
        if redis.lost("refused" if second < 90 else "wrong password"):
            logged.append((second, redis.reason))
    assert logged == [(0, "refused"), (60, "refused"), (120, "wrong password")]


def test_a_dependency_that_flaps_is_logged_at_most_once_a_minute() -> None:
    redis = Dependency("redis", Clock())
    assert redis.lost("refused")
    assert redis.found()
    assert not redis.lost("refused")
    assert redis.reason == "refused"
    assert not redis.found()
    assert redis.lost("wrong password")


def test_reasons_and_the_metric_show_what_is_unavailable() -> None:
    kafka, redis = Dependency("kafka"), Dependency("redis")
    registry = CollectorRegistry()
    show([kafka, redis], registry)
    kafka.found()
    redis.lost("refused")
    assert reasons_of([kafka, redis]) == ["refused"]
    samples = generate_latest(registry).decode()
    assert 'miningmap_dependency_up{dependency="kafka"} 1.0' in samples
    assert 'miningmap_dependency_up{dependency="redis"} 0.0' in samples
