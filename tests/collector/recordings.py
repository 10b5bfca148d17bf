"""The recorded responses of all sources, and what each source makes of them."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from collector import registry
from collector.polling.reports import parse_readings
from collector.sources.base import CredentialsError, Reading, SourceError, TransientError
from miningmap.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import NetworkReading, Source

RECORDINGS: Final = Path(__file__).parents[1] / "recordings"
EXPECTED: Final = "expected.json"
CASES: Final = {
    "ok": "a good response",
    "empty": "a response without any content, such as {}",
    "error-as-200": "an error of the server that came with status 200",
    "html": "an HTML page instead of JSON",
    "changed-shape": "the response with the figure renamed, moved or of another type",
    "wrong-unit": "the response with the figure in another unit",
    "unknown-value": "the response in which the server does not know the figure",
    "truncated": "the good response, cut off in the middle",
}


def sources() -> list[Source]:
    """Return the sources that can be imported.

    Errors of the others are reported by ``test_source_contract.py``; they must not break any other
        test, nor its collection.
    """
    loaded = []
    for path in registry.paths():
        with suppress(Exception):  # whatever a broken file raises
            loaded.append(registry.load(path))
    return loaded


def recorded(path: str, case: str) -> list[bytes]:
    """Return the bodies of a case: one file, or a folder of files numbered like the requests."""
    recording = RECORDINGS / path / case
    if recording.is_file():
        return [recording.read_bytes()]
    if not recording.is_dir():
        pytest.fail(
            f"tests/recordings/{path}/{case} is missing: save {CASES[case]} there. A source with"
            " several requests has a folder of that name, with the files 1, 2, ... in the order"
            " of its requests",
            pytrace=False,
        )
    return [file.read_bytes() for file in sorted(recording.iterdir(), key=lambda f: int(f.name))]


def expected(path: str) -> dict[str, Any]:
    """Return what is expected of each case."""
    file = RECORDINGS / path / EXPECTED
    if not file.is_file():
        pytest.fail(
            f"tests/recordings/{path}/{EXPECTED} is missing: an object with an outcome for each of"
            f" {', '.join(CASES)}",
            pytrace=False,
        )
    outcomes: dict[str, Any] = json.loads(file.read_bytes())
    return outcomes


def outcome(source: Source, bodies: Sequence[bytes]) -> dict[str, Any]:
    """Return what the source makes of these bodies, in the form of expected.json."""
    try:
        readings = parse_readings(source, bodies)
    except SourceError as error:
        if error.source != source.slug:
            pytest.fail(f"the error names the source {error.source!r}, not {source.slug!r}")
        return {"error": _kind(error), "reason": error.reason}
    return {"readings": list(map(_fields, readings))}


def same(one: object, other: object) -> bool:
    """Return whether two outcomes are the same, but for the rounding of floats."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


def readings(path: str, *bodies: object) -> Sequence[Reading | NetworkReading]:
    """Return the readings that a source makes of these bodies, which are text or become JSON."""
    return readings_of(registry.load(path), *bodies)


def readings_of(source: Source, *bodies: object) -> Sequence[Reading | NetworkReading]:
    """Return the readings that a source makes of these bodies, which are text or become JSON."""
    encoded = [b.encode() if isinstance(b, str) else msgspec.json.encode(b) for b in bodies]
    return parse_readings(source, encoded)


def _kind(error: SourceError) -> str:
    if isinstance(error, TransientError):
        return "transient"
    return "credentials" if isinstance(error, CredentialsError) else "permanent"


def _fields(reading: Reading | NetworkReading) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "hashrate": reading.hashrate,
        "observed_at": reading.observed_at and rfc3339(reading.observed_at),
    }
    if isinstance(reading, Reading):
        fields["pool"] = reading.pool
        fields["places"] = [[p.code, p.hashrate, p.kind] for p in reading.places]
    return fields
