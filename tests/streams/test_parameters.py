from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.method.windows import parse_window
from streams.queries.parameters import Question, QuestionError, check_known, parse_question
from tests.streams.fixtures import NOON


def test_what_is_left_out_has_its_default() -> None:
    window = parse_window("1h", NOON)
    default = Question(window=window, as_of=NOON, level="country", country=None, adjust="published")
    assert parse_question({}, NOON) == Question(window=window, as_of=NOON) == default


def test_everything_can_be_asked_for() -> None:
    then = datetime(2026, 10, 5, 7, 30, tzinfo=UTC)
    asked = {
        "window": "2026-10",
        "level": "subdivision",
        "country": "CN",
        "adjust": "none",
        "as_of": "2026-10-05T07:30:00Z",
    }
    assert parse_question(asked, NOON) == Question(
        window=parse_window("2026-10", then),
        as_of=then,
        level="subdivision",
        country="CN",
        adjust="none",
    )


def test_a_plus_that_was_not_escaped_is_read_as_one() -> None:
    asked = {"as_of": "2026-10-05T09:30:00 02:00"}
    assert parse_question(asked, NOON).as_of == datetime(2026, 10, 5, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "parameter", "text"),
    [
        ({"windw": "1h"}, "windw", "no parameter 'windw'; there are window, level, country"),
        ({"window": "2h"}, "window", "unknown window '2h'; expected one of: now, 1h"),
        ({"level": "city"}, "level", "no level 'city'; there are country and subdivision"),
        ({"adjust": ""}, "adjust", "no adjust ''; there are published and none"),
        ({"as_of": "noon"}, "as_of", "wanted is RFC 3339, such as 2026"),
        ({"as_of": "2026-10-05T07:30:00"}, "as_of", "has no time zone"),
        ({"country": "CN"}, "country", "goes with level=subdivision only"),
        ({"level": "subdivision"}, "country", "needs a country, such as country=CN"),
        ({"level": "subdivision", "country": "CN-SC"}, "country", "no country 'CN-SC'; an ISO"),
        ({"level": "subdivision", "country": "OTHER"}, "country", "no country 'OTHER'"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    asked: dict[str, str], parameter: str, text: str
) -> None:
    with pytest.raises(QuestionError) as caught:
        parse_question(asked, NOON)
    assert caught.value.parameter == parameter
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            {"as_of": "2026-10-05T07:30:00"},
            (
                "'2026-10-05T07:30:00' has no time zone; write UTC as 2026-11-22T15:00:00Z; "
                "wanted is RFC 3339, such as 2026-11-22T15:00:00Z"
            ),
        ),
        ({"country": "CN"}, "country goes with level=subdivision only"),
        ({"level": "subdivision"}, "level=subdivision needs a country, such as country=CN"),
        (
            {"level": "subdivision", "country": "cn"},
            "no country 'cn'; an ISO 3166-1 alpha-2 code is wanted, such as CN",
        ),
    ],
)
def test_an_error_is_said_in_one_sentence(asked: dict[str, str], text: str) -> None:
    with pytest.raises(QuestionError) as caught:
        parse_question(asked, NOON)
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["level", "adjust", "country", "window", "x"])
def test_of_what_is_too_long_only_the_beginning_is_quoted(name: str) -> None:
    asked = {"level": "subdivision", name: "x" * 500} if name != "x" else {"x" * 500: ""}
    with pytest.raises(QuestionError) as caught:
        parse_question(asked, NOON)
    assert "x" * 33 not in str(caught.value)


def test_where_there_are_no_parameters_that_is_said() -> None:
    check_known({}, ())
    with pytest.raises(QuestionError, match="no parameter 'x'; there are none here"):
        check_known({"x": "1"}, ())
