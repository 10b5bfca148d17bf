from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.http.circuit_breaker import FAILURES, MAX_OPEN_S, OPEN_S, TRY_S, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, times: int = 1, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        breaker.unwell(retry_after_s, is_try=breaker.ask())


def test_it_is_closed_until_so_many_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    assert breaker.wait_s() == 0
    breaker.well(is_try=breaker.ask())
    fail(breaker, FAILURES - 1)
    assert breaker.wait_s() == 0
    fail(breaker)
    assert breaker.wait_s() == OPEN_S


def test_an_end_without_a_word_is_neither_failure_nor_success(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.unknown(is_try=breaker.ask())
    fail(breaker)
    assert breaker.is_open


def test_after_its_time_one_asks_and_the_others_wait(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    clock.now += OPEN_S - 1
    assert breaker.wait_s() == 1
    clock.now += 1
    assert breaker.wait_s() == 0
    assert breaker.ask()
    assert breaker.is_open
    assert breaker.wait_s() == TRY_S


def test_a_try_that_goes_well_closes_it_and_all_is_forgotten(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, FAILURES)
    clock.now += OPEN_S
    breaker.well(is_try=breaker.ask())
    assert not breaker.is_open
    fail(breaker, FAILURES - 1)
    assert breaker.wait_s() == 0
    fail(breaker)
    assert breaker.wait_s() == OPEN_S


def test_each_try_that_fails_doubles_the_time_up_to_a_cap(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    waits = []
    for _ in range(2000):  # past what a float can be doubled
        waits.append(breaker.wait_s())
        clock.now += waits[-1]
        fail(breaker)
    assert waits[:6] == [60, 120, 240, 480, MAX_OPEN_S, MAX_OPEN_S]
    assert waits[-1] == MAX_OPEN_S


def test_a_try_without_a_word_lets_another_try_at_once(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    clock.now += OPEN_S
    breaker.unknown(is_try=breaker.ask())
    assert breaker.is_open
    assert breaker.wait_s() == 0
    assert breaker.ask()


def test_it_is_open_for_as_long_as_the_server_asked(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    fail(breaker, retry_after_s=3000)
    assert breaker.wait_s() == 3000


def test_a_short_retry_after_does_not_shorten_it(breaker: Breaker) -> None:
    fail(breaker, FAILURES, retry_after_s=1)
    assert breaker.wait_s() == OPEN_S


@pytest.mark.parametrize("trying", [False, True])
def test_what_was_asked_before_it_opened_says_nothing_of_now(
    breaker: Breaker, clock: Clock, *, trying: bool
) -> None:
    asked_before = [breaker.ask(), breaker.ask(), breaker.ask()]
    fail(breaker, FAILURES)
    if trying:
        clock.now += OPEN_S
        breaker.ask()
    wait_s = breaker.wait_s()
    breaker.unwell(3000, is_try=asked_before[0])
    breaker.unknown(is_try=asked_before[1])
    breaker.well(is_try=asked_before[2])
    assert breaker.is_open
    assert breaker.wait_s() == wait_s


class Requests(RuleBasedStateMachine):
    """Requests that overlap in any way: whatever they find, an open host is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(self.clock)
        self.running: list[bool] = []
        self.left_alone_until = 0.0

    @rule(seconds=st.floats(0, 2000))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.breaker.wait_s() == 0)
    @rule()
    def one_asks(self) -> None:
        assert self.clock.now >= self.left_alone_until
        is_try = self.breaker.ask()
        assert is_try == self.breaker.is_open
        self.running.append(is_try)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["well", "unwell", "unknown"]))
    def one_ends(self, data: st.DataObject, outcome: str) -> None:
        is_try = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        was_open = self.breaker.is_open
        getattr(self.breaker, outcome)(is_try=is_try)
        if was_open and not self.breaker.is_open:
            assert (is_try, outcome) == (True, "well")
            self.left_alone_until = 0.0
        if self.breaker.is_open and (is_try or not was_open) and outcome == "unwell":
            self.left_alone_until = self.clock.now + self.breaker.wait_s()

    @invariant()
    def never_more_than_one_try(self) -> None:
        assert sum(self.running) <= 1
        assert (sum(self.running) == 0) or self.breaker.wait_s() > 0

    @invariant()
    def a_wait_ends(self) -> None:
        assert 0 <= self.breaker.wait_s() <= MAX_OPEN_S
        assert self.breaker.is_open or self.breaker.wait_s() == 0


TestRequests = Requests.TestCase
