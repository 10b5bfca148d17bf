"""A pool's budget of values: what it allows, how it is refilled, and when it is given back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collector.intake.budget import Budget, OverBudgetError
from miningmap.retention import horizon
from miningmap.settings import Retention
from tests.clock import Clock
from tests.streams.fixtures import NOON, report

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
A_DAY = report("a", {"US": 1.0, "CN": 1.0}, start=MIDNIGHT - DAY, end=MIDNIGHT)  # 72 values


def test_a_pool_may_claim_as_much_as_its_budget_and_waits_for_the_rest() -> None:
    clock = Clock()
    budget = Budget(100, clock)
    with budget.spent("a", [A_DAY]):
        pass
    with (
        pytest.raises(OverBudgetError, match="72 values, of 100 a day") as caught,
        budget.spent("a", [A_DAY]),
    ):
        raise AssertionError  # the block is not entered
    # 44 of 100 values are missing.
    assert caught.value.wait_s == 0.44 * 86_400
    with budget.spent("b", [A_DAY]):  # other pools have budgets of their own
        pass
    clock.now += caught.value.wait_s
    with budget.spent("a", [A_DAY]):
        pass


def test_a_budget_is_never_more_than_that_of_a_day() -> None:
    clock = Clock()
    budget = Budget(100, clock)
    clock.now += 30 * 86_400
    with budget.spent("a", [A_DAY]):
        pass
    with pytest.raises(OverBudgetError), budget.spent("a", [A_DAY]):
        pass


def test_what_was_not_published_is_given_back() -> None:
    budget = Budget(100, Clock())
    for _ in range(3):
        with pytest.raises(ConnectionError), budget.spent("a", [A_DAY]):
            raise ConnectionError
    with budget.spent("a", [A_DAY]):
        pass


def test_more_than_a_day_may_have_can_never_be_accepted() -> None:
    budget = Budget(100, Clock())
    with (
        pytest.raises(OverBudgetError, match="144 values") as caught,
        budget.spent("a", [A_DAY, A_DAY]),
    ):
        pass
    assert caught.value.wait_s is None


def test_what_is_older_than_hours_are_kept_claims_days() -> None:
    month = report("a", {"US": 1.0}, start=MIDNIGHT - 90 * DAY, end=MIDNIGHT - 60 * DAY)
    with Budget(60, Clock()).spent("a", [month], horizon(Retention(), NOON)):
        pass


def test_0_is_no_limit() -> None:
    budget = Budget(0, Clock())
    for _ in range(1000):
        with budget.spent("a", [A_DAY]):
            pass
