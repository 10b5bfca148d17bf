"""The credentials that the operator set for sources: keys, addresses, files that hold them.

A name that no source declares is an error; otherwise a misspelt name would silently leave a source
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from collector.sources.base import PermanentError
from miningmap.inputs import read_text
from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import SecretStr

    from collector.sources.base import Source

FILE: Final = "_file"
"""The suffix of the setting that names a file with the credential."""

_SHORTEST_KEY: Final = 6


class Credentials:
    """The credentials of all sources, by slug and name."""

    def __init__(self, given: Mapping[str, Mapping[str, SecretStr]]) -> None:
        self._given = given

    def check(self, sources: Iterable[Source]) -> None:
        """Check that a source declares every credential that is set.

        Raises:
            SettingsError: no source declares one of them.
        """
        known: dict[str, list[str]] = {}
        for source in sources:
            for credential in source.credentials:
                known.setdefault(source.slug, []).append(credential.name)
        for slug, given in self._given.items():
            if slug not in known:
                expected = ", ".join(sorted(known)) or "none"
                raise SettingsError(
                    f"{setting(slug)}: {slug!r} is not a source with credentials;"
                    f" expected one of: {expected}"
                )
            for name in given:
                if name.removesuffix(FILE) not in known[slug]:
                    raise SettingsError(
                        f"{setting(slug, name)}: unknown credential {name!r} for {slug};"
                        f" expected one of: {', '.join(known[slug])}"
                    )

    def lacking(self, source: Source) -> list[str]:
        """Return the names of the source's required credentials that are not set."""
        given = set(self._lazy(source))
        return [
            credential.name
            for credential in source.credentials
            if credential.required and credential.name not in given
        ]

    def missing(self, source: Source) -> list[str]:
        """Return the settings of the source's required credentials that are not set."""
        return [setting(source.slug, name) for name in self.lacking(source)]

    def of(self, source: Source) -> dict[str, str]:
        """Return the source's credentials by name; files are read now.

        Raises:
            SettingsError: a file cannot be read; the text does not quote its content.
        """
        return dict(self._lazy(source))

    def configured(self, source: Source) -> Source:
        """Return the source as configured by its credentials.

        Only those files are read that the configuration depends on. Others may come and go, like a
        node's cookie, and must not keep the collector from starting.

        Raises:
            SettingsError: a file cannot be read, or the credentials make no valid source; the text
                does not quote them.
        """
        if source.configure is None or self.missing(source):
            return source
        name = setting(source.slug)
        try:
            configured = source.configure(self._lazy(source))
            hosts, declared = _hosts(configured), _hosts(source)
        except SettingsError:
            raise
        except PermanentError as error:
            raise SettingsError(f"{name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - a traceback might contain a key
            raise SettingsError(f"{name}: cannot be used: {type(error).__name__}") from None
        if not (source.own_server or hosts <= declared):
            raise SettingsError(f"{name}: leads to a host that {source.slug} does not declare")
        return configured

    def masked(self, source: Source, text: str) -> str:
        """Return the text with the source's credentials replaced: some servers quote a wrong key.

        Values that are too short for a key are left as they are, because they may be any word.
        """
        for name, given in self._given.get(source.slug, {}).items():
            secret = ""
            with suppress(SettingsError):  # a file that is gone
                secret = _read(source.slug, name, given.get_secret_value())
            if len(secret) >= _SHORTEST_KEY:
                for form in (secret, quote(secret, safe="")):
                    text = text.replace(form, "***")
        return text

    def _lazy(self, source: Source) -> _ReadWhenLookedUp:
        return _ReadWhenLookedUp(source.slug, self._given.get(source.slug, {}))


class _ReadWhenLookedUp(Mapping[str, str]):
    """The credentials of one source by name; a file is read when its name is looked up."""

    def __init__(self, slug: str, given: Mapping[str, SecretStr]) -> None:
        self._slug = slug
        self._given = {name.removesuffix(FILE): (name, given[name]) for name in given}

    def __getitem__(self, key: str) -> str:
        name, secret = self._given[key]
        return _read(self._slug, name, secret.get_secret_value())

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


NONE: Final = Credentials({})
"""No credentials, for sources that need none."""


def setting(slug: str, name: str = "") -> str:
    """Return the setting of a credential, or the prefix of all settings of a source."""
    parts = ("CREDENTIALS", slug, name) if name else ("CREDENTIALS", slug)
    return PREFIX + "__".join(parts).upper()


def _hosts(source: Source) -> set[str]:
    return {request.host for request in source.requests}


def _read(slug: str, name: str, value: str) -> str:
    if not name.endswith(FILE):
        return value
    try:
        return read_text(Path(value)).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise SettingsError(f"{setting(slug, name)}: cannot read {value}: {why}") from None
