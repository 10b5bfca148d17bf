"""One request with rows to an intake, and what its answer means."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from miningmap.cbeci.contribution import RowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.cbeci.contribution import Row

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)
_RETRY_AFTER_S: Final = 30.0  # where an answer that should say it does not
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_QUOTED: Final = 200


class _Answer(msgspec.Struct):
    status: str | None = None
    error: str | None = None
    errors: tuple[RowError, ...] = ()


class ContributeError(Exception):
    """The rows were not taken.

    Attributes:
        errors: what is wrong with which row, where the intake says it.
        retry_s: after so many seconds another attempt can help; ``None`` if none can.
    """

    def __init__(
        self, text: str, *, errors: Sequence[RowError] = (), retry_s: float | None = None
    ) -> None:
        super().__init__(text)
        self.errors = tuple(errors)
        self.retry_s = retry_s


def body_of(rows: Sequence[Row]) -> bytes:
    """The rows as a request's body."""
    return msgspec.json.encode({"data": rows})


async def contribute(
    session: aiohttp.ClientSession, url: str, token: str, rows: Sequence[Row]
) -> None:
    """Send rows to an intake, once.

    Args:
        session: a client of HTTP.
        url: the intake's, with :data:`miningmap.cbeci.contribution.PATH`.
        token: the partner's.
        rows: all that one request is to carry.

    Raises:
        ContributeError: it cannot be reached, or answers anything but success.
    """
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        async with session.post(
            url,
            data=body_of(rows),
            headers=headers,
            timeout=_TIMEOUT,
            allow_redirects=False,  # the token is for this server
        ) as response:
            status, body = response.status, await response.read()
            retry_after = response.headers.get("Retry-After", "")
            moved = response.headers.get("Location", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        text = f"no answer from {url}: {str(error) or type(error).__name__}"
        raise ContributeError(text, retry_s=_RETRY_AFTER_S) from None
    answer = _answer(body)
    # CBECI's own intake says failure with status 200, too.
    if status == HTTPStatus.OK and answer is not None and answer.status == "success":
        return
    said = answer.error if answer is not None else moved and f"the intake is at {moved}"
    raise ContributeError(
        f"{url} answered {status}: {said or body[:_QUOTED].decode(errors='replace')}",
        errors=answer.errors if answer is not None else (),
        retry_s=_seconds(retry_after) if status in _PASSING else None,
    )


def _answer(body: bytes) -> _Answer | None:
    try:
        return msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else _RETRY_AFTER_S
