"""Clients of the HTTP API with typed responses: :class:`Client` and :class:`AsyncClient`.

::

    from miningmap.client import Client

    with Client("http://127.0.0.1:8080") as mining:
        for row in mining.shares("24h").shares:
            print(row.name, row.share, row.low, row.high)

Responses have ``to_pandas()``, which needs the extra ``pandas``.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Generic, Self, TypeAlias, TypeVar, overload

import httpx
import msgspec

from miningmap import __version__
from miningmap.api.models import (
    BUSY,
    PROBLEM_CONTENT_TYPE,
    Answer,
    BeliefList,
    Contributions,
    Histories,
    History,
    PlaceList,
    PoolList,
    Problem,
    SubdivisionAnswer,
)
from miningmap.swing_list import SwingList
from miningmap.swings import decode_swing
from miningmap.times import as_utc, rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from types import TracebackType

    from miningmap.api.models import Adjust, State, Step
    from miningmap.swings import Swing, SwingState, SwingSubject

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

When: TypeAlias = datetime | date | str
"""A time with a zone, a date (its first moment in UTC), or a text as the API takes it."""

BASE_URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 40.0
"""Longer than the longest request that the service allows."""
PATIENCE_S: Final = 90.0
"""Longer than a full quota takes to refill, and than the service takes for all it has accepted."""

_HEADERS: Final = {"User-Agent": f"miningmap-client/{__version__}"}
_LONGEST_DETAIL: Final = 500
# Those who were told the same time come back spread over this much more of it.
_SPREAD: Final = 0.25


class ApiError(Exception):
    """The service rejected the request; ``problem`` says why, and names the parameter.

    Attributes:
        problem: the problem document.
        retry_after_s: seconds after which the service says that to try again; ``None`` if it does
            not say so.
    """

    def __init__(self, problem: Problem, retry_after_s: int | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Event:
    """An event of the stream.

    Attributes:
        id: its position in the stream, for ``after``; empty if it has none.
        name: ``shares``, ``swing``, or ``gap`` if events before this one are missing. Later
            versions of the service may send other names.
        answer: the shares by country; only in ``shares``.
        swing: the event of a place or a pool that moves; only in ``swing``.
    """

    id: str
    name: str
    answer: Answer | None
    swing: Swing | None = None


class Client:
    """A synchronous client; use it in a ``with`` block, or close it.

    Every method raises :exc:`ApiError` if the service rejects the request, :exc:`httpx.HTTPError`
    if there is no response, and :exc:`msgspec.ValidationError` if the response does not fit this
    version of the client.

    While the service computes too much (503, ``busy``), or this client has used up its quota (429),
    a request is sent again when the service says so.

    Args:
        base_url: of the service.
        timeout_s: seconds for each step of a request (connect, send, wait for data).
        patience_s: seconds that one call waits in all before it sends a request again; 0 raises
            :exc:`ApiError` at once.
    """

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, headers=_HEADERS)
        self._patience_s = patience_s

    @overload
    def shares(
        self,
        window: str = ...,
        *,
        adjust: Adjust = ...,
        as_of: When | None = ...,
        prior: str = ...,
    ) -> Answer: ...
    @overload
    def shares(
        self,
        window: str = ...,
        *,
        country: str,
        adjust: Adjust = ...,
        as_of: When | None = ...,
        prior: str = ...,
    ) -> SubdivisionAnswer: ...
    def shares(
        self,
        window: str = "1h",
        *,
        country: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
        prior: str = "default",
    ) -> Answer:
        """Return the shares of hashrate by country, or of a country by its subdivisions.

        Args:
            window: ``now``, ``1h``, ``24h``, ``7d``, ``30d``, or a month, day or hour such as
                ``2026-11``, ``2026-11-22``, ``2026-11-22T15``.
            country: a code such as ``CN``, to get the shares of its subdivisions.
            adjust: whether the published relabelling rules are applied.
            as_of: the moment of the answer; by default now.
            prior: the network prior: ``default``, ``none`` or the id of one.
        """
        return self._get(_shares(country, _window(window, adjust, as_of, prior)))

    def history(
        self,
        code: str,
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
        prior: str = "default",
    ) -> History:
        """Return a place's share in every bucket that overlaps ``[start, to)``.

        A bucket without data has the share ``None``.

        Args:
            code: the place, such as ``US`` or ``CN-SC``.
            step: the length of a bucket.
            start: by default 48 hours, 30 days or 12 months before ``to``.
            to: by default now.
            adjust: whether the published relabelling rules are applied.
            prior: the network prior: ``default``, ``none`` or the id of one.

        Raises:
            ValueError: ``code`` is several places, for which there is :meth:`histories`.
        """
        return self._get(_history(code, _range(step, start, to, adjust, prior)))

    def histories(
        self,
        codes: str | Iterable[str],
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
        prior: str = "default",
    ) -> Histories:
        """Return the shares of several places, as :meth:`history` those of one.

        The places with the largest shares come first.

        Args:
            codes: places such as ``["US", "CN-SC"]``; ``*`` is every country that is listed in one
                of the buckets, and ``CN-*`` every such subdivision of ``CN``.
            step: the length of a bucket.
            start: by default 48 hours, 30 days or 12 months before ``to``.
            to: by default now.
            adjust: whether the published relabelling rules are applied.
            prior: the network prior: ``default``, ``none`` or the id of one.
        """
        return self._get(_histories(codes, _range(step, start, to, adjust, prior)))

    def contributions(
        self,
        code: str,
        window: str = "1h",
        *,
        against: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
        prior: str = "default",
    ) -> Contributions:
        """Return the pools that the share of a place is made of, the largest contribution first.

        Args:
            code: the place, such as ``US`` or ``CN-SC``.
            window: as for :meth:`shares`.
            against: another window, to get the change of each contribution from there.
            adjust: whether the published relabelling rules are applied.
            as_of: the moment of the answer; by default now.
            prior: the network prior: ``default``, ``none`` or the id of one.
        """
        return self._get(_contributions(code, against, _window(window, adjust, as_of, prior)))

    def pools(self, *, state: State | None = None) -> PoolList:
        """Return the state of each pool.

        Args:
            state: ``live``, ``thin``, ``stale`` or ``off``; by default all that are not ``off``,
                which means that they have not reported for 30 days.
        """
        return self._get(_pools(state))

    def swings(
        self,
        *,
        state: SwingState | None = None,
        since: When | None = None,
        subject: SwingSubject | None = None,
    ) -> SwingList:
        """Return places and pools that moved against their own past, the newest event first.

        Args:
            state: ``firing`` for what moves now, ``resolved`` or ``lost``; by default all.
            since: only swings with an event at or after this time; by default those of the last
                30 days, and all that are firing.
            subject: ``place`` or ``pool``; by default both.
        """
        return self._get(_swings(state, since, subject))

    def places(self) -> PlaceList:
        """Return every place that a report can name."""
        return self._get(_PLACES)

    def beliefs(self, on: date | str | None = None) -> BeliefList:
        """Return what is believed about where hashrate is: by whom, and from when to when.

        Args:
            on: a day (UTC), as a date or as text such as ``2026-11-22``; by default today.
        """
        return self._get(_beliefs(on))

    def _get(self, request: _Request[T]) -> T:
        patience = _Patience(self._patience_s)
        while True:
            response = self._http.get(request.path, params=request.parameters)
            pause_s = patience.pause_s(response)
            if pause_s is None:
                return request.decode(response)
            time.sleep(pause_s)

    def close(self) -> None:
        """Close the connections."""
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
    """An asynchronous client with the methods of :class:`Client`, and the event stream."""

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout_s, headers=_HEADERS)
        self._patience_s = patience_s

    @overload
    async def shares(
        self,
        window: str = ...,
        *,
        adjust: Adjust = ...,
        as_of: When | None = ...,
        prior: str = ...,
    ) -> Answer: ...
    @overload
    async def shares(
        self,
        window: str = ...,
        *,
        country: str,
        adjust: Adjust = ...,
        as_of: When | None = ...,
        prior: str = ...,
    ) -> SubdivisionAnswer: ...
    async def shares(
        self,
        window: str = "1h",
        *,
        country: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
        prior: str = "default",
    ) -> Answer:
        """As :meth:`Client.shares`."""
        return await self._get(_shares(country, _window(window, adjust, as_of, prior)))

    async def history(
        self,
        code: str,
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
        prior: str = "default",
    ) -> History:
        """As :meth:`Client.history`."""
        return await self._get(_history(code, _range(step, start, to, adjust, prior)))

    async def histories(
        self,
        codes: str | Iterable[str],
        *,
        step: Step = "hour",
        start: When | None = None,
        to: When | None = None,
        adjust: Adjust = "published",
        prior: str = "default",
    ) -> Histories:
        """As :meth:`Client.histories`."""
        return await self._get(_histories(codes, _range(step, start, to, adjust, prior)))

    async def contributions(
        self,
        code: str,
        window: str = "1h",
        *,
        against: str | None = None,
        adjust: Adjust = "published",
        as_of: When | None = None,
        prior: str = "default",
    ) -> Contributions:
        """As :meth:`Client.contributions`."""
        return await self._get(_contributions(code, against, _window(window, adjust, as_of, prior)))

    async def pools(self, *, state: State | None = None) -> PoolList:
        """As :meth:`Client.pools`."""
        return await self._get(_pools(state))

    async def swings(
        self,
        *,
        state: SwingState | None = None,
        since: When | None = None,
        subject: SwingSubject | None = None,
    ) -> SwingList:
        """As :meth:`Client.swings`."""
        return await self._get(_swings(state, since, subject))

    async def places(self) -> PlaceList:
        """As :meth:`Client.places`."""
        return await self._get(_PLACES)

    async def beliefs(self, on: date | str | None = None) -> BeliefList:
        """As :meth:`Client.beliefs`."""
        return await self._get(_beliefs(on))

    async def stream(
        self, window: str = "1h", *, after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the newest event, and then each new one until the connection ends.

        Raises the same errors as the other methods, and :exc:`httpx.TransportError` if the
        connection is lost.

        Args:
            window: of the shares: ``now``, ``1h``, ``24h``, ``7d`` or ``30d``.
            after: the id of the last event that was received, to resume behind it. The service
                keeps the events of one hour.
        """
        headers = {} if after is None else {"Last-Event-ID": after}
        parameters = {"window": window}
        async with self._http.stream(
            "GET", _STREAM, params=parameters, headers=headers
        ) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                raise _error(response)
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                else:
                    if "data" in fields:
                        yield _event(fields)
                    fields = {}

    async def _get(self, request: _Request[T]) -> T:
        patience = _Patience(self._patience_s)
        while True:
            response = await self._http.get(request.path, params=request.parameters)
            pause_s = patience.pause_s(response)
            if pause_s is None:
                return request.decode(response)
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Close the connections."""
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


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request(Generic[T_co]):
    """A request, and the type of its response."""

    path: str
    kind: type[T_co]
    parameters: Mapping[str, str]

    def decode(self, response: httpx.Response) -> T_co:
        """Decode the body of a response.

        Raises:
            ApiError: its status is not 200.
        """
        if response.status_code != httpx.codes.OK:
            raise _error(response)
        return self._decode(response.content)

    def _decode(self, body: bytes) -> T_co:
        return msgspec.json.decode(body, type=self.kind)


class _SwingsRequest(_Request[SwingList]):
    """A request for swings, whose response has rows of two types."""

    def _decode(self, body: bytes) -> SwingList:
        return self.kind.decode(body)


_STREAM: Final = "/api/v1/stream"
_HISTORY: Final = "/api/v1/history"
_PLACES: Final = _Request("/api/v1/places", PlaceList, {})


def _shares(country: str | None, parameters: dict[str, str]) -> _Request[Answer]:
    if country is None:
        return _Request("/api/v1/shares", Answer, parameters)
    inside = {"level": "subdivision", "country": country}
    return _Request("/api/v1/shares", SubdivisionAnswer, inside | parameters)


def _history(code: str, parameters: dict[str, str]) -> _Request[History]:
    if "," in code or "*" in code:
        raise ValueError(f"{code!r} is not a single place; use histories()")
    return _Request(_HISTORY, History, {"code": code, **parameters})


def _histories(codes: str | Iterable[str], parameters: dict[str, str]) -> _Request[Histories]:
    listed = codes if isinstance(codes, str) else ",".join(codes)
    # The comma at the end makes a list of a single place, too.
    code = f"{listed.removesuffix(',')},"
    return _Request(_HISTORY, Histories, {"code": code, **parameters})


def _contributions(
    code: str, against: str | None, parameters: dict[str, str]
) -> _Request[Contributions]:
    compared = {} if against is None else {"against": against}
    return _Request(
        "/api/v1/contributions", Contributions, {"code": code, **compared, **parameters}
    )


def _window(window: str, adjust: Adjust, as_of: When | None, prior: str) -> dict[str, str]:
    return {"window": window, "adjust": adjust, "prior": prior, **_time("as_of", as_of)}


def _range(
    step: Step, start: When | None, to: When | None, adjust: Adjust, prior: str
) -> dict[str, str]:
    times = _time("from", start) | _time("to", to)
    return {"step": step, **times, "adjust": adjust, "prior": prior}


def _swings(
    state: SwingState | None, since: When | None, subject: SwingSubject | None
) -> _Request[SwingList]:
    chosen = {"state": state, "subject": subject}
    given = {name: value for name, value in chosen.items() if value is not None}
    return _SwingsRequest("/api/v1/swings", SwingList, given | _time("since", since))


def _pools(state: State | None) -> _Request[PoolList]:
    return _Request("/api/v1/pools", PoolList, {} if state is None else {"state": state})


def _beliefs(on: date | str | None) -> _Request[BeliefList]:
    parameters = {} if on is None else {"on": on if isinstance(on, str) else on.isoformat()}
    return _Request("/api/v1/beliefs", BeliefList, parameters)


def _event(fields: Mapping[str, str]) -> Event:
    """Decode a server-sent event; the service writes each field once, and the data in one line."""
    name = fields.get("event", "message")
    answer = msgspec.json.decode(fields["data"], type=Answer) if name == "shares" else None
    swing = decode_swing(fields["data"].encode()) if name == "swing" else None
    return Event(fields.get("id", ""), name, answer, swing)


def _time(name: str, at: When | None) -> dict[str, str]:
    match at:
        case None:
            return {}
        case str():
            return {name: at}
        case datetime():
            return {name: rfc3339(as_utc(at))}
        case date():
            return {name: rfc3339(datetime(at.year, at.month, at.day, tzinfo=UTC))}


class _Patience:
    """Decides whether to send a request again, and when.

    Args:
        left_s: seconds that may be waited in all.
    """

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s

    def pause_s(self, response: httpx.Response) -> float | None:
        """Return the seconds to wait before the same request, or ``None`` not to send it again."""
        told_s = _retry_after_s(response)
        if told_s is None or told_s > self._left_s or not _is_temporary(response):
            return None
        pause_s = told_s * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - no secret
        self._left_s -= pause_s
        return pause_s


def _is_temporary(response: httpx.Response) -> bool:
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return _problem(response).reason == BUSY
    return bool(response.status_code == httpx.codes.TOO_MANY_REQUESTS)


def _retry_after_s(response: httpx.Response) -> int | None:
    """Return the seconds of ``Retry-After``; ``None`` without it, or if it is a date."""
    told = response.headers.get("Retry-After", "")
    return int(told) if told.isascii() and told.isdigit() else None


def _error(response: httpx.Response) -> ApiError:
    return ApiError(_problem(response), _retry_after_s(response))


def _problem(response: httpx.Response) -> Problem:
    """Return the problem document of a response, or make one if a proxy sent another body."""
    if response.headers.get("Content-Type", "").startswith(PROBLEM_CONTENT_TYPE):
        return msgspec.json.decode(response.content, type=Problem)
    return Problem(
        type="about:blank",
        title=response.reason_phrase,
        status=response.status_code,
        detail=response.text[:_LONGEST_DETAIL],
    )
