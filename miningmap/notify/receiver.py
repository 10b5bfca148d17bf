"""The webhook: one event is sent until it has been received.

A failure is of the receiver or of the event. While the receiver fails (no answer, 5xx, 429, a
redirect, an unknown address, refused credentials), the same event is tried for as long as it takes,
so that nothing is lost. If it refuses the event itself (400 and most other 4xx), it is tried for
some time, in which a receiver can be mended; then it is logged, counted and left, because the
events behind it would otherwise wait for ever.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
import stamina
import structlog

from miningmap import __version__
from miningmap.http_client import reason_of
from miningmap.notify.signature import headers_of
from miningmap.times import retry_after_s, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from miningmap.dependencies import Dependency
    from miningmap.notify.events import Event
    from miningmap.notify.metrics import Metrics

USER_AGENT: Final = f"miningmap/{__version__} (notify)"

# Answers that are not about the event: other events would get the same. 408, 425 and 429 ask to try
# again; the others say that the address, the credentials or the way there is wrong.
_OF_RECEIVER: Final = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})

_log = structlog.get_logger(__name__)


class Patience(NamedTuple):
    """How long a receiver is waited for, in seconds.

    Attributes:
        answer_s: for the answer to one request.
        refused_s: until an event that the receiver refuses is left.
        first_s: before the second request; each further wait is twice as long.
        longest_s: the longest wait, unless the receiver asks for a longer one.
    """

    answer_s: float = 10.0
    refused_s: float = 900.0
    first_s: float = 1.0
    longest_s: float = 60.0


class DeliveryError(Exception):
    """The receiver does not have the event.

    Attributes:
        reason: the status of the answer, or ``no_answer``.
        is_of_event: whether the receiver refuses this event.
        retry_after_s: the wait that the receiver asks for, if it asks for one.
    """

    def __init__(
        self,
        text: str,
        reason: str = "no_answer",
        *,
        is_of_event: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.is_of_event = is_of_event
        self.retry_after_s = retry_after_s


class Receiver:
    """A webhook.

    Attributes:
        name: for logs: its scheme, host and port, because the rest of the URL may be secret.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: httpx.URL,
        *,
        key: bytes | None,
        patience: Patience,
        metrics: Metrics,
        state: Dependency,
    ) -> None:
        """Prepare to send.

        Args:
            client: as :func:`miningmap.http_client.direct_client` makes it.
            url: of the webhook.
            key: of the signature; without one the requests are not signed.
            patience: how long the receiver is waited for.
            metrics: where requests are counted.
            state: shows whether the receiver is available.
        """
        self._client = client
        self._url = url
        self.name = f"{url.scheme}://{url.netloc.decode().rpartition('@')[2]}"
        self._key = key
        self._patience = patience
        self._metrics = metrics
        self._state = state

    async def deliver(self, event: Event) -> bool:
        """Send an event until the receiver has it; return ``False`` if it refused it for long."""
        with self._waiting():
            refused: _Clock | None = None  # for how long, without a failure in between

            def retry(error: Exception) -> bool | float:
                nonlocal refused
                if not isinstance(error, DeliveryError):
                    return False
                refused = (refused or _Clock()) if error.is_of_event else None
                if refused is not None and refused() >= self._patience.refused_s:
                    return False
                return error.retry_after_s or True

            try:
                async for attempt in stamina.retry_context(
                    on=retry,
                    attempts=None,
                    timeout=None,
                    wait_initial=self._patience.first_s,
                    wait_max=self._patience.longest_s,
                    wait_jitter=self._patience.first_s,
                ):
                    with attempt:
                        await self._send(event)
            except DeliveryError as error:
                _log.error("notification_refused", id=event.id, swing=event.swing, error=str(error))
                return False
        return True

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Show in the metrics how long an event has been tried."""
        self._metrics.waiting.set_function(_Clock())
        try:
            yield
        finally:
            self._metrics.waiting.set_function(lambda: 0.0)

    async def _send(self, event: Event) -> None:
        """Send an event once.

        Raises:
            DeliveryError: the receiver does not have it.
        """
        try:
            with self._metrics.duration.time():
                status, retry_after = await self._request(event)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError) as error:
            # The two in the middle are of a Location that httpx reads, but need not follow.
            raise self._failed(
                DeliveryError(f"no answer from {self.name}: {reason_of(error)}; start the receiver")
            ) from None
        if not httpx.codes.is_success(status):
            raise self._failed(_error_of(self.name, status, retry_after))
        if self._state.found():
            _log.info("receiver_available", receiver=self.name)

    async def _request(self, event: Event) -> tuple[int, str | None]:
        """Return the status of the answer, and how long it asks to wait."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **headers_of(event.id, int(time.time()), event.body, self._key),
        }
        async with (
            asyncio.timeout(self._patience.answer_s),
            self._client.stream("POST", self._url, content=event.body, headers=headers) as response,
        ):
            # The rest of an answer says nothing more, and may never come.
            return response.status_code, response.headers.get("Retry-After")

    def _failed(self, error: DeliveryError) -> DeliveryError:
        self._metrics.failures.labels(error.reason).inc()
        if self._state.lost(str(error)):
            _log.warning("receiver_unavailable", receiver=self.name, error=str(error))
        return error


class _Clock:
    """The seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._start


def _error_of(name: str, status: int, retry_after: str | None) -> DeliveryError:
    remedy = "look at the receiver's log"
    if httpx.codes.is_redirect(status):
        remedy = "set the address to which it redirects; redirects are not followed"
    return DeliveryError(
        f"{name} answered {status}; {remedy}",
        str(status),
        is_of_event=httpx.codes.is_client_error(status) and status not in _OF_RECEIVER,
        retry_after_s=retry_after_s(retry_after, utc_now()),
    )
