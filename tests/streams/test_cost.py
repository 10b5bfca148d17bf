"""What questions cost."""

from __future__ import annotations

import pytest

from streams.queries.cost import history_cost, months_cost
from streams.queries.history import HistoryParameters


@pytest.mark.parametrize(
    ("code", "buckets", "cost"),
    [
        ("US", 0, 1),
        ("US", 1, 2),
        ("US", 48, 11),
        ("US,CN-SC", 48, 13),
        ("*", 48, 15),
        ("*", 250, 70),
        ("*,CN-*,US-*", 83, 45),
        ("US", 1000, 201),
    ],
)
def test_a_history_costs_by_its_buckets_levels_and_lists(
    code: str, buckets: int, cost: int
) -> None:
    assert history_cost(buckets, HistoryParameters.parse({"code": code}).code) == cost


def test_months_cost_as_histories_of_three_levels() -> None:
    assert [months_cost(number) for number in (0, 1, 80)] == [1, 2, 25]
