"""The places of addresses, from a database in MaxMind's format. Needs the extra ``partner``."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import maxminddb

from miningmap import places

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.partner.aggregate import Address


class DatabaseError(Exception):
    """The database is unusable; the text is one line."""


class Database:
    """A database in MaxMind's format (GeoLite2 City or Country, DB-IP, …); close it after use."""

    def __init__(self, path: Path) -> None:
        """Open the database.

        Raises:
            DatabaseError: the file cannot be read, or is not such a database.
        """
        try:
            self._reader = maxminddb.open_database(path)
        except OSError as error:
            raise DatabaseError(f"{path}: {error.strerror}") from None
        except (maxminddb.InvalidDatabaseError, ValueError):  # ValueError: an empty file
            raise DatabaseError(f"{path}: not a database in MaxMind's format") from None
        self._only_ipv4 = self._reader.metadata().ip_version == 4  # noqa: PLR2004 - IPv4

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def locate(self, address: Address) -> str | None:
        """Return the code of the address's subdivision, else of its country, else ``None``.

        Raises:
            DatabaseError: the database is damaged.
        """
        if self._only_ipv4 and isinstance(address, ipaddress.IPv6Address):
            return None
        try:
            return code_of(self._reader.get(address))
        except maxminddb.InvalidDatabaseError:
            raise DatabaseError("the database is damaged; download it again") from None


def code_of(record: object) -> str | None:
    """Return the place of a record: where the address is used, not where it is registered."""
    country = _iso_code(_get(record, "country"))
    if country is None or not places.is_country(country):
        return None
    subdivisions = _get(record, "subdivisions")
    for subdivision in subdivisions if isinstance(subdivisions, list) else []:  # largest first
        code = f"{country}-{_iso_code(subdivision)}"
        if places.is_subdivision(code):
            return code
    return country


def _get(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None


def _iso_code(record: object) -> str | None:
    code = _get(record, "iso_code")
    return code if isinstance(code, str) else None
