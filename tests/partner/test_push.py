"""The division of a table into requests; tests/cli/test_cli_partner.py sends them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.partner.csv import TableError
from miningmap.partner.http import body_of
from miningmap.partner.push import Table
from miningmap.places import all_places, country_of
from miningmap.rows import MAX_BODY, RowError
from miningmap.sizes import MAX_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
HEADER = "period_start_date,period,country,province,average_hashrate,unit"
CODES = [place.code for place in all_places()]


def table(lines: Iterable[str], now: datetime = NOW) -> Table:
    return Table(io.StringIO("\n".join([HEADER, *lines]), newline=""), now)


def line(day: str, code: str) -> str:
    return f"{day},daily,{country_of(code)},{code if '-' in code else ''},1.25,eh/s"


def test_a_table_that_fits_is_one_request() -> None:
    pushed = table(line(f"2026-11-0{day}", "US") for day in range(1, 9))
    assert pushed.requests() == [list(range(8))]
    assert len(pushed.periods) == 8


def test_without_rows_there_is_no_request() -> None:
    assert table([]).requests() == []


def test_all_places_that_a_period_may_have_fit_into_one_request() -> None:
    longest = sorted(CODES, key=len)[-MAX_PLACES:]
    pushed = table(line("2026-11-01", code) for code in longest)
    assert len(pushed.requests()) == 1
    assert len(body_of(pushed.rows)) < MAX_BODY


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(CODES)), unique=True, max_size=40),
    st.integers(300, 3000),
)
def test_rows_of_a_period_stay_together_and_requests_below_the_limit(
    keys: list[tuple[int, str]], cap: int
) -> None:
    pushed = table(line(f"2026-11-0{day}", code) for day, code in keys)
    requests = pushed.requests(cap)
    assert sorted(index for request in requests for index in request) == list(range(len(keys)))
    days = [{keys[index][0] for index in request} for request in requests]
    assert sum(map(len, days)) == len({day for day, _ in keys})
    for request, of in zip(requests, days, strict=True):
        assert len(of) == 1 or len(body_of(pushed.at(request))) <= cap


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(CODES)), unique=True, max_size=40),
)
def test_the_number_of_requests_is_minimal_for_the_order_of_the_table(
    keys: list[tuple[int, str]],
) -> None:
    cap = 1200
    pushed = table(line(f"2026-11-0{day}", code) for day, code in keys)
    requests = pushed.requests(cap)
    for one, following in pairwise(requests):
        first_day = keys[following[0]][0]
        first = [index for index in following if keys[index][0] == first_day]
        assert len(body_of(pushed.at([*one, *first]))) > cap


def test_invalid_rows_are_named_by_line_with_the_errors_of_the_intake() -> None:
    with pytest.raises(TableError) as caught:
        table(
            [
                line("2026-11-01", "US"),
                "2026-11-01,daily,Pery,,many,H/s",
                "2026-11-22,daily,US,,1,eh/s",
            ]
        )
    assert caught.value.errors == (
        "line 3: country: unknown country: 'Pery'; near matches: Peru (PE)",
        "line 3: unit: unit should be one of th/s, ph/s, eh/s",
        "line 3: average_hashrate: average_hashrate should be a finite number, 0 or more",
        "line 4: period_start_date: the period that starts on 2026-11-22 has not ended yet (UTC)",
    )


def test_errors_of_a_request_are_named_by_the_lines_of_the_file() -> None:
    pushed = table([line("2026-11-01", "US"), "", line("2026-11-02", "US")])
    assert pushed.by_line([RowError(0, None, "no")], [1]) == ["line 4: no"]
    assert pushed.by_line([RowError(1, "unit", "no")], [0, 1]) == ["line 4: unit: no"]
    for index in (-1, 2):
        error = RowError(index, "unit", "no")
        assert pushed.by_line([error], [0, 1]) == [f"row {index} of a request: unit: no"]
