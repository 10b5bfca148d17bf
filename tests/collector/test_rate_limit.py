from __future__ import annotations

from collector.intake.rate_limit import Rate, RateLimiter

CBECI = (Rate(15, 10), Rate(300, 600), Rate(12_000, 86_400))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passed(limiter: RateLimiter, times: int) -> int:
    return sum(limiter.wait_s("a") == 0 for _ in range(times))


def test_so_many_pass_within_the_time_and_as_many_after_it() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(15, 10)], clock)
    assert passed(limiter, 20) == 15
    clock.now += 9.99
    assert passed(limiter, 20) == 0
    clock.now += 0.01
    assert passed(limiter, 20) == 15


def test_the_wait_is_told_in_whole_seconds_and_is_enough() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(1, 10)], clock)
    assert limiter.wait_s("a") == 0
    clock.now += 3.5
    assert limiter.wait_s("a") == 7
    clock.now += 7
    assert limiter.wait_s("a") == 0


def test_all_rates_hold_at_once_and_the_longest_wait_counts() -> None:
    clock = Clock()
    limiter = RateLimiter(CBECI, clock)
    for _ in range(20):
        assert passed(limiter, 16) == 15
        clock.now += 10
    assert limiter.wait_s("a") == 400
    clock.now += 400
    assert limiter.wait_s("a") == 0


def test_a_day_of_haste_lets_no_more_than_a_days_requests_pass() -> None:
    clock = Clock()
    limiter = RateLimiter(CBECI, clock)
    total = 0
    while clock.now < 1000 + 86_400:
        while limiter.wait_s("a") == 0:
            total += 1
        clock.now += 10
    assert total == 12_000


def test_what_is_refused_uses_nothing_up() -> None:
    clock = Clock()
    limiter = RateLimiter([Rate(1, 10), Rate(2, 100)], clock)
    assert passed(limiter, 50) == 1
    clock.now += 10
    assert limiter.wait_s("a") == 0


def test_everybody_has_a_count_of_their_own() -> None:
    limiter = RateLimiter([Rate(1, 10)], Clock())
    assert [limiter.wait_s(who) for who in "abab"] == [0, 0, 10, 10]


def test_without_rates_all_may_pass() -> None:
    assert passed(RateLimiter([], Clock()), 1000) == 1000
