"""A client of the HTTP API, with typed answers: :class:`Client`, and :class:`AsyncClient` alike.

    with Client("http://127.0.0.1:8080") as mining:
        for row in mining.shares("24h").shares:
            print(row.name, row.share, row.low, row.high)
        mining.history("CN", step="month", start="2019-09-01").to_pandas()

It knows the vocabulary only, nothing of the services that answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, Generic, Self, TypeAlias, TypeVar, overload

import httpx
import msgspec

from miningmap import __version__
from miningmap.api.models import (
    PROBLEM_CONTENT_TYPE,
    Answer,
    History,
    PlaceList,
    PoolList,
    Problem,
    SubdivisionAnswer,
)
from miningmap.times import as_utc, rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from miningmap.api.models import Adjust, Step

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

When: TypeAlias = datetime | date | str
"""A time with a zone, a date for its first moment in UTC, or the text of either."""

BASE_URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 40.0
"""Longer than the service takes at most."""

_HEADERS: Final = {"User-Agent": f"miningmap-client/{__version__}"}
_LONGEST_DETAIL: Final = 500


class ApiError(Exception):
    """The service refused: ``problem`` says what is wrong, and with which parameter."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


@dataclass(frozen=True)
class Event:
    """What a stream tells.

    Attributes:
        id: its place; empty if it has none.
        name: ``shares``; ``gap``, if events are missing here; later versions tell more.
        answer: the shares, by country.
    """

    id: str
    name: str
    answer: Answer | None


