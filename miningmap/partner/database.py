"""The places of addresses, from a database in MaxMind's format. Needs the extra ``partner``."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import maxminddb

from miningmap.partner.records import location_of

if TYPE_CHECKING:
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
            metadata = self._reader.metadata()
            self._built = datetime.fromtimestamp(metadata.build_epoch, UTC).date()
        except OSError as error:
            raise DatabaseError(f"{path}: {error.strerror}") from None
        # ValueError: an empty file, or a year after 9999; OverflowError: a later one.
        except (maxminddb.InvalidDatabaseError, ValueError, OverflowError):
            raise DatabaseError(f"{path}: not a database in MaxMind's format") from None
        self._only_ipv4 = metadata.ip_version == 4  # noqa: PLR2004 - IPv4

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
        except (maxminddb.InvalidDatabaseError, UnicodeDecodeError):
            raise DatabaseError("the database is damaged; download it again") from None


class CurrentDatabase:
    """A database whose file may be replaced while it is in use.

    A private copy is used, because lookups read the file through a mapping into memory: a file that
    another program overwrites in place would end this process.
    """

    def __init__(self, path: Path) -> None:
        """Open the database.

        Raises:
            DatabaseError: as for :class:`Database`.
        """
        self._path = path
        self._seen = self._state()
        self._database = self._open_copy()

    def close(self) -> None:
        """Close the copy."""
        self._database.close()

    def locate(self, address: Address) -> Location | None:
        """Return the address's place, as :meth:`Database.locate`."""
        return self._database.locate(address)

    def refresh(self) -> bool:
        """Open the file again if it has changed, and return whether it has.

        Raises:
            DatabaseError: it has changed and is unusable, so the last one stays in use.
        """
        state = self._state()
        if state == self._seen:
            return False
        new = self._open_copy()
        if self._state() != state:  # it changed while it was copied; it is read again next time
            new.close()
            return False
        self._database.close()
        self._database, self._seen = new, state
        return True

    def _open_copy(self) -> Database:
        try:
            with tempfile.TemporaryDirectory(prefix="miningmap-") as folder:
                copy = Path(folder, self._path.name)
                shutil.copyfile(self._path, copy)
                return Database(copy)  # the mapping outlives the name
        except OSError as error:
            raise DatabaseError(f"{self._path}: {error.strerror}") from None
        except DatabaseError as error:
            raise DatabaseError(str(error).replace(str(copy), str(self._path))) from None

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise DatabaseError(f"{self._path}: {error.strerror}") from None
        return found.st_ino, found.st_size, found.st_mtime_ns
