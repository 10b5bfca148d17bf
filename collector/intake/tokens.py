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

from collector.intake.partners import Entry, Partner, PartnersError, fault_of, hash_of, read
from miningmap.messages import SLUG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Drawn, not counted on: the id of a revoked token does not come again for another one.
_IDS: Final = range(100_000, 1_000_000)


def add(path: Path, name: str, pool: str) -> tuple[str, Partner]:
    """A new token for a partner, new or known; returned once and kept nowhere.

    Args:
        path: the file; made if it is not there.
        name: the partner's pseudonym.
        pool: the slug that its rows are about.

    Raises:
        PartnersError: the file cannot be read or written, or the new entry breaks its rules.
    """
    token = secrets.token_hex(32)
    with _changing(path) as entries:
        taken = {entry.id for entry in entries}
        token_id = secrets.choice([number for number in _IDS if number not in taken])
        entry = _entry(token_id, name, pool, token)
        if fault := fault_of([*entries, entry]):
            raise PartnersError(fault.partition(": ")[2])
        entries.append(entry)
    return token, Partner(name, pool, token_id)


def revoke(path: Path, name: str, token_id: int | None = None) -> list[Partner]:
    """Take back all tokens of a partner, or one of them; those that were.

    Raises:
        PartnersError: the file cannot be read or written, or there is no such partner or token.
    """
    with _changing(path) as entries:
        own = [entry for entry in entries if entry.partner == name]
        if not own:
            raise PartnersError(f"no partner {name}; there are {_known(entries)}")
        gone = [entry for entry in own if token_id in {None, entry.id}]
        if not gone:
            ids = ", ".join(str(entry.id) for entry in own)
            raise PartnersError(f"{name} has no token {token_id}; it has {ids}")
        entries[:] = [entry for entry in entries if entry not in gone]
    return list(map(_partner, gone))


def listed(path: Path) -> list[Partner]:
    """Every token's owner, in the order of the file.

    Raises:
        PartnersError: the file cannot be read or is wrong.
    """
    return list(map(_partner, read(path)))


def _entry(token_id: int, name: str, pool: str, token: str) -> Entry:
    fields = {"id": token_id, "partner": name, "pool": pool, "token_sha256": hash_of(token)}
    try:
        return msgspec.convert(fields, Entry)
    except msgspec.ValidationError:
        raise PartnersError(f"NAME and pool are slugs: {SLUG}") from None


def _known(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted({entry.partner for entry in entries})) or "none"


def _partner(entry: Entry) -> Partner:
    return Partner(entry.partner, entry.pool, entry.id)


@contextmanager
def _changing(path: Path) -> Iterator[list[Entry]]:
    """The entries, written back with their ids at the end of a block that raises nothing.

    Raises:
        PartnersError: the file cannot be read or written, or is wrong.
    """
    try:
        with _alone(path.parent):
            entries = read(path) if path.exists() else []
            yield entries
            _replace(path, msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n")
    except OSError as error:
        raise PartnersError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Until the end of the block nobody else changes a file of partners in this folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """The new content as a whole or not at all: for its owner alone, or for whom it was before."""
    path = path.resolve()  # a link stays one
    before = path.stat() if path.exists() else None
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                os.fchmod(descriptor, before.st_mode & 0o777)
                with suppress(PermissionError):  # only root can give a file away
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
