"""Questions: what may be asked of the map, and what is wrong with one that may not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast, get_args

from miningmap import places
from miningmap.api.models import Adjust, Level
from miningmap.times import parse_rfc3339
from streams.method.windows import Window, WindowError, parse_window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

PARAMETERS: Final = ("window", "level", "country", "adjust", "as_of")


class QuestionError(ValueError):
    """A parameter is wrong: ``parameter`` names it, the text says what is allowed."""

    def __init__(self, parameter: str, error: str) -> None:
        super().__init__(error)
        self.parameter = parameter


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked; ``country`` goes with level ``subdivision``, and only with it."""

    window: Window
    as_of: datetime
    level: Level = "country"
    country: str | None = None
    adjust: Adjust = "published"


def parse_question(asked: Mapping[str, str], now: datetime) -> Question:
    """The question that parameters ask; what is left out has its default.

    Raises:
        QuestionError: a parameter is unknown or wrong.
    """
    check_known(asked, PARAMETERS)
    level = cast("Level", one_of(asked, "level", Level))
    as_of = parse_time(asked, "as_of") or now
    try:
        window = parse_window(asked.get("window", "1h"), as_of)
    except WindowError as error:
        raise QuestionError("window", str(error)) from None
    return Question(
        window=window,
        as_of=as_of,
        level=level,
        country=_country(asked.get("country"), level),
        adjust=cast("Adjust", one_of(asked, "adjust", Adjust)),
    )


def check_known(asked: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Refuse parameters that do not exist, which would otherwise be ignored.

    Raises:
        QuestionError: there is one.
    """
    for name in asked:
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "there are none here"
            raise QuestionError(name, f"no parameter {name[:32]!r}; {there_are}")


def parse_time(asked: Mapping[str, str], name: str) -> datetime | None:
    """A time with a zone, or ``None`` where it was left out.

    Raises:
        QuestionError: not such a time.
    """
    text = asked.get(name)
    if not text:
        return None
    try:
        # In a query string a "+" that was not escaped arrives as a blank.
        return parse_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        example = "2026-11-22T15:00:00Z"
        raise QuestionError(name, f"{error}; wanted is RFC 3339, such as {example}") from None


def one_of(asked: Mapping[str, str], name: str, allowed: object) -> str:
    """A value of a ``Literal``; the first of them where the parameter was left out.

    Raises:
        QuestionError: another value.
    """
    values: tuple[str, ...] = get_args(allowed)
    value = asked.get(name, values[0])
    if value not in values:
        raise QuestionError(name, f"no {name} {value[:32]!r}; there are {' and '.join(values)}")
    return value


def _country(code: str | None, level: Level) -> str | None:
    if level == "country":
        if code:
            raise QuestionError("country", "country goes with level=subdivision only")
        return None
    if not code:
        raise QuestionError("country", "level=subdivision needs a country, such as country=CN")
    if not places.is_country(code):
        raise QuestionError(
            "country", f"no country {code[:32]!r}; an ISO 3166-1 alpha-2 code is wanted, such as CN"
        )
    return code