class Client:
    """The API, call by call. To be closed, or used in a ``with`` block.

    Every call raises :exc:`ApiError` if the service refuses, :exc:`httpx.HTTPError` if there is
    no answer, and :exc:`msgspec.ValidationError` if the answer is none of this version.

    Args:
        base_url: of the service.
        timeout_s: for one call.
    """

    def __init__(self, base_url: str = BASE_URL, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, headers=_HEADERS)

    @overload
    def shares(
        self, window: str = ..., *, adjust: Adjust = ..., as_of: When | None = ...
    ) -> Answer: ...
    @overload
    def shares(
        self, window: str = ..., *, country: str, adjust: Adjust = ..., as_of: When | None = ...
    ) -> SubdivisionAnswer: ...
    def shares(
        self,
        window: str = "1h",
        *,
        country: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
    ) -> Answer:
        """Where the hashrate is, by country; with ``country``, by its subdivisions.

        Args:
            window: ``now``, ``1h``, ``24h``, ``7d``, ``30d``, or a month, day or hour such as
                ``2026-11``, ``2026-11-22``, ``2026-11-22T15``.
            country: such as ``CN``.
            adjust: whether the published relabelling rules are applied.
            as_of: the moment that is asked about; now, if left out.
        """
        return self._get(_shares(window, country, adjust, as_of))

    def history(
        self,
        code: str,
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
    ) -> History:
        """A place's share in every bucket that ``[start, to)`` touches; without data it is null.

        Args:
            code: the place, such as ``US`` or ``CN-SC``.
            step: the length of a bucket.
            start: if left out, 48 hours, 30 days or 12 months before ``to``.
            to: now, if left out.
            adjust: whether the published relabelling rules are applied.
        """
        return self._get(_history(code, step, start, to, adjust))

    def pools(self) -> PoolList:
        """How each pool is doing."""
        return self._get(_POOLS)

    def places(self) -> PlaceList:
        """Every place that a report can name."""
        return self._get(_PLACES)

    def _get(self, call: _Call[T]) -> T:
        return call.answer(self._http.get(call.path, params=call.asked))

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """The same calls as :class:`Client`, each to be awaited, and the stream."""

    def __init__(self, base_url: str = BASE_URL, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout_s, headers=_HEADERS)

    @overload
    async def shares(
        self, window: str = ..., *, adjust: Adjust = ..., as_of: When | None = ...
    ) -> Answer: ...
    @overload
    async def shares(
        self, window: str = ..., *, country: str, adjust: Adjust = ..., as_of: When | None = ...
    ) -> SubdivisionAnswer: ...
    async def shares(
        self,
        window: str = "1h",
        *,
        country: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
    ) -> Answer:
        """As :meth:`Client.shares`."""
        return await self._get(_shares(window, country, adjust, as_of))

    async def history(
        self,
        code: str,
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
    ) -> History:
        """As :meth:`Client.history`."""
        return await self._get(_history(code, step, start, to, adjust))

    async def pools(self) -> PoolList:
        """As :meth:`Client.pools`."""
        return await self._get(_POOLS)

    async def places(self) -> PlaceList:
        """As :meth:`Client.places`."""
        return await self._get(_PLACES)

    async def stream(
        self, window: str = "1h", *, after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events as they happen, beginning with the newest, for as long as the service tells them.

        Raises what the other calls do; a connection that is cut is a :exc:`httpx.TransportError`.

        Args:
            window: of the shares: ``now``, ``1h``, ``24h``, ``7d`` or ``30d``.
            after: the id of the last event that was had, to go on behind it; an hour is kept.
        """
        known = {} if after is None else {"Last-Event-ID": after}
        asked = {"window": window}
        async with self._http.stream("GET", _STREAM, params=asked, headers=known) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                raise ApiError(_problem(response))
            said: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    said[name] = value.removeprefix(" ")
                else:
                    if "data" in said:
                        yield _event(said)
                    said = {}

    async def _get(self, call: _Call[T]) -> T:
        return call.answer(await self._http.get(call.path, params=call.asked))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


# --- calls ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call(Generic[T_co]):
    """What is asked, and what comes back."""

    path: str
    kind: type[T_co]
    asked: Mapping[str, str]

    def answer(self, response: httpx.Response) -> T_co:
        """The answer, read.

        Raises:
            ApiError: it is a refusal.
        """
        if response.status_code != httpx.codes.OK:
            raise ApiError(_problem(response))
        return msgspec.json.decode(response.content, type=self.kind)


_STREAM: Final = "/api/v1/stream"
_POOLS: Final = _Call("/api/v1/pools", PoolList, {})
_PLACES: Final = _Call("/api/v1/places", PlaceList, {})


def _shares(window: str, country: str | None, adjust: Adjust, as_of: When | None) -> _Call[Answer]:
    asked = {"window": window, "adjust": adjust, **_moment("as_of", as_of)}
    if country is None:
        return _Call("/api/v1/shares", Answer, asked)
    inside = {"level": "subdivision", "country": country}
    return _Call("/api/v1/shares", SubdivisionAnswer, asked | inside)


def _history(
    code: str, step: Step, start: When | None, to: When | None, adjust: Adjust
) -> _Call[History]:
    asked = {"code": code, "step": step, "adjust": adjust}
    return _Call("/api/v1/history", History, asked | _moment("from", start) | _moment("to", to))


def _event(said: Mapping[str, str]) -> Event:
    """A server-sent event; the service writes each field once, and the data in one line."""
    name = said.get("event", "message")
    answer = msgspec.json.decode(said["data"], type=Answer) if name == "shares" else None
    return Event(said.get("id", ""), name, answer)


def _moment(name: str, at: When | None) -> dict[str, str]:
    match at:
        case None:
            return {}
        case str():
            return {name: at}
        case datetime():
            return {name: rfc3339(as_utc(at))}
        case date():
            return {name: at.isoformat()}


def _problem(response: httpx.Response) -> Problem:
    """What is wrong; in the form of a problem document also if something in between said it."""
    if response.headers.get("Content-Type", "").startswith(PROBLEM_CONTENT_TYPE):
        return msgspec.json.decode(response.content, type=Problem)
    return Problem(
        type="about:blank",
        title=response.reason_phrase,
        status=response.status_code,
        detail=response.text[:_LONGEST_DETAIL],
    )
