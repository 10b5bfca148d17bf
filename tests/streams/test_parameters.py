from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

import pytest
from msgspec import Meta, field
from multidict import MultiDict

from streams.method.windows import parse_window
from streams.queries.parameters import (
    BeliefsParameters,
    Format,
    ParameterError,
    Parameters,
    SharesParameters,
    SharesQuery,
    one_of,
)
from tests.streams.fixtures import NOON


def test_omitted_parameters_have_their_defaults() -> None:
    window = parse_window("1h", NOON)
    default = SharesQuery(
        window=window,
        as_of=NOON,
        level="country",
        country=None,
        adjust="published",
        prior="default",
    )
    assert SharesParameters.parse({}).query(NOON) == default
    assert SharesQuery(window=window, as_of=NOON) == default


def test_an_empty_country_or_time_counts_as_omitted() -> None:
    assert SharesParameters.parse({"country": "", "as_of": ""}) == SharesParameters()


def test_every_parameter_can_be_set() -> None:
    then = datetime(2026, 10, 5, 7, 30, tzinfo=UTC)
    given = {
        "window": "2026-10",
        "level": "subdivision",
        "country": "CN",
        "adjust": "none",
        "prior": "network/hashrate-index",
        "as_of": "2026-10-05T07:30:00Z",
    }
    assert SharesParameters.parse(given).query(NOON) == SharesQuery(
        window=parse_window("2026-10", then),
        as_of=then,
        level="subdivision",
        country="CN",
        adjust="none",
        prior="network/hashrate-index",
    )


def test_times_are_accepted_in_all_forms_and_with_an_unescaped_plus() -> None:
    for text in ("2026-10-05T09:30:00 02:00", "2026-10-05 09:30:00 0200", "2026-10-05t07:30z"):
        parsed = SharesParameters.parse({"as_of": text})
        assert parsed.as_of == datetime(2026, 10, 5, 7, 30, tzinfo=UTC)
    parsed = SharesParameters.parse({"as_of": "2026-12-31T23:59:60Z"})
    assert parsed.as_of == datetime(2027, 1, 1, tzinfo=UTC)


