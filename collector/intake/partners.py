"""Who may push rows, and for which pool: a JSON file that holds hashes of tokens, never tokens.

    [{"id": 482913, "partner": "partner-1", "pool": "foundryusa", "token_sha256": "<64 digits>"}]

:mod:`collector.intake.tokens` writes it. ``partner`` is a pseudonym: the only name of a partner in
logs and metrics. An entry without ``id`` has the number of its position in the list. A partner may
have two entries, so that a new token works before the old one is revoked. A pool has one partner:
rows of two partners would be one source (method.md 1) that contradicts itself.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec
import structlog

from miningmap.messages import SLUG, Slug
from miningmap.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SETTING: Final = f"{PREFIX}INTAKE__PARTNERS_FILE"

_log = structlog.get_logger(__name__)

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
TokenId = Annotated[int, msgspec.Meta(ge=1)]


class PartnersError(Exception):
    """The file cannot be read or is wrong; one line that names it and quotes no hash."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file. Unknown fields are refused: one may be a token in clear."""

    id: TokenId = 0  # none is given; read() gives it one
    partner: Slug
    pool: Slug
    token_sha256: Sha256


@dataclass(frozen=True)
class Partner:
    """Who sent a request: ``pool`` is the slug that its rows are about.

    Attributes:
        name: the partner's pseudonym.
        token_id: which of the partner's tokens it was; CBECI's ``api_token_id``.
    """

    name: str
    pool: str
    token_id: int


class Partners:
    """Partners and their tokens, as they stand in a file at one moment."""

    def __init__(self, entries: Iterable[tuple[Partner, str]] = ()) -> None:
        """Partners, each with the SHA-256 of its token in lower-case hexadecimal digits."""
        self._entries = tuple(entries)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The partners of the file.

        Raises:
            PartnersError: it cannot be read or is wrong.
        """
        return cls(
            (Partner(entry.partner, entry.pool, entry.id), entry.token_sha256)
            for entry in read(path)
        )

    def authenticate(self, token: str) -> Partner | None:
        """Whose token this is. The time it takes tells nothing about any of them."""
        digest = hash_of(token)
        found: Partner | None = None
        for partner, expected in self._entries:
            if hmac.compare_digest(digest, expected):
                found = partner
        return found


class PartnersFile:
    """The partners of a file as it is now: a change needs no restart.

    A file that became unreadable or wrong changes nothing and is logged once: a slip of its editor
    locks nobody out.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            PartnersError: it cannot be read or is wrong.
        """
        self._path = path
        self._version = _version(path)
        self._partners = Partners.load(path)

    def authenticate(self, token: str) -> Partner | None:
        """Whose token this is by now."""
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
            _log.error("partners file unusable, the last good one holds", error=str(error))
        else:
            _log.info("partners file read", file=str(self._path))


def read(path: Path) -> list[Entry]:
    """The entries of the file, each with its id and its hash in lower case.

    Raises:
        PartnersError: it cannot be read or is wrong.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[Entry])
    except OSError as error:
        raise PartnersError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PartnersError(
            f"{path}: {error}; each entry is partner and pool, both {SLUG}, token_sha256, 64 hex "
            "digits, and id, a number from 1"
        ) from None
    whole = [
        msgspec.structs.replace(
            entry, id=entry.id or number, token_sha256=entry.token_sha256.lower()
        )
        for number, entry in enumerate(entries, start=1)
    ]
    if fault := fault_of(whole):
        raise PartnersError(f"{path}: {fault}")
    return whole


def hash_of(token: str) -> str:
    """What the file holds in place of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


_NO_TOKEN: Final = hash_of("")


def fault_of(entries: Sequence[Entry]) -> str | None:
    """What is wrong with entries that are right one by one."""
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
    """Another one whenever the file is; ``None`` while there is none."""
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns, there.st_size
