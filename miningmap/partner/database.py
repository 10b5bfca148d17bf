"""The places of addresses, from a database in MaxMind's format. Needs the extra ``partner``."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import maxminddb

from miningmap.partner.records import location_of

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.partner.aggregate import Address
    from miningmap.partner.records import Location


class DatabaseError(Exception):
    """The database is unusable; the text is one line."""


class Database:
    """A database in MaxMind's format (GeoLite2, DB-IP, IPinfo, …); close it after use."""

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
        metadata = self._reader.metadata()
        self._only_ipv4 = metadata.ip_version == 4  # noqa: PLR2004 - IPv4
        self._built = datetime.fromtimestamp(metadata.build_epoch, UTC).date()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def locate(self, address: Address) -> Location | None:
        """Return the address's subdivision, else its country, else ``None``.

        Raises:
            DatabaseError: the database is damaged.
        """
        if self._only_ipv4 and isinstance(address, ipaddress.IPv6Address):
            return None
        try:
            return location_of(self._reader.get(address), self._built)
        except maxminddb.InvalidDatabaseError:
            raise DatabaseError("the database is damaged; download it again") from None
