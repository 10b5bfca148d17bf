"""The sources, found by scanning their packages: a new source is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Final

from collector import network, pools
from collector.sources.base import NetworkSource, PoolSource, Source
from collector.sources.credentials import NONE, Credentials
from miningmap.settings import HOSTS_SETTING, SettingsError
from miningmap.times import HOUR_S

if TYPE_CHECKING:
    from types import ModuleType

    from miningmap.settings import Collector

_PACKAGES: Final[dict[str, tuple[ModuleType, type[Source]]]] = {
    "pools": (pools, PoolSource),
    "network": (network, NetworkSource),
}
_LONGEST_QUOTE: Final = 64


def paths() -> list[str]:
    """Return the paths of all sources, like ``pools/ocean``, without importing any of them."""
    return [
        f"{kind}/{name}"
        for kind, (package, _) in _PACKAGES.items()
        for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    ]


def load(path: str) -> Source:
    """Return the source that the file of that path declares.

    Raises:
        TypeError: the file does not declare what its folder requires; the text says what to do.
        Exception: whatever importing the file raises.
    """
    kind, _, name = path.partition("/")
    package, declared_as = _PACKAGES[kind]
    source = getattr(importlib.import_module(f"{package.__name__}.{name}"), "SOURCE", None)
    if not isinstance(source, declared_as):
        raise _wrong(path, f"must declare SOURCE = {declared_as.__name__}(...)")
    if source.slug != name:
        raise _wrong(path, f"slug {source.slug!r} must be the file's name, {name!r}")
    if not 0 < source.poll_s < HOUR_S:
        raise _wrong(path, f"poll_s {source.poll_s} must be more than 0 and less than an hour")
    if source.default and source.credentials:
        raise _wrong(path, "a source with credentials cannot be on by default: set default=False")
    if source.default and source.example is None:
        raise _wrong(
            path,
            "a source that is on by default needs example=example, a function example(readings, at)"
            " that returns the bodies that the server would send, for the simulation to serve",
        )
    if isinstance(source, PoolSource) and (source.scope == "account") != bool(source.part_of):
        raise _wrong(
            path,
            'scope="account" and part_of, the slug of the pool that the account is at, go together',
        )
    return source


def discover() -> list[Source]:
    """Return every source: those of pools, then those of the network, by slug.

    Raises:
        TypeError: a file does not declare what its folder requires.
    """
    return [load(path) for path in paths()]


def choose(
    sources: list[Source], settings: Collector, credentials: Credentials = NONE
) -> list[Source]:
    """Return the sources to poll: those that the settings name, or else those on by default.

    A source with credentials is on once all required ones are set. A name is a slug, which may be
    that of both a pool source and a network source, or a path like ``network/SLUG``.

    Raises:
        SettingsError: an unknown source or host, an interval of an hour or more, a credential that
            no source declares, or one that a named source lacks.
    """
    credentials.check(sources)
    if settings.poll_s is not None and settings.poll_s >= HOUR_S:
        raise SettingsError("MININGMAP_COLLECTOR__POLL_S: must be less than an hour (3600)")
    _check_hosts(sources, settings)
    if settings.sources is None:
        return [credentials.configured(s) for s in sources if _is_on(s, credentials)]
    for name in settings.sources:
        if not any(name in (source.slug, source.path) for source in sources):
            raise SettingsError(f"MININGMAP_COLLECTOR__SOURCES: {unknown(name, sources)}")
    wanted = set(settings.sources)
    chosen = [source for source in sources if {source.slug, source.path} & wanted]
    for source in chosen:
        if missing := credentials.missing(source):
            raise SettingsError(f"{', '.join(missing)}: not set, but {source.slug} needs it")
    return [credentials.configured(source) for source in chosen]


def _check_hosts(sources: list[Source], settings: Collector) -> None:
    """Check that each host that is set stands for one that a source asks."""
    declared = {
        request.host for source in sources if not source.own_server for request in source.requests
    }
    for host in settings.hosts.keys() - declared:
        expected = ", ".join(sorted(declared))
        text = f"no source asks {host[:_LONGEST_QUOTE]!r}; expected one of: {expected}"
        raise SettingsError(f"{HOSTS_SETTING}: {text}")


def unknown(name: str, sources: list[Source]) -> str:
    """Return the error text for a name that is not a source's."""
    slugs = ", ".join(sorted({source.slug for source in sources}))
    return f"unknown source {name[:_LONGEST_QUOTE]!r}; expected one of: {slugs}"


def _is_on(source: Source, credentials: Credentials) -> bool:
    if source.credentials:
        return not credentials.missing(source)
    return source.default


def _wrong(path: str, text: str) -> TypeError:
    return TypeError(f"collector/{path}.py: {text} (see docs/add-a-pool.md)")
