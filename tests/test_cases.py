"""One test over many cases."""

from __future__ import annotations

import pytest

from tests.cases import all_cases

seen: list[tuple[int, str]] = []


@all_cases(("number", "text"), [(1, "1"), pytest.param(2, "two", id="a word"), (3, "3")])
def check(number: int, text: str) -> None:
    seen.append((number, text))
    assert str(number) == text
    if number == 3:
        pytest.fail("never three")


def test_all_cases_run_and_each_failure_is_named() -> None:
    seen.clear()
    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases") as caught:
        check()
    assert seen == [(1, "1"), (2, "two"), (3, "3")]
    notes = [error.__notes__ for error in caught.value.exceptions]
    assert notes == [["case: a word"], ["case: 3, '3'"]]


@all_cases("number", [1, 2])
def test_cases_can_be_combined_with_fixtures(number: int, tmp_path: object) -> None:
    assert number
    assert tmp_path


def test_a_list_without_cases_is_an_error() -> None:
    with pytest.raises(AssertionError, match="there are no cases"):
        all_cases("number", [])
