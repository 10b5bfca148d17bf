"""The back-off policy in its two uses: the circuit of a host, and the retries of a source."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.http.backoff import LONGEST_S, PROBE_S, Backoff
from collector.http.hosts import FIRST_OPEN_S, MAX_FAILURES
from collector.sources.base import CredentialsError, PermanentError, TransientError
from miningmap.times import MAX_RETRY_AFTER_S
from tests.clock import Clock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

ADDRESS = PermanentError("", reason="address")
NOT_FOUND = PermanentError("", reason="client_error")
UNAUTHORIZED = CredentialsError("", reason="unauthorized")
CANCELLED = asyncio.CancelledError()


def failure(retry_after_s: float | None = None) -> TransientError:
    return TransientError("", reason="timeout", retry_after_s=retry_after_s)


def circuit_open(retry_after_s: float) -> TransientError:
    return TransientError("", reason="breaker", retry_after_s=retry_after_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(clock: Clock) -> Backoff:
    return Backoff(clock, first_s=FIRST_OPEN_S, max_failures=MAX_FAILURES)


@pytest.fixture
def source(clock: Clock) -> Backoff:
    return Backoff(clock, first_s=60)


def begin(backoff: Backoff) -> AbstractContextManager[None]:
    attempt = backoff.attempt()
    attempt.__enter__()
    return attempt


def end(attempt: AbstractContextManager[None], error: BaseException | None) -> None:
    assert not attempt.__exit__(type(error) if error else None, error, None)


def attempt(backoff: Backoff, error: BaseException | None = None, times: int = 1) -> None:
    for _ in range(times):
        with suppress(BaseException), backoff.attempt():
            if error is not None:
                raise error


# --- a host ---------------------------------------------------------------------------------------


def test_a_host_may_fail_a_few_times_in_a_row(host: Backoff) -> None:
    attempt(host, failure(), MAX_FAILURES - 1)
    assert host.wait_s() == 0
    attempt(host)
    attempt(host, failure(), MAX_FAILURES - 1)
    assert host.wait_s() == 0
    attempt(host, failure())
    assert host.wait_s() == FIRST_OPEN_S


@pytest.mark.parametrize("error", [NOT_FOUND, UNAUTHORIZED])
def test_a_well_formed_client_error_is_a_success(host: Backoff, error: Exception) -> None:
    attempt(host, failure(), MAX_FAILURES - 1)
    attempt(host, error)
    attempt(host, failure())
    assert not host.is_open


@pytest.mark.parametrize("error", [ADDRESS, CANCELLED, RuntimeError(), circuit_open(7)])
def test_an_attempt_without_an_outcome_changes_nothing(host: Backoff, error: BaseException) -> None:
    attempt(host, failure(), MAX_FAILURES - 1)
    attempt(host, error)
    assert not host.is_open
    attempt(host, failure())
    assert host.is_open


def test_errors_of_an_attempt_are_raised(host: Backoff) -> None:
    for error in (failure(), NOT_FOUND, ADDRESS, CANCELLED):
        with pytest.raises(type(error)), host.attempt():
            raise error


def test_after_the_wait_one_attempt_is_the_probe_and_others_wait(
    host: Backoff, clock: Clock
) -> None:
    attempt(host, failure(), MAX_FAILURES)
    clock.now += FIRST_OPEN_S - 1
    assert host.wait_s() == 1
    clock.now += 1
    assert host.wait_s() == 0
    with host.attempt():
        assert host.is_open
        assert host.wait_s() == PROBE_S
    assert host.wait_s() == 0


def test_a_probe_that_succeeds_ends_the_backoff(host: Backoff, clock: Clock) -> None:
    attempt(host, failure(), MAX_FAILURES)
    clock.now += FIRST_OPEN_S
    attempt(host)
    assert not host.is_open
    attempt(host, failure(), MAX_FAILURES - 1)
    assert host.wait_s() == 0
    attempt(host, failure())
    assert host.wait_s() == FIRST_OPEN_S


def test_each_probe_that_fails_doubles_the_wait_up_to_a_cap(host: Backoff, clock: Clock) -> None:
    attempt(host, failure(), MAX_FAILURES)
    waits = []
    for _ in range(2000):  # a float cannot be doubled so often
        waits.append(host.wait_s())
        clock.now += waits[-1]
        assert host.wait_s() == 0
        attempt(host, failure())
    assert waits[:6] == [60, 120, 240, 480, LONGEST_S, LONGEST_S]
    assert waits[-1] == LONGEST_S


@pytest.mark.parametrize("error", [ADDRESS, CANCELLED])
def test_after_a_probe_without_an_outcome_the_next_attempt_is_the_probe(
    host: Backoff, clock: Clock, error: BaseException
) -> None:
    attempt(host, failure(), MAX_FAILURES)
    clock.now += FIRST_OPEN_S
    attempt(host, error)
    assert host.is_open
    assert host.wait_s() == 0
    with host.attempt():
        assert host.wait_s() == PROBE_S


def test_a_longer_retry_after_is_honoured(host: Backoff) -> None:
    attempt(host, failure(), MAX_FAILURES - 1)
    attempt(host, failure(3000))
    assert host.wait_s() == 3000


def test_a_short_retry_after_does_not_shorten_the_wait(host: Backoff) -> None:
    attempt(host, failure(1), MAX_FAILURES)
    assert host.wait_s() == FIRST_OPEN_S


@pytest.mark.parametrize("probing", [False, True])
def test_attempts_from_before_the_backoff_are_outdated(
    host: Backoff, clock: Clock, *, probing: bool
) -> None:
    earlier = [begin(host), begin(host), begin(host)]
    attempt(host, failure(), MAX_FAILURES)
    probe: AbstractContextManager[None] = nullcontext()
    if probing:
        clock.now += FIRST_OPEN_S
        probe = host.attempt()
    with probe:
        wait_s = host.wait_s()
        for before, error in zip(earlier, (failure(3000), CANCELLED, None), strict=True):
            end(before, error)
        assert host.is_open
        assert host.wait_s() == wait_s


# --- a source -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval_s", "failures", "wait_s"),
    [
        (60, 1, 60),
        (60, 2, 120),
        (60, 5, LONGEST_S),
        (60, 2000, LONGEST_S),
        (1200, 9, 1200),
        (0.001, 1, 0.001),
        (0.001, 2000, LONGEST_S),
    ],
)
def test_a_sources_retries_double_from_its_interval_up_to_a_cap(
    clock: Clock, interval_s: float, failures: int, wait_s: float
) -> None:
    source = Backoff(clock, first_s=interval_s)
    attempt(source, failure(), failures)
    assert source.retry_s(failure()) == source.wait_s() == pytest.approx(wait_s)


@pytest.mark.parametrize("error", [UNAUTHORIZED, PermanentError("", reason="shape"), ADDRESS])
@pytest.mark.parametrize(("interval_s", "wait_s"), [(60, LONGEST_S), (1200, 1200)])
def test_permanent_errors_wait_the_longest(
    clock: Clock, error: CredentialsError | PermanentError, interval_s: float, wait_s: float
) -> None:
    source = Backoff(clock, first_s=interval_s)
    attempt(source, error)
    assert source.retry_s(error) == wait_s


def test_a_poll_that_an_open_circuit_prevents_does_not_change_the_backoff(
    source: Backoff, clock: Clock
) -> None:
    attempt(source, failure(), 2)
    assert source.wait_s() == 120
    clock.now += 120
    for retry_after_s in (50.0, 5.0):
        prevented = circuit_open(retry_after_s)
        attempt(source, prevented)
        assert source.retry_s(prevented) == retry_after_s
        clock.now += retry_after_s
    attempt(source, failure())
    assert source.wait_s() == 240


@given(
    st.floats(0.001, 3600),
    st.integers(1, 100),
    st.none() | st.floats(0, MAX_RETRY_AFTER_S),
)
def test_a_retry_is_never_sooner_than_the_interval_or_than_the_server_asks(
    interval_s: float, failures: int, retry_after_s: float | None
) -> None:
    source = Backoff(lambda: 0.0, first_s=interval_s)
    error = failure(retry_after_s)
    attempt(source, error, failures)
    wait_s = source.retry_s(error)
    assert interval_s <= wait_s <= MAX_RETRY_AFTER_S
    assert wait_s >= (retry_after_s or 0)


# --- attempts that overlap ------------------------------------------------------------------------

OUTCOMES = {
    "success": None,
    "client error": NOT_FOUND,
    "failure": failure(),
    "not sent": ADDRESS,
    "cancelled": CANCELLED,
}


class Attempts(RuleBasedStateMachine):
    """Attempts that overlap in any way: none begins during a wait, and one at most is the probe."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.backoff = Backoff(self.clock, first_s=FIRST_OPEN_S, max_failures=MAX_FAILURES)
        self.running: list[tuple[bool, AbstractContextManager[None]]] = []
        self.not_before = 0.0

    @rule(seconds=st.floats(0, 2000))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.backoff.wait_s() == 0)
    @rule()
    def one_begins(self) -> None:
        assert self.clock.now >= self.not_before
        is_probe = self.backoff.is_open
        self.running.append((is_probe, begin(self.backoff)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(sorted(OUTCOMES)))
    def one_ends(self, data: st.DataObject, outcome: str) -> None:
        index = data.draw(st.integers(0, len(self.running) - 1))
        is_probe, running = self.running.pop(index)
        was_open = self.backoff.is_open
        end(running, OUTCOMES[outcome])
        if was_open and not self.backoff.is_open:
            assert is_probe
            assert outcome in {"success", "client error"}
            self.not_before = 0.0
        if self.backoff.is_open and (is_probe or not was_open) and outcome == "failure":
            self.not_before = self.clock.now + self.backoff.wait_s()

    @invariant()
    def one_probe_at_most(self) -> None:
        probes = sum(is_probe for is_probe, _ in self.running)
        assert probes <= 1
        assert probes == 0 or self.backoff.wait_s() > 0

    @invariant()
    def a_wait_ends(self) -> None:
        assert 0 <= self.backoff.wait_s() <= LONGEST_S
        assert self.backoff.is_open or self.backoff.wait_s() == 0


TestAttempts = Attempts.TestCase
