"""What the command line tells of sources: the list of them, and what one of them says now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.polling.plausibility import Plausibility
from collector.polling.reports import IMPLAUSIBLE, Poll, read, sift
from collector.registry import choose, discover, unknown
from collector.sources.base import PermanentError, SourceError
from collector.sources.credentials import Credentials, setting
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.sources.base import Credential, Source
    from miningmap.messages import Message
    from miningmap.settings import Settings


class TrialError(ValueError):
    """Cannot be tried like this: no such source, or not the bodies that it needs."""


def describe(settings: Settings) -> list[dict[str, object]]:
    """Every source as plain data, for a table or JSON; times in seconds.

    ``state`` is ``on`` for those that these settings poll, ``needs NAME`` for those that they would
    poll with that credential, else ``off``.

    Raises:
        SettingsError: the settings name a source that does not exist, or are wrong otherwise.
    """
    sources = discover()
    credentials = Credentials(settings.credentials)
    on = {source.path for source in choose(sources, settings.collector, credentials)}

    def state(source: Source) -> str:
        if source.path in on:
            return "on"
        lacking = credentials.lacking(source) if settings.collector.sources is None else []
        return f"needs {', '.join(lacking)}" if lacking else "off"

    return [_row(source, state(source)) for source in sources]


async def try_source(
    name: str,
    payloads: Sequence[bytes] | None,
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
) -> list[Message]:
    """The messages that one poll of a source makes now; none if it knows no figure.

    Args:
        name: a slug, or ``network/SLUG`` where a pool source has the same.
        payloads: recorded bodies in the order of the source's requests, or ``None`` to ask it.
        settings: of the collector.
        now: the wall clock.

    Raises:
        TrialError: no such source, or another number of payloads than it has requests.
        SourceError: what polling it would have met.
    """
    source = _find(name, discover())
    credentials = Credentials(settings.credentials)
    if payloads is None:
        if missing := credentials.missing(source):
            raise TrialError(f"{name} needs {', '.join(missing)}")
        source = credentials.configured(source)
    elif len(payloads) != len(source.requests):
        asked = ", ".join(request.url for request in source.requests)
        raise TrialError(f"{name} needs {len(source.requests)} payloads, the answers of {asked}")
    try:
        if payloads is None:
            payloads = await _fetched(source, settings, credentials)
        fetched_at = now()
        every_s = settings.collector.poll_s or source.poll_s
        poll = Poll(source, fetched_at, every_s, settings.collector.simulated)
        sifted = sift(poll, read(source, payloads), Plausibility())
        for letter in sifted.refused:
            raise PermanentError(letter.error, reason=IMPLAUSIBLE, source=source.slug)
    except SourceError as error:
        error.args = (credentials.masked(source, str(error)),)
        raise
    return sifted.messages


async def _fetched(source: Source, settings: Settings, credentials: Credentials) -> list[bytes]:
    metrics = Metrics(CollectorRegistry())
    async with Fetcher(settings.collector, metrics, credentials=credentials) as fetcher:
        return await fetcher.fetch(source)


def _find(name: str, sources: list[Source]) -> Source:
    found = [source for source in sources if name in (source.slug, source.path)]
    if not found:
        raise TrialError(unknown(name, sources))
    return found[0]  # the pools' come first


def _setting(source: Source, credential: Credential) -> dict[str, object]:
    return {
        "setting": setting(source.slug, credential.name),
        "meaning": credential.meaning,
        "required": credential.required,
    }


def _row(source: Source, state: str) -> dict[str, object]:
    return {
        "slug": source.slug,
        "kind": source.kind,
        "name": source.name,
        "scope": source.scope,
        "auth": source.auth,
        "credentials": [_setting(source, credential) for credential in source.credentials],
        "poll_s": source.poll_s,
        "poll_reason": source.poll_reason,
        "rate": str(source.rate),
        "averaging_s": source.averaging_s,
        "hold_s": source.hold_s,
        "locates": str(source.locates or "nothing"),
        "confidence": source.confidence,
        "unsure": source.unsure,
        "terms": source.terms,
        "home": source.home,
        "docs": source.docs,
        "urls": [request.url for request in source.requests],
        "default": source.default,
        "state": state,
    }
