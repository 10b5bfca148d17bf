"""One request with rows of either form to an intake, and what its response means."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from miningmap.http_client import direct_client, reason_of
from miningmap.inputs import decode_json, printable
from miningmap.rows import MAX_BODY, RowError
from miningmap.times import retry_after_s, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from miningmap.cbeci.contribution import Row
    from miningmap.live_rows import LiveRow

_TIMEOUT_S: Final = 60.0  # for the whole request
_CONNECT_TIMEOUT_S: Final = 10.0
_DEFAULT_RETRY_S: Final = 30.0  # for a response without a usable Retry-After
_RETRYABLE: Final = frozenset({408, 429, 500, 502, 503, 504})
_BYTES_QUOTED: Final = 200
_MAX_RESPONSE: Final = 16 * MAX_BODY
"""The most bytes of a response that are read. One of CBECI's form repeats the rows, with the id of
the token in each."""


class _Body(msgspec.Struct):
    """A response: of CBECI's form, of the one to live rows, or a problem document."""

    status: str | int | None = None
    accepted: int | None = None
    error: str | None = None
    detail: str | None = None
    errors: tuple[RowError, ...] = ()


class ContributeError(Exception):
    """The intake did not accept the rows.

    Attributes:
        errors: what is wrong with which row, as far as the intake reports it.
        retry_s: seconds to wait before a retry; ``None`` if a retry cannot help.
        status: of the response; ``None`` without one.
    """

    def __init__(
        self,
        text: str,
        *,
        errors: Sequence[RowError] = (),
        retry_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(text)
        self.errors = tuple(errors)
        self.retry_s = retry_s
        self.status = status


def intake_client() -> httpx.AsyncClient:
    """Return an HTTP client for :func:`contribute` and :func:`send_reports`."""
    return direct_client(httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S))


def body_of(rows: Sequence[Row]) -> bytes:
    """Encode rows in CBECI's format as the body of a request."""
    return msgspec.json.encode({"data": rows})


def body_of_reports(rows: Sequence[LiveRow]) -> bytes:
    """Encode live rows as the body of a request."""
    return msgspec.json.encode(rows)


async def contribute(client: httpx.AsyncClient, url: str, token: str, rows: Sequence[Row]) -> None:
    """Send rows in CBECI's format to an intake, once.

    Args:
        client: as :func:`intake_client` makes it.
        url: of the intake, with :data:`miningmap.cbeci.contribution.PATH`.
        token: the partner's.
        rows: all rows of this request.

    Raises:
        ContributeError: the intake cannot be reached, or its response is not a success.
    """
    # CBECI's own intake also reports failures with status 200.
    await _send(client, url, token, body_of(rows), lambda body: body.status == "success")


async def send_reports(
    client: httpx.AsyncClient, url: str, token: str, rows: Sequence[LiveRow]
) -> None:
    """Send live rows to an intake, once. When it returns, Kafka has all of them.

    Args:
        client: as :func:`intake_client` makes it.
        url: of the intake, with :data:`miningmap.live_rows.PATH`.
        token: the partner's.
        rows: all rows of this request; their body has at most :data:`miningmap.rows.MAX_BODY`
            bytes (:func:`body_of_reports`).

    Raises:
        ContributeError: the intake cannot be reached, or its response is not a success.
    """
    await _send(client, url, token, body_of_reports(rows), lambda body: body.accepted == len(rows))


async def _send(
    client: httpx.AsyncClient,
    url: str,
    token: str,
    content: bytes,
    is_success: Callable[[_Body], bool],
) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            client.stream("POST", url, content=content, headers=headers) as response,
        ):
            answer = await _read(response)
    except (httpx.HTTPError, TimeoutError) as error:
        raise ContributeError(
            f"no answer from {url}: {reason_of(error)}", retry_s=_DEFAULT_RETRY_S
        ) from None
    status, body = response.status_code, _decode(answer)
    if status == HTTPStatus.OK and body is not None and is_success(body):
        return
    raise ContributeError(
        f"{url} answered {status}: {_reason(response, answer, body)}",
        errors=body.errors if body is not None else (),
        retry_s=_retry_after(response) if status in _RETRYABLE else None,
        status=status,
    )


async def _read(response: httpx.Response) -> bytes:
    """Return the body, of one that is too long only the beginning, which is no JSON."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_RESPONSE:
            break
    return bytes(content[:_MAX_RESPONSE])


def _decode(content: bytes) -> _Body | None:
    try:
        return decode_json(content, _Body)
    except msgspec.DecodeError:
        return None


def _reason(response: httpx.Response, answer: bytes, body: _Body | None) -> str:
    if body is not None and (reason := body.error or body.detail):
        return printable(reason)
    if body is None and (location := response.headers.get("Location")):
        return printable(f"the intake is at {location}")
    quoted = answer[:_BYTES_QUOTED].decode(errors="replace").strip()
    return printable(quoted) or response.reason_phrase or "without a text"


def _retry_after(response: httpx.Response) -> float:
    wait_s = retry_after_s(response.headers.get("Retry-After"), utc_now())
    return _DEFAULT_RETRY_S if wait_s is None else wait_s
