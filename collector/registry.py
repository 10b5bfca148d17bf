"""Finds the sources by scanning their packages: to add one, put its file down, edit nothing."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from collector import network, pools
from collector.sources.base import NetworkSource, PoolSource, Source
from collector.sources.credentials import NONE, Credentials
from miningmap.settings import SettingsError
from miningmap.times import HOUR_S

if TYPE_CHECKING:
    from types import ModuleType

    from miningmap.settings import Collector


def discover() -> list[Source]:
    """Every source there is: pools', then the network's, by slug.

    Raises:
        TypeError: a file does not declare what its folder promises.
    """
    return [*_sources_in(pools, PoolSource), *_sources_in(network, NetworkSource)]


def choose(
    sources: list[Source], settings: Collector, credentials: Credentials = NONE
) -> list[Source]:
    """The sources to poll, as configured: those that are named, else those on by default.

    Those with credentials are on once all that they need are set. A name is a slug, which may mean
    a pool source and a network source, or ``network/SLUG``.

    Raises:
        SettingsError: a name of no source, an interval that no report may have, a credential that
            no source wants, or one that a named source lacks.
    """
    credentials.check(sources)
    if settings.poll_s is not None and settings.poll_s >= HOUR_S:
        raise SettingsError("MININGMAP_COLLECTOR__POLL_S: must be less than an hour (3600)")
    if settings.sources is None:
        return [credentials.configured(s) for s in sources if _is_on(s, credentials)]
    for name in settings.sources:
        if not any(name in (source.slug, source.path) for source in sources):
            raise SettingsError(f"MININGMAP_COLLECTOR__SOURCES: {unknown(name, sources)}")
    wanted = set(settings.sources)
    chosen = [source for source in sources if {source.slug, source.path} & wanted]
    for source in chosen:
        if missing := credentials.missing(source):
            raise SettingsError(f"{', '.join(missing)}: not set, and {source.slug} needs it")
    return [credentials.configured(source) for source in chosen]


def _is_on(source: Source, credentials: Credentials) -> bool:
    if source.credentials:
        return not credentials.missing(source)
    return source.default


def unknown(name: str, sources: list[Source]) -> str:
    """What to say of a name that is no source."""
    slugs = sorted({source.slug for source in sources})
    return f"no source {name[:64]!r}; there are {', '.join(slugs)}"


def _sources_in(package: ModuleType, declared_as: type[Source]) -> list[Source]:
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [_source_of(f"{package.__name__}.{name}", name, declared_as) for name in names]


def _source_of(module: str, name: str, declared_as: type[Source]) -> Source:
    source = getattr(importlib.import_module(module), "SOURCE", None)
    if not isinstance(source, declared_as):
        raise TypeError(f"{module} has no SOURCE that is a {declared_as.__name__}")
    if source.slug != name:
        raise TypeError(f"{module}: slug {source.slug!r} is not the file's name")
    if not 0 < source.poll_s < HOUR_S:
        raise TypeError(f"{module}: poll_s {source.poll_s} is not under an hour")
    return source
