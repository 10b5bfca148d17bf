"""Editions as they are read from folders: verified, then compared."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from array import array
from functools import partial
from typing import TYPE_CHECKING, Final

from launch.dataset.descriptions import BELIEFS_FILE, CITATION, MESSAGES_FILE, PACKAGE, SUMS
from launch.dataset.edition import digest_of, sha256_of
from miningmap.inputs import watched
from miningmap.messages import InvalidMessageError
from streams.beliefs.documents import read
from streams.beliefs.rows import rows_on
from streams.queries.dataset import COHORT, EXCLUDED, SHARES, WINDOWS, window_named
from streams.queries.dataset_diff import (
    OTHER_FIGURES,
    WINDOW_FIGURES,
    Edition,
    Place,
    differing_messages,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from miningmap.api.models import Level
    from streams.method.windows import Window
    from streams.queries.dataset import Table
    from streams.queries.dataset_diff import Counts

_LEVELS: Final[Mapping[str, Level]] = {"country": "country", "subdivision": "subdivision"}
_SUM: Final = re.compile(r"([0-9a-f]{64})  ([^/\s]+)")
_VERSION: Final = re.compile(r'^version: "([0-9a-f]{64})"$', re.MULTILINE)
_NEEDED: Final = (
    *(f"{table.name}.csv" for table in (SHARES, WINDOWS, COHORT, EXCLUDED)),
    *(PACKAGE, BELIEFS_FILE, MESSAGES_FILE, CITATION),
)


class EditionError(ValueError):
    """A folder is not an edition, or not as it was made; the text says which file is wrong."""


def verify(folder: Path) -> None:
    """Check that the files of an edition are those that were made.

    Raises:
        EditionError: a file is missing, or has another hash than ``SHA256SUMS`` says, or the hashes
            have another digest than the citation.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise EditionError(f"{folder}: is not an edition: it has no readable {SUMS}") from None
    hashes = {match[2]: match[1] for line in lines if (match := _SUM.fullmatch(line))}
    if missing := [name for name in _NEEDED if name not in hashes]:
        raise EditionError(f"{folder}: is not an edition: {SUMS} has no {missing[0]}")
    for name, expected in hashes.items():
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise EditionError(f"{folder / name}: {error.strerror}") from None
        if found != expected:
            raise EditionError(f"{folder / name}: was changed: it has another hash than in {SUMS}")
    cited = _VERSION.search((folder / CITATION).read_text(encoding="utf-8", errors="replace"))
    if cited is None or cited[1] != digest_of(hashes):
        raise EditionError(
            f"{folder}: was changed: {CITATION} has another digest than follows from {SUMS}"
        )


def read_edition(folder: Path) -> Edition:
    """Read an edition, which must have been verified, without its messages.

    Raises:
        EditionError: a file does not have the contents of an edition.
    """
    try:
        package = json.loads((folder / PACKAGE).read_bytes())
        windows = {row["window"]: row for row in _rows(folder, WINDOWS)}
        return Edition(
            windows={name: window_named(name) for name in windows},
            of_windows={n: _figures(row, WINDOW_FIGURES) for n, row in windows.items()},
            places={(r["window"], r["code"]): _place(r) for r in _rows(folder, SHARES)},
            pools=_pools(folder),
            believed_on=partial(rows_on, read(folder / BELIEFS_FILE)),
            method=package["method"],
            software=package["software"]["version"],
        )
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise EditionError(f"{folder}: cannot be read as an edition: {error!r}") from None


def changed_messages(
    before: Path, after: Path, windows: Sequence[Window], read_to: Callable[[int], object]
) -> Counts:
    """Return how many messages of two editions differ in these windows.

    Args:
        before: the folder of the first edition.
        after: the folder of the second edition.
        windows: those to compare, in the order of time.
        read_to: called now and then with the position in the file of the second edition.

    Raises:
        EditionError: they cannot be read, or are no messages of this version of the software.
    """
    try:
        with (
            gzip.open(before / MESSAGES_FILE) as old,
            (after / MESSAGES_FILE).open("rb") as raw,
            gzip.GzipFile(fileobj=raw) as new,
        ):
            lines = watched(new, lambda: read_to(raw.tell()))
            return differing_messages(map(_stripped, old), map(_stripped, lines), windows)
    except (OSError, EOFError, zlib.error, InvalidMessageError) as error:
        raise EditionError(f"messages of {before} or {after} cannot be read: {error}") from None


def _rows(folder: Path, table: Table) -> Iterator[dict[str, str]]:
    with (folder / f"{table.name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _place(row: Mapping[str, str]) -> Place:
    return Place(
        level=_LEVELS[row["level"]],
        name=row["name"],
        share=float(row["share"]),
        hashrate=float(row["hashrate"]),
        others=_figures(row, OTHER_FIGURES),
    )


def _figures(row: Mapping[str, str], names: Iterable[str]) -> array[float]:
    """Return figures of a row; a column that another version does not have is unknown."""
    return array("d", (float(row.get(name) or "nan") for name in names))


def _pools(folder: Path) -> dict[str, dict[str, str]]:
    """Return, by window and pool, the source that represents it, or why it is excluded."""
    pools: dict[str, dict[str, str]] = {}
    for row in _rows(folder, COHORT):
        pools.setdefault(row["window"], {})[row["pool"]] = row["source"]
    for row in _rows(folder, EXCLUDED):
        pools.setdefault(row["window"], {})[row["pool"]] = f"excluded as {row['reason']}"
    return pools


def _stripped(line: bytes) -> bytes:
    return line.rstrip(b"\n")
