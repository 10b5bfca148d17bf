"""What the operator set for sources: keys, addresses, files that hold them.

A name that no source declares is an error: a misspelt key would else be a source that stays silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from collector.sources.base import PermanentError, host_of
from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import SecretStr

    from collector.sources.base import Source

FILE: Final = "_file"
"""Behind a credential's name: the file that holds it."""

_SHORTEST_KEY: Final = 6


class Credentials:
    """The credentials of all sources, by slug and name."""

    def __init__(self, given: Mapping[str, Mapping[str, SecretStr]]) -> None:
        self._given = given

    def check(self, sources: Iterable[Source]) -> None:
        """Make sure that every credential is one that a source declares.

        Raises:
            SettingsError: it is not.
        """
        known: dict[str, list[str]] = {}
        for source in sources:
            for credential in source.credentials:
                known.setdefault(source.slug, []).append(credential.name)
        for slug, given in self._given.items():
            if slug not in known:
                asked = ", ".join(sorted(known)) or "none"
                raise SettingsError(
                    f"{setting(slug)}: no source with credentials; there are {asked}"
                )
            for name in given:
                if name.removesuffix(FILE) not in known[slug]:
                    asked = ", ".join(known[slug])
                    raise SettingsError(
                        f"{setting(slug, name)}: {slug} has no such; it has {asked}"
                    )

    def lacking(self, source: Source) -> list[str]:
        """The names of those that the source cannot be asked without, and that are not there."""
        given = {name.removesuffix(FILE) for name in self._given.get(source.slug, {})}
        return [
            credential.name
            for credential in source.credentials
            if credential.required and credential.name not in given
        ]

    def missing(self, source: Source) -> list[str]:
        """The settings that would hold what is lacking."""
        return [setting(source.slug, name) for name in self.lacking(source)]

    def of(self, source: Source) -> dict[str, str]:
        """What was set for the source, by name; files are read now.

        Raises:
            SettingsError: a file cannot be read; the text quotes nothing of it.
        """
        given = self._given.get(source.slug, {})
        return {
            name.removesuffix(FILE): _read(source.slug, name, secret.get_secret_value())
            for name, secret in given.items()
        }

    def configured(self, source: Source) -> Source:
        """The source as it is asked with what was set for it.

        Of the files only those are read that its configuration depends on: another that comes and
        goes, as a node's cookie does, is no reason not to start.

        Raises:
            SettingsError: a file cannot be read, or what was set makes no source that may be asked;
                the text quotes nothing of it.
        """
        if source.configure is None or self.missing(source):
            return source
        name = setting(source.slug)
        given = self._given.get(source.slug, {})
        try:
            configured = source.configure(_ReadWhenLookedUp(source.slug, given))
            hosts, declared = _hosts(configured), _hosts(source)
        except SettingsError:
            raise
        except PermanentError as error:
            raise SettingsError(f"{name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - whatever it is, no traceback with a key in it
            raise SettingsError(f"{name}: cannot be used: {type(error).__name__}") from None
        if not (source.own_server or hosts <= declared):
            raise SettingsError(f"{name}: leads to a host that {source.slug} does not declare")
        return configured

    def masked(self, source: Source, text: str) -> str:
        """The text without what was set for the source: some servers say a wrong key back.

        What is too short for a key is left: it could be any word.
        """
        for name, given in self._given.get(source.slug, {}).items():
            secret = ""
            with suppress(SettingsError):  # a file that is gone
                secret = _read(source.slug, name, given.get_secret_value())
            if len(secret) >= _SHORTEST_KEY:
                for form in (secret, quote(secret, safe="")):
                    text = text.replace(form, "***")
        return text


class _ReadWhenLookedUp(Mapping[str, str]):
    """What was set for one source, by name."""

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
"""For who asks only what needs none."""


def setting(slug: str, name: str = "") -> str:
    """The name of the setting that holds a credential, or of all of a source."""
    parts = ("CREDENTIALS", slug, name) if name else ("CREDENTIALS", slug)
    return PREFIX + "__".join(parts).upper()


def _hosts(source: Source) -> set[str]:
    return {host_of(request.url) for request in source.requests}


def _read(slug: str, name: str, value: str) -> str:
    if not name.endswith(FILE):
        return value
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise SettingsError(f"{setting(slug, name)}: cannot read {value}: {why}") from None
