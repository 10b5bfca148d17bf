"""The lists of sources and of pools, and the trial of a source, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry

from collector.http.fetcher import Fetcher
from collector.intake.tokens import listed
from collector.metrics import Metrics
from collector.polling.plausibility import Plausibility
from collector.polling.reports import (
    Poll,
    check_readings,
    errors_of,
    parse_readings,
)
from collector.registry import choose, discover, unknown
from collector.sources.base import PermanentError, PoolSource, SourceError
from collector.sources.credentials import Credentials, setting
from miningmap.pool_names import is_known_pool, named_pools, pool_name, unknown_pool
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.intake.partners import Partner
    from collector.sources.base import Credential, Reason, Request, Source
    from miningmap.messages import Message
    from miningmap.settings import Settings


class UnknownPoolError(ValueError):
    """A slug is of no pool that is known; the text names near matches."""


class TrialError(ValueError):
    """The source cannot be tried: it is unknown, lacks a credential, or has other requests."""


def describe(settings: Settings) -> list[dict[str, object]]:
    """Return every source as plain data, for a table or JSON; times are in seconds.

    ``state`` is ``on`` if these settings poll the source, ``needs NAME`` if they would poll it with
    that credential, else ``off``.

    Raises:
        SettingsError: a setting is wrong; for example it names an unknown source.
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


def describe_pools(settings: Settings) -> list[dict[str, object]]:
    """Return every pool that is known, and who covers it, as plain data, by slug.

    ``sources`` are of the pool alone, ``relays`` list whatever pools they know, and ``partners``
    are the pseudonyms in the configured file; the states are those of :func:`describe`.

    Raises:
        SettingsError: a setting is wrong.
        PartnersError: the file of partners cannot be read or is invalid.
    """
    file = settings.intake.partners_file
    partners = listed(file) if file and file.exists() else []
    states = {row["slug"]: row["state"] for row in describe(settings) if row["kind"] == "pools"}
    sources = [source for source in discover() if isinstance(source, PoolSource)]

    def covering(pool: str | None) -> list[dict[str, object]]:
        return [
            {"source": source.slug, "scope": source.scope, "state": states[source.slug]}
            for source in sources
            if source.pool == pool
        ]

    return [
        {
            "pool": pool,
            "name": pool_name(pool),
            "sources": covering(pool),
            "relays": covering(None),
            "partners": sorted({partner.name for partner in partners if partner.pool == pool}),
        }
        for pool in _known_pools(partners)
    ]


def check_pool(pool: str, partners: Sequence[Partner]) -> None:
    """Check that a pool is known by name, by a source or by a partner.

    Raises:
        UnknownPoolError: it is not; the text names near matches.
    """
    known = _known_pools(partners)
    if pool not in known and not is_known_pool(pool):
        raise UnknownPoolError(unknown_pool(pool, known))


def _known_pools(partners: Sequence[Partner]) -> list[str]:
    declared = {source.pool for source in discover() if isinstance(source, PoolSource)}
    ours = {partner.pool for partner in partners}
    return sorted({*named_pools(), *filter(None, declared), *ours})


async def try_source(
    name: str,
    payloads: Sequence[bytes] | None,
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
) -> list[Message]:
    """Poll a source once and return its messages; none if it knows no figure.

    Args:
        name: a slug, or ``network/SLUG`` if a pool source has the same slug.
        payloads: recorded bodies in the order of the source's requests, or ``None`` to send these.
        settings: of the collector.
        now: returns the current time.

    Raises:
        TrialError: the source is unknown, lacks a credential, or has another number of requests.
        SourceError: the poll failed, or a reading is not plausible.
    """
    source = _find(name, discover())
    credentials = Credentials(settings.credentials)
    if payloads is None:
        if missing := credentials.missing(source):
            raise TrialError(f"{', '.join(missing)}: not set, but {name} needs it")
        source = credentials.configured(source)
    try:
        with errors_of(source):
            if payloads is None:
                payloads = await _fetched(source, settings, credentials)
            requests = source.requests_for(payloads)
        _check_count(name, payloads, requests)
        with errors_of(source):
            every_s = settings.collector.poll_s or source.poll_s
            poll = Poll(source, now(), every_s, settings.collector.simulated)
            readings = parse_readings(source, payloads, poll.fetched_at)
            checked = check_readings(poll, readings, Plausibility())
            for letter in checked.rejected:
                raise PermanentError(letter.error, reason=cast("Reason", letter.reason))
    except SourceError as error:
        error.args = (credentials.masked(source, str(error)),)
        raise
    return checked.messages


def _check_count(name: str, payloads: Sequence[bytes], requests: Sequence[Request]) -> None:
    if len(payloads) != len(requests):
        urls = ", ".join(request.url for request in requests)
        count = f"{len(requests)} payloads, not {len(payloads)}"
        raise TrialError(f"{name} needs {count}: the responses of {urls}")


async def _fetched(source: Source, settings: Settings, credentials: Credentials) -> list[bytes]:
    metrics = Metrics(CollectorRegistry())
    async with Fetcher(settings.collector, metrics, credentials=credentials) as fetcher:
        return await fetcher.fetch(source)


def _find(name: str, sources: list[Source]) -> Source:
    found = [source for source in sources if name in (source.slug, source.path)]
    if not found:
        raise TrialError(unknown(name, sources))
    return found[0]  # pool sources come first


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
        "basis": source.basis if isinstance(source, PoolSource) else None,
        "part_of": source.part_of if isinstance(source, PoolSource) else None,
        "auth": source.auth,
        "credentials": [_setting(source, credential) for credential in source.credentials],
        "poll_s": source.poll_s,
        "poll_reason": source.poll_reason,
        "rate": str(source.rate),
        "averaging_s": source.averaging_s,
        "hold_s": source.hold_s,
        "least": source.min_hashrate,
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
