"""Add, list and revoke partners' tokens in the file of :mod:`collector.intake.partners`."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from collector.intake.partners import (
    Entry,
    MissingFileError,
    Partner,
    PartnersError,
    conflict_in,
    hash_of,
    read_entries,
)
from miningmap.messages import SLUG_RULE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Ids are random: the next number in sequence could be the id of a revoked token.
_IDS: Final = range(100_000, 1_000_000)


def add(path: Path, name: str, pool: str) -> tuple[str, Partner]:
    """Add a token for a new or known partner and return it; only its hash is stored.

    Args:
        path: the file; created if it does not exist.
        name: the partner's pseudonym.
        pool: the slug of the pool that its rows are about.

    Raises:
        PartnersError: the file cannot be read or written, or the new entry breaks its rules.
    """
    token = secrets.token_hex(32)
    with _changing(path) as entries:
        used = {entry.id for entry in entries}
        token_id = secrets.choice([number for number in _IDS if number not in used])
        entry = _entry(token_id, name, pool, token)
        if conflict := conflict_in([*entries, entry]):
            raise PartnersError(conflict.partition(": ")[2])
        entries.append(entry)
    return token, Partner(name, pool, token_id)


def revoke(path: Path, name: str, token_id: int | None = None) -> list[Partner]:
    """Revoke all tokens of a partner, or one of them, and return their former owners.

    Raises:
        PartnersError: the file cannot be read or written, or has no such partner or token.
    """
    with _changing(path) as entries:
        own = [entry for entry in entries if entry.partner == name]
        if not own:
            known = f"expected one of: {_known(entries)}" if entries else "there are no partners"
            raise PartnersError(f"unknown partner {name}; {known}")
        revoked = [entry for entry in own if token_id in {None, entry.id}]
        if not revoked:
            ids = ", ".join(str(entry.id) for entry in own)
            raise PartnersError(f"unknown token {token_id} of {name}; expected one of: {ids}")
        entries[:] = [entry for entry in entries if entry not in revoked]
    return list(map(_partner, revoked))


def listed(path: Path) -> list[Partner]:
    """Return the owner of every token, in the order of the file; none if it does not exist.

    Raises:
        PartnersError: the file cannot be read or is invalid.
    """
    return list(map(_partner, _entries(path)))


def _entries(path: Path) -> list[Entry]:
    try:
        return read_entries(path)
    except MissingFileError:
        return []


def _entry(token_id: int, name: str, pool: str, token: str) -> Entry:
    fields = {"id": token_id, "partner": name, "pool": pool, "token_sha256": hash_of(token)}
    try:
        return msgspec.convert(fields, Entry)
    except msgspec.ValidationError:
        raise PartnersError(f"NAME and pool must be slugs: {SLUG_RULE}") from None


def _known(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted({entry.partner for entry in entries}))


def _partner(entry: Entry) -> Partner:
    return Partner(entry.partner, entry.pool, entry.id)


@contextmanager
def _changing(path: Path) -> Iterator[list[Entry]]:
    """Yield the entries, and write them back, with their ids, unless the block raises.

    Raises:
        PartnersError: the file cannot be read or written, or is invalid.
    """
    try:
        with _locked(path.parent):
            entries = _entries(path)
            yield entries
            _replace(path, msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n")
    except OSError as error:
        raise PartnersError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from changing a file of partners in this folder during the block.

    The folder is locked, because the file itself is replaced.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically. Mode and owner stay; only the owner can read a new file."""
    path = path.resolve()  # so that a symbolic link is kept and its target replaced
    before = path.stat() if path.exists() else None
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                os.fchmod(descriptor, before.st_mode & 0o777)
                with suppress(PermissionError):  # only root may change the owner
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