def error_of(given: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(ParameterError) as caught:
        SharesParameters.parse(given).query(NOON)
    return caught.value.parameter, str(caught.value)


TIME = (
    "is not a time with a time zone (RFC 3339) in the years 1 to 9999; "
    "expected a value such as 2026-11-22T15:00:00Z"
)
PRIOR = (
    "is not allowed; expected default, none, or the id of a network prior "
    "such as network/hashrate-index"
)
PARAMETERS = ("window", "level", "country", "adjust", "prior", "as_of")
COUNTRY = "expected an ISO 3166-1 alpha-2 code such as CN"


def test_an_error_names_the_parameter_and_the_allowed_values() -> None:
    cases: list[tuple[dict[str, str], str, str]] = [
        (
            {"windw": "1h"},
            "windw",
            f"unknown parameter 'windw'; expected one of: {', '.join(PARAMETERS)}",
        ),
        (
            {"level": "city"},
            "level",
            "'city' is not allowed; expected one of: country, subdivision",
        ),
        ({"level": ""}, "level", "'' is not allowed; expected one of: country, subdivision"),
        ({"adjust": ""}, "adjust", "'' is not allowed; expected one of: published, none"),
        ({"prior": ""}, "prior", f"'' {PRIOR}"),
        ({"prior": "/n"}, "prior", f"'/n' {PRIOR}"),
        ({"prior": "a b"}, "prior", f"'a b' {PRIOR}"),
        ({"as_of": "noon"}, "as_of", f"'noon' {TIME}"),
        ({"as_of": "2026-10-05T07:30:00"}, "as_of", f"'2026-10-05T07:30:00' {TIME}"),
        ({"as_of": "0001-01-01T00:00:00+23:00"}, "as_of", f"'0001-01-01T00:00:00+23:00' {TIME}"),
        ({"country": "CN"}, "country", "a country is allowed only with level=subdivision"),
        (
            {"level": "subdivision"},
            "country",
            "level=subdivision requires a country, such as country=CN",
        ),
        *(
            (
                {"level": "subdivision", "country": code},
                "country",
                f"unknown country {code!r}; {COUNTRY}",
            )
            for code in ("CN-SC", "OTHER", "cn")
        ),
    ]
    assert [error_of(given) for given, *_ in cases] == [(name, text) for _, name, text in cases]


def test_an_unknown_window_is_listed_with_the_known_ones() -> None:
    for window in ("2h", "", "2026-13"):
        parameter, text = error_of({"window": window})
        assert parameter == "window"
        assert repr(window) in text
        assert "24h" in text
        assert "YYYY-MM" in text


def test_an_error_quotes_only_the_beginning_of_a_long_value() -> None:
    for name in ("level", "adjust", "country", "window", "as_of", "x" * 500):
        _, text = error_of({"level": "subdivision", name: "x" * 500})
        assert "x" * 33 not in text


def test_a_repeated_parameter_is_an_error() -> None:
    given: MultiDict[str] = MultiDict([("window", "1h"), ("window", "24h")])
    with pytest.raises(ParameterError, match=r"^given more than once; give it once$") as caught:
        SharesParameters.parse(given)
    assert caught.value.parameter == "window"


def test_a_parameter_of_a_path_without_parameters_is_an_error() -> None:
    assert Parameters.parse({}) == Parameters()
    with pytest.raises(ParameterError, match="unknown parameter 'x'; this path has no parameters"):
        Parameters.parse({"x": "1"})


class Declared(Parameters, frozen=True, kw_only=True):
    """A declaration with each kind of parameter."""

    needed: Annotated[str, one_of(("a", "b")), Meta(description="Needed.", examples=["a", "b"])]
    choice: Annotated[Literal["x", "y"], Meta(description="A choice.")] = "y"
    maybe: Annotated[str | None, one_of(("c",)), Meta(description="Perhaps.")] = field(
        name="from", default=None
    )


def test_a_declaration_parses_its_parameters() -> None:
    parsed = Declared.parse({"needed": "b", "from": "c", "choice": "x"})
    assert parsed == Declared(needed="b", choice="x", maybe="c")
    assert Declared.parse({"needed": "a", "from": ""}) == Declared(needed="a")
    for given in ({}, {"needed": ""}):
        with pytest.raises(ParameterError) as caught:
            Declared.parse(given)
        assert caught.value.parameter == "needed"
        assert str(caught.value) == "a value is required, such as needed=a or needed=b"


def test_a_declaration_describes_itself() -> None:
    assert Declared.describe() == [
        {
            "name": "needed",
            "in": "query",
            "description": "Needed.",
            "schema": {"type": "string", "enum": ["a", "b"], "examples": ["a", "b"]},
            "required": True,
        },
        {
            "name": "choice",
            "in": "query",
            "description": "A choice.",
            "schema": {"type": "string", "enum": ["x", "y"], "default": "y"},
        },
        {
            "name": "from",
            "in": "query",
            "description": "Perhaps.",
            "schema": {
                "anyOf": [
                    {"type": "string", "enum": ["c"]},
                    {"const": "", "description": "The same as leaving the parameter out."},
                ]
            },
        },
    ]


class TwoFormats(Parameters, frozen=True, kw_only=True):
    """A declaration whose optional parameter has two formats."""

    maybe: Annotated[
        str | None,
        Format(str, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        Meta(description="Perhaps."),
    ] = None


def test_the_empty_text_is_one_more_format_of_an_optional_parameter() -> None:
    (described,) = TwoFormats.describe()
    assert described["schema"] == {
        "anyOf": [
            {"type": "string"},
            {"type": "integer"},
            {"const": "", "description": "The same as leaving the parameter out."},
        ]
    }


def test_a_value_of_a_list_is_one_of_its_values() -> None:
    listed = one_of(("a", "b"))
    assert listed.schema == {"type": "string", "enum": ["a", "b"]}
    assert listed.parse("b") == "b"
    with pytest.raises(ValueError, match=r"^'c' is not allowed; expected one of: a, b$"):
        listed.parse("c")


def test_the_day_of_beliefs_is_a_day_that_exists() -> None:
    assert BeliefsParameters.parse({"on": "2026-11-22"}).on == date(2026, 11, 22)
    assert BeliefsParameters.parse({}).on is None
    for text in ("2026-02-30", "2026-11", "2026-11-22T15:00:00Z", "today"):
        expected = f"^'{text}' is not a day; expected a value such as 2026-11-22$"
        with pytest.raises(ParameterError, match=expected):
            BeliefsParameters.parse({"on": text})
