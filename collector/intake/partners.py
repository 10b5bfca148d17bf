"""Partners and their tokens: a JSON file that says who may push rows, and for which pool.

    [{"id": 482913, "partner": "partner-1", "pool": "foundryusa", "token_sha256": "<64 digits>"}]

The file holds hashes of tokens, never tokens; :mod:`collector.intake.tokens` writes it. ``partner``
is a pseudonym, the only name of a partner in logs and metrics. The id of an entry without ``id`` is
its position in the list, counted from 1. A partner may have several entries, so that a new token
works before the old one is revoked. A pool has one partner, because rows of two partners would be
one source (method.md 1) that contradicts itself.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec
import structlog

from miningmap.inputs import decode_json, in_words, matching
from miningmap.messages import Slug
from miningmap.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SETTING: Final = f"{PREFIX}INTAKE__PARTNERS_FILE"

_log = structlog.get_logger(__name__)

Sha256 = Annotated[str, matching("^[0-9a-fA-F]{64}$", "64 hex digits")]
TokenId = Annotated[int, msgspec.Meta(ge=1)]


class PartnersError(Exception):
    """The file cannot be read or is invalid; the text is one line and quotes no hash."""


class MissingFileError(PartnersError):
    """There is no such file, so there are no partners yet."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file. Unknown fields are errors: one could be a token in plain text."""

    id: TokenId = 0  # 0: not given; read_entries() replaces it by the position
    partner: Slug
    pool: Slug
    token_sha256: Sha256


@dataclass(frozen=True)
class Partner:
    """A partner, as authenticated by one of its tokens.

    Attributes:
        name: the partner's pseudonym.
        pool: the slug of the pool that the partner's rows are about.
        token_id: the id of the token; CBECI's ``api_token_id``.
    """

    name: str
    pool: str
    token_id: int


class Partners:
    """The partners and tokens that a file holds at one moment."""

    def __init__(self, entries: Iterable[tuple[Partner, str]] = ()) -> None:
        """Hold partners, each with the SHA-256 of a token in lower-case hexadecimal digits."""
        self._entries = tuple(entries)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the partners of a file.

        Raises:
            PartnersError: it cannot be read or is invalid.
        """
        return cls(
            (Partner(entry.partner, entry.pool, entry.id), entry.token_sha256)
            for entry in read_entries(path)
        )

    def pools(self) -> frozenset[str]:
        """Return the pools that have a partner."""
        return frozenset(partner.pool for partner, _ in self._entries)

    def authenticate(self, token: str) -> Partner | None:
        """Return a token's partner, in a time that does not depend on the token."""
        digest = hash_of(token)
        found: Partner | None = None
        for partner, expected in self._entries:
            if hmac.compare_digest(digest, expected):
                found = partner
        return found


class PartnersFile:
    """The current partners of a file: a change of the file takes effect without a restart.

    A file that does not exist yet has no partners. If an existing one is removed or becomes
    unreadable or invalid, the last valid content stays in effect, so that a mistake locks nobody
    out. Both are logged once.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if it exists.

        Raises:
            PartnersError: it cannot be read or is invalid.
        """
        self._path = path
        self._version = _version(path)
        try:
            self._partners = Partners.load(path)
        except MissingFileError:
            _log.warning("partners_file_missing", file=str(path))
            self._partners = Partners()

    def pools(self) -> frozenset[str]:
        """Return the pools that have a partner by the current file."""
        self._refresh()
        return self._partners.pools()

    def authenticate(self, token: str) -> Partner | None:
        """Return a token's partner by the current file."""
        self._refresh()
        return self._partners.authenticate(token)

    def _refresh(self) -> None:
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._partners = Partners.load(self._path)
        except PartnersError as error:
            _log.error("partners_file_invalid", error=str(error))
        else:
            _log.info("partners_file_loaded", file=str(self._path))


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a file, each with its id and with its hash in lower case.

    Raises:
        MissingFileError: there is no such file.
        PartnersError: it cannot be read or is invalid.
    """
    try:
        entries = decode_json(path.read_bytes(), list[Entry])
    except FileNotFoundError as error:
        raise MissingFileError(f"cannot read {path}: {error.strerror}") from None
    except OSError as error:
        raise PartnersError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise PartnersError(
            f"{path}: {in_words(error)}; expected a list of entries with partner and pool (slugs), "
            "token_sha256 (64 hex digits) and id (a number from 1)"
        ) from None
    complete = [
        msgspec.structs.replace(
            entry, id=entry.id or number, token_sha256=entry.token_sha256.lower()
        )
        for number, entry in enumerate(entries, start=1)
    ]
    if conflict := conflict_in(complete):
        raise PartnersError(f"{path}: {conflict}")
    return complete


def hash_of(token: str) -> str:
    """Return the SHA-256 that the file holds in place of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


_NO_TOKEN: Final = hash_of("")


def conflict_in(entries: Sequence[Entry]) -> str | None:
    """Return what is wrong with entries that are valid one by one."""
    ids: set[int] = set()
    tokens: set[str] = set()
    pools: dict[str, str] = {}
    owners: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        if entry.token_sha256 == _NO_TOKEN:
            return f"entry {number}: this is the hash of an empty token"
        if entry.token_sha256 in tokens:
            return f"entry {number}: an earlier entry has the same token"
        if entry.id in ids:
            return f"entry {number}: an earlier entry has the id {entry.id}; give this one another"
        if pools.setdefault(entry.partner, entry.pool) != entry.pool:
            return f"entry {number}: {entry.partner} already serves {pools[entry.partner]}"
        if owners.setdefault(entry.pool, entry.partner) != entry.partner:
            return f"entry {number}: {entry.pool} is already served by {owners[entry.pool]}"
        ids.add(entry.id)
        tokens.add(entry.token_sha256)
    return None


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what identifies the content of a file without reading it; ``None`` without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
