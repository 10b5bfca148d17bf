"""Query parameters: structs that parse a request and describe themselves for OpenAPI. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self, get_args

import msgspec
from msgspec import Meta

from miningmap import places
from miningmap.api.models import Adjust, Level
from miningmap.api.schemas import ref
from miningmap.times import parse_rfc3339
from streams.method.windows import ROLLING, Window, parse_window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_QUOTED: Final = 32
"""An error quotes at most this many characters of the value."""


class ParameterError(ValueError):
    """A parameter is invalid: ``parameter`` is its name, and the text says what is allowed."""

    def __init__(self, parameter: str, error: str) -> None:
        super().__init__(error)
        self.parameter = parameter


class Format(NamedTuple):
    """How a value is written in a query string.

    Attributes:
        parse: returns the value of a text, or raises a ``ValueError`` that says what is allowed.
        schema: the JSON Schema of the text.
    """

    parse: Callable[[str], object]
    schema: Mapping[str, Any]


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one path; a subclass declares each parameter as a field.

    The type of a field is annotated with its :class:`Format` (not needed for a ``Literal``), and
    with its description and examples (:class:`msgspec.Meta`). A field without a default is
    required. An empty text is the same as no parameter if the field is required or may be ``None``.
    """

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Return the parameters of a request.

        Args:
            given: the texts by name; a multi-dict if a name can occur twice.

        Raises:
            ParameterError: a parameter is unknown, given twice, missing or invalid.
        """
        known = _parameters(cls)
        texts: dict[str, str] = {}
        for name, text in given.items():
            if name in texts:
                raise ParameterError(name, "given more than once; give it once")
            if name not in known:
                raise ParameterError(name, _unknown(name, known))
            texts[name] = text
        present = {n: text for n, text in texts.items() if text or not known[n].empty_is_absent}
        values = {}
        for name, parameter in known.items():
            if name in present:
                values[parameter.attribute] = parameter.parse(present[name])
            elif parameter.required:
                examples = " or ".join(f"{name}={example}" for example in parameter.examples)
                raise ParameterError(name, f"a value is required, such as {examples}")
        return cls(**values)

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """Return the parameters as OpenAPI parameter objects."""
        return [parameter.describe() for parameter in _parameters(cls).values()]


class _Parameter(NamedTuple):
    """One declared parameter: ``attribute`` is the name of its field."""

    name: str
    attribute: str
    format: Format
    description: str
    examples: list[str]
    default: object
    empty_is_absent: bool

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    def parse(self, text: str) -> object:
        try:
            return self.format.parse(text)
        except ValueError as error:
            raise ParameterError(self.name, str(error)) from None

    def describe(self) -> dict[str, Any]:
        schema = {**self.format.schema}
        if self.default is None:
            schema = {"anyOf": [*schema.get("anyOf", [schema]), _EMPTY_SCHEMA]}
        elif not self.required:
            schema["default"] = self.default
        if self.examples:
            schema["examples"] = self.examples
        described = {
            "name": self.name,
            "in": "query",
            "description": self.description,
            "schema": schema,
        }
        return described | {"required": True} if self.required else described


@cache
def _parameters(declaration: type[Parameters]) -> dict[str, _Parameter]:
    """Return the parameters of a declaration by name."""
    found = {}
    for field in msgspec.structs.fields(declaration):
        annotated, *metadata = get_args(field.type)
        (meta,) = (item for item in metadata if isinstance(item, Meta))
        formats = [item for item in metadata if isinstance(item, Format)]
        found[field.encode_name] = _Parameter(
            name=field.encode_name,
            attribute=field.name,
            format=formats[0] if formats else one_of(get_args(annotated)),
            description=meta.description or "",
            examples=meta.examples or [],
            default=field.default,
            empty_is_absent=field.required or field.default is None,
        )
    return found


def _unknown(name: str, known: Mapping[str, object]) -> str:
    expected = f"expected one of: {', '.join(known)}" if known else "this path has no parameters"
    return f"unknown parameter {quoted(name)}; {expected}"


def quoted(text: str) -> str:
    """Return the beginning of a text in quotation marks, as an error shows it."""
    return repr(text[:_MAX_QUOTED])


# --- formats --------------------------------------------------------------------------------------

_EMPTY_SCHEMA: Final = {"const": "", "description": "The same as leaving the parameter out."}
DATE_TIME: Final = {"type": "string", "format": "date-time"}
# These match exactly the dates that exist: a client, or a test that is generated from the schema,
# must be able to rely on the schema when it chooses a value.
_YEAR: Final = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR: Final = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
)
MONTH: Final = {
    "type": "string",
    "pattern": f"^{_YEAR}-(?:0[1-9]|1[0-2])$",
    "description": "YYYY-MM",
}
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    f"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)|{_LEAP_YEAR}-02-29)"
)
# A "+" that was not escaped in the query string is decoded as a space.
_UNESCAPED_PLUS: Final = re.compile(r" (?=[0-9]{2}:?[0-9]{2}\Z)")
_ANY_TIME: Final = datetime.fromtimestamp(0, UTC)


def one_of(values: tuple[str, ...]) -> Format:
    """Return the format of a value from a list."""

    def parse(text: str) -> str:
        if text not in values:
            expected = ", ".join(values)
            raise ValueError(f"{quoted(text)} is not allowed; expected one of: {expected}")
        return text

    return Format(parse, {"type": "string", "enum": list(values)})


def parse_time(text: str) -> datetime:
    """Return the time of a text such as ``2026-11-22T15:00:00Z``, in UTC.

    Raises:
        ValueError: the text is not a time, has no time zone or is out of range.
    """
    try:
        return parse_rfc3339(_UNESCAPED_PLUS.sub("+", text))
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is not a time with a time zone (RFC 3339) in the years 1 to 9999; "
            "expected a value such as 2026-11-22T15:00:00Z"
        ) from None


def _window(text: str) -> str:
    # Whether a name is valid does not depend on the time, so any time will do.
    return parse_window(text, _ANY_TIME).name


def parse_country(text: str) -> str:
    """Return the code of a country as it is.

    Raises:
        ValueError: it is not one.
    """
    if not places.is_country(text):
        raise ValueError(
            f"unknown country {quoted(text)}; expected an ISO 3166-1 alpha-2 code such as CN"
        )
    return text


def _prior(text: str) -> str:
    if not re.fullmatch(_BELIEF_ID, text):
        raise ValueError(
            f"{quoted(text)} is not allowed; expected default, none, or the id of a network prior "
            "such as network/hashrate-index"
        )
    return text


def _date(text: str) -> date:
    if not re.fullmatch(_DAY, text):
        raise ValueError(f"{quoted(text)} is not a day; expected a value such as 2026-11-22")
    return date.fromisoformat(text)


_BELIEF_ID: Final = "[a-z0-9][a-z0-9._/-]{0,127}"
_PRIOR: Final = Format(_prior, {"type": "string", "pattern": f"^{_BELIEF_ID}$"})
_DATE: Final = Format(_date, {"type": "string", "pattern": f"^{_DAY}$"})
TIME: Final = Format(parse_time, DATE_TIME)
_COUNTRY: Final = Format(parse_country, ref("CountryCode"))
WINDOW: Final = Format(
    _window,
    {
        "anyOf": [
            one_of(ROLLING).schema,
            MONTH,
            {"type": "string", "pattern": f"^{_DAY}$", "description": "YYYY-MM-DD"},
            {
                "type": "string",
                "pattern": f"^{_DAY}T(?:[01][0-9]|2[0-3])$",
                "description": "YYYY-MM-DDTHH",
            },
        ],
    },
)


# --- shares ---------------------------------------------------------------------------------------

WindowParameter = Annotated[
    str,
    WINDOW,
    Meta(
        description="The period over which figures are averaged: a rolling window, a month, a day "
        "or an hour.",
        examples=["24h", "2026-10", "2026-11-22", "2026-11-22T14"],
    ),
]

AsOfParameter = Annotated[
    datetime | None,
    TIME,
    Meta(
        description="The time that the answer is about; now, if left out. By default, minutes are "
        "stored for 48 hours: for earlier times request a month, a day or an hour by `window`.",
        examples=["2026-11-22T15:00:00Z"],
    ),
]

AdjustParameter = Annotated[
    Adjust,
    Meta(description="`published` applies all configured relabelling rules, `none` applies none."),
]


DEFAULT_WINDOW: Final = "1h"
DEFAULT_PRIOR: Final = "default"
NO_PRIOR: Final = "none"

PriorParameter = Annotated[
    str,
    _PRIOR,
    Meta(
        description="The network prior, which locates what nothing else does: `default`, `none`, "
        "or the id of one.",
        examples=["none"],
    ),
]


@dataclass(frozen=True, kw_only=True)
class SharesQuery:
    """A query for shares; ``country`` is set if and only if ``level`` is ``subdivision``."""

    window: Window
    as_of: datetime
    level: Level = "country"
    country: str | None = None
    adjust: Adjust = "published"
    prior: str = DEFAULT_PRIOR


class SharesParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/shares``."""

    window: WindowParameter = DEFAULT_WINDOW
    level: Annotated[
        Level, Meta(description="Countries, or the subdivisions of one `country`.")
    ] = "country"
    country: Annotated[
        str | None,
        _COUNTRY,
        Meta(
            description="The country whose subdivisions are listed. Required with "
            "`level=subdivision`, and allowed only with it.",
            examples=["CN"],
        ),
    ] = None
    adjust: AdjustParameter = "published"
    prior: PriorParameter = DEFAULT_PRIOR
    as_of: AsOfParameter = None

    def query(self, now: datetime) -> SharesQuery:
        """Return the query at ``now`` (UTC).

        Raises:
            ParameterError: ``country`` does not fit ``level``.
        """
        if self.level == "subdivision" and self.country is None:
            raise ParameterError(
                "country", "level=subdivision requires a country, such as country=CN"
            )
        if self.level == "country" and self.country is not None:
            raise ParameterError("country", "a country is allowed only with level=subdivision")
        as_of = self.as_of or now
        return SharesQuery(
            window=parse_window(self.window, as_of),
            as_of=as_of,
            level=self.level,
            country=self.country,
            adjust=self.adjust,
            prior=self.prior,
        )


# --- beliefs --------------------------------------------------------------------------------------


class BeliefsParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/beliefs``."""

    on: Annotated[
        date | None,
        _DATE,
        Meta(
            description="The day, in UTC; today, if left out.",
            examples=["2026-11-22"],
        ),
    ] = None
