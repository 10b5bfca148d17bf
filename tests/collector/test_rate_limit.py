from __future__ import annotations

from collector.intake.rate_limit import Rate, RateLimiter
from tests.clock import Clock

CBECI = (Rate(15, 10), Rate(300, 600), Rate(12_000, 86_400))


def allowed(limiter: RateLimiter, times: int) -> int:
    return sum(limiter.wait_s("a") == 0 for _ in range(times))


def test_a_rate_allows_as_many_requests_in_each_window() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(15, 10)], clock)
    assert allowed(limiter, 20) == 15
    clock.now += 9.99
    assert allowed(limiter, 20) == 0
    clock.now += 0.01
    assert allowed(limiter, 20) == 15


def test_the_wait_is_in_whole_seconds_rounded_up() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(1, 10)], clock)
    assert limiter.wait_s("a") == 0
    clock.now += 3.5
    assert limiter.wait_s("a") == 7
    clock.now += 7
    assert limiter.wait_s("a") == 0


def test_all_rates_apply_at_once_and_the_longest_wait_counts() -> None:
    clock = Clock()
    limiter = RateLimiter(CBECI, clock)
    for _ in range(20):
        assert allowed(limiter, 16) == 15
        clock.now += 10
    assert limiter.wait_s("a") == 400
    clock.now += 400
    assert limiter.wait_s("a") == 0


def test_the_rate_of_a_day_limits_a_day_of_constant_requests() -> None:
    clock = Clock()
    limiter = RateLimiter(CBECI, clock)
    total = 0
    while clock.now < 1000 + 86_400:
        while limiter.wait_s("a") == 0:
            total += 1
        clock.now += 10
    assert total == 12_000


def test_a_rejected_request_does_not_count() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(1, 10), Rate(2, 100)], clock)
    assert allowed(limiter, 50) == 1
    clock.now += 10
    assert limiter.wait_s("a") == 0


def test_clients_are_counted_separately() -> None:
    limiter = RateLimiter([Rate(1, 10)], Clock())
    assert [limiter.wait_s(client) for client in "abab"] == [0, 0, 10, 10]


def test_without_rates_nothing_is_limited() -> None:
    assert allowed(RateLimiter([], Clock()), 1000) == 1000
