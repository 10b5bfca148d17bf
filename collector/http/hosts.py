"""What all sources of a host share: how often it is asked, and whether it is left alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from aiolimiter import AsyncLimiter

from collector.http.circuit_breaker import Breaker
from collector.sources.base import SourceError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.metrics import Metrics
    from collector.sources.base import Rate

_log: Final = structlog.get_logger(__name__)


class Host:
    """One host, by name and, where it is an unusual one, port."""

    def __init__(self, name: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Shown as not left alone."""
        self.name = name
        self._breaker = Breaker(clock)
        self._told_open = False
        self._shown = metrics.host_open.labels(name)
        self._shown.set(0)
        self._pause_s = 0.0
        self._limiter: AsyncLimiter | None = None

    def limit(self, rate: Rate) -> None:
        """Keep to this rate too. Requests are spread evenly: never all of them at once."""
        pause_s = rate.seconds / rate.requests
        if pause_s > self._pause_s:
            self._pause_s = pause_s
            self._limiter = AsyncLimiter(1, pause_s)

    def refuse_if_open(self) -> None:
        """Raise if the host is left alone now.

        Raises:
            TransientError: it is; with the time after which to come back.
        """
        if wait_s := self._breaker.wait_s():
            raise TransientError(
                f"{self.name}: left alone after it failed often, for {wait_s:.0f} s more",
                reason="breaker",
                retry_after_s=wait_s,
            )

    async def turn(self) -> None:
        """Return when the host may be asked.

        Raises:
            TransientError: it is left alone, maybe only since this began to wait.
        """
        self.refuse_if_open()
        if self._limiter is not None:
            await self._limiter.acquire()
        self.refuse_if_open()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """One request to the host: how it ends says how the host is.

        Every transient error in here is a failure of the host. What it says in good order (a 404,
        a key that it does not take) is none.
        """
        is_try = self._breaker.ask()
        try:
            yield
        except TransientError as error:
            self._breaker.unwell(error.retry_after_s, is_try=is_try)
            raise
        except SourceError as error:
            if error.reason == "address":  # found when its name was resolved: nothing was sent
                self._breaker.unknown(is_try=is_try)
            else:
                self._breaker.well(is_try=is_try)
            raise
        except BaseException:
            self._breaker.unknown(is_try=is_try)
            raise
        else:
            self._breaker.well(is_try=is_try)
        finally:
            self._tell()

    def _tell(self) -> None:
        is_open = self._breaker.is_open
        if is_open == self._told_open:
            return
        self._told_open = is_open
        self._shown.set(is_open)
        if is_open:
            wait_s = round(self._breaker.wait_s())
            _log.warning("host fails: left alone", host=self.name, seconds=wait_s)
        else:
            _log.info("host back", host=self.name)
