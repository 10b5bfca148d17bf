"""Who may push rows, and for which pool: a JSON file that holds hashes of tokens, never tokens.

    [{"partner": "partner-1", "pool": "foundryusa", "token_sha256": "<64 hex digits>"}]

A new token and its hash: ``openssl rand -hex 32`` and ``printf %s "$TOKEN" | sha256sum`` (printf,
because a line feed behind the token would be hashed too). A partner may stand in two entries, so
that a new token works before the old one goes. A pool has one partner: rows of two would be one
source (method.md 1) that contradicts itself.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec

from miningmap.messages import SLUG, Slug
from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SETTING: Final = f"{PREFIX}INTAKE__PARTNERS_FILE"

_NO_TOKEN: Final = hashlib.sha256(b"").hexdigest()

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of the file. Unknown fields are refused: one may be a token in clear."""

    partner: Slug
    pool: Slug
    token_sha256: Sha256


@dataclass(frozen=True)
class Partner:
    """Who sent a request: ``pool`` is the slug that its rows are about.

    Attributes:
        token_id: which entry of the file the token is of, from 1; CBECI's ``api_token_id``.
    """

    name: str
    pool: str
    token_id: int


class Partners:
    """All partners. Made by :meth:`load`."""

    def __init__(self, entries: Iterable[tuple[Partner, str]] = ()) -> None:
        """Partners, each with the SHA-256 of its token in lower-case hexadecimal digits."""
        self._entries = tuple(entries)

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The partners of the file; without a file there are none.

        Raises:
            SettingsError: the file cannot be read or is wrong; the text quotes nothing of it.
        """
        if path is None:
            return cls()
        try:
            entries = msgspec.json.decode(path.read_bytes(), type=list[_Entry])
        except OSError as error:
            raise SettingsError(f"{SETTING}: cannot read {path}: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{SETTING}: {path}: {error}; each entry is partner and pool, both {SLUG}, and "
                "token_sha256, 64 hex digits"
            ) from None
        if fault := _fault(entries):
            raise SettingsError(f"{SETTING}: {path}: {fault}")
        return cls(
            (Partner(entry.partner, entry.pool, number), entry.token_sha256.lower())
            for number, entry in enumerate(entries, start=1)
        )

    def authenticate(self, token: str) -> Partner | None:
        """Whose token this is. The time it takes tells nothing about any of them."""
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
        found: Partner | None = None
        for partner, expected in self._entries:
            if hmac.compare_digest(digest, expected):
                found = partner
        return found


def _fault(entries: list[_Entry]) -> str | None:
    """What is wrong with entries that are right one by one."""
    tokens: set[str] = set()
    pools: dict[str, str] = {}
    owners: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        token = entry.token_sha256.lower()
        if token == _NO_TOKEN:
            return f"entry {number}: this is the hash of an empty token"
        if token in tokens:
            return f"entry {number}: an earlier entry has the same token"
        if pools.setdefault(entry.partner, entry.pool) != entry.pool:
            return f"entry {number}: {entry.partner} already serves {pools[entry.partner]}"
        if owners.setdefault(entry.pool, entry.partner) != entry.partner:
            return f"entry {number}: {entry.pool} is already served by {owners[entry.pool]}"
        tokens.add(token)
    return None
