"""The contract of every source: what it declares, and what it makes of its recorded responses.

The sources are found by their file names and loaded inside the tests, so a faulty file or
recording fails only the tests of its own source, which say what is expected.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from collector import registry
from collector.polling.plausibility import Plausibility
from collector.polling.reports import Poll, check_readings, parse_readings
from collector.sources.base import PoolSource, SourceError
from miningmap import messages as wire
from tests.collector.recordings import (
    CASES,
    EXPECTED,
    RECORDINGS,
    expected,
    outcome,
    recorded,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.sources.base import Source

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
ERRORS: tuple[dict[str, Any], ...] = (
    {"error": "try again later"},
    {"error": {"code": -28, "message": "try again later"}},
)

# Times in the years 1 to 9999 are fewer than 1e12 seconds.
ODD_NUMBERS = (
    b"0",
    b"-1",
    b"1e11",
    *(b"1%s" % (b"0" * zeros) for zeros in range(10, 23)),
    b"1e300",
)
BASIS = "a source declares basis='mined' if, and only if, its readings have blocks"
WORDS = ("code", "err_no")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

every_source = pytest.mark.parametrize("path", registry.paths())


@every_source
def test_the_declaration_is_complete(path: str) -> None:
    assert list(gaps(registry.load(path))) == []


def gaps(source: Source) -> Iterator[str]:
    """Yield what is missing in a declaration."""
    links = [source.home, *([source.docs] if source.docs else [])]
    urls = [] if source.own_server else [request.url for request in source.requests]
    yield from (
        f"{url} must start with https://" for url in [*links, *urls] if url[:8] != "https://"
    )
    for name in ("name", "terms", "requests", "poll_reason", "averaging_s"):
        if not getattr(source, name):
            yield f"{name} is empty"
    if isinstance(source, PoolSource) and source.pool is None and source.basis == "reported":
        yield "basis is reported, but many pools have no API in common: it is relayed or mined"
    if source.hold_s < source.poll_s:
        yield "hold_s is less than poll_s, so a pool would be absent between two polls"


@every_source
def test_each_recording_gives_the_expected_outcome(path: str) -> None:
    source = registry.load(path)
    wanted = expected(path)
    errors = [*errors_in(wanted), *unknown_files(path)]
    for case in CASES:
        bodies = recorded(path, case)
        if (needed := requests_for(source, bodies)) != len(bodies):
            errors.append(f"{case}: {len(bodies)} bodies for {needed} requests")
            continue
        got = outcome(source, bodies)
        if case in wanted and not same(got, wanted[case]):
            errors.append(
                f"{case}: {EXPECTED} says {json.dumps(wanted[case])}, but the source makes"
                f" {json.dumps(got)}; correct the one that is wrong"
            )
    if errors:
        pytest.fail("\n".join([f"tests/recordings/{path}:", *errors]), pytrace=False)


def requests_for(source: Source, bodies: Sequence[bytes]) -> int:
    """Return how many requests a poll with these responses has."""
    try:
        return len(source.requests_for(bodies))
    except SourceError:  # it ends with the last of these
        return max(len(bodies), len(source.requests))


def errors_in(wanted: dict[str, Any]) -> Iterator[str]:
    """Yield the errors of expected.json itself."""
    for case in CASES.keys() ^ wanted.keys():
        yield f"{EXPECTED}: {case} is {'missing' if case in CASES else 'not a case'}"
    if not wanted.get("ok", {}).get("readings"):
        yield f"{EXPECTED}: ok must have readings"
    for case in ("error-as-200", "html", "changed-shape", "wrong-unit", "truncated"):
        if "error" not in wanted.get(case, {}):
            yield f"{EXPECTED}: {case} must be an error"
    if wanted.get("unknown-value") != {"readings": []}:
        yield f'{EXPECTED}: unknown-value must be {{"readings": []}}, an unknown figure is not 0'


def unknown_files(path: str) -> Iterator[str]:
    """Yield the files that are not the recording of a case."""
    for file in (RECORDINGS / path).iterdir():
        if file.name not in {*CASES, EXPECTED}:
            yield f"{file.name} is not one of {', '.join(CASES)}"


def test_every_folder_of_recordings_has_a_source() -> None:
    folders = {f"{file.parent.parent.name}/{file.parent.name}" for file in RECORDINGS.glob("*/*/*")}
    assert folders - set(registry.paths()) == set()


@every_source
def test_a_body_with_an_error_is_refused_even_if_it_has_a_figure(path: str) -> None:
    source, good = registry.load(path), recorded(path, "ok")
    for number, body in enumerate(good):
        for bad in bodies_with_errors(body):
            got = outcome(source, [*good[:number], bad, *good[number + 1 :]])
            if got != {"error": "transient", "reason": "refused"}:
                assert is_left_out(source, good, number, got), bad


def is_left_out(source: Source, good: list[bytes], number: int, got: object) -> bool:
    """Whether the outcome is that of a poll whose optional request of that number failed."""
    without = [*good[:number], b"", *good[number + 1 :]]
    is_optional = number < len(source.requests) and source.requests[number].optional
    return is_optional and same(got, outcome(source, without))


def bodies_with_errors(body: bytes) -> Iterator[bytes]:
    """Yield bodies that are an error, and if the body is an object, bodies with an added error."""
    first, *others = body.splitlines(keepends=True)  # ckpool writes an object on each line
    for error in ERRORS:
        yield json.dumps(error).encode()
        for part, rest in ((body, b""), (first, b"".join(others))):
            content = as_json(part)
            if isinstance(content, dict):
                yield json.dumps(content | error).encode() + b"\n" + rest


def as_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


@every_source
def test_a_number_may_be_written_as_text_and_text_as_a_number(path: str) -> None:
    source, good = registry.load(path), recorded(path, "ok")
    right = outcome(source, good)
    for number, body in enumerate(good):
        for other in respelt(body):
            got = outcome(source, [*good[:number], other, *good[number + 1 :]])
            assert same(got, right), other


def respelt(body: bytes) -> Iterator[bytes]:
    """Yield the body with one number written as text, or the other way round."""
    lines = body.splitlines() if as_json(body) is None else [body]  # ckpool writes three documents
    for number, line in enumerate(lines):
        document = json.loads(line)
        for other in respelt_values(document):
            yield b"\n".join([*lines[:number], json.dumps(other).encode(), *lines[number + 1 :]])


def respelt_values(value: object) -> Iterator[object]:
    """Yield the value with one number or Boolean in it written in another way."""
    if isinstance(value, dict):
        for name, part in value.items():
            # A code is a word, even if it is written in digits.
            for other in () if name in WORDS else respelt_values(part):
                yield value | {name: other}
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from ([*value[:number], o, *value[number + 1 :]] for o in respelt_values(part))
    elif isinstance(value, bool):
        yield json.dumps(value)
        yield int(value)
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, str) and NUMBER.fullmatch(value):
        yield json.loads(value)


@every_source
def test_no_number_in_a_body_is_a_fault_of_this_software(path: str) -> None:
    source, good = registry.load(path), recorded(path, "ok")
    for number, body in enumerate(good):
        for other in with_each_number_replaced(body):
            got = outcome(source, [*good[:number], other, *good[number + 1 :]])
            assert got.get("reason") != "unexpected", other


def with_each_number_replaced(body: bytes) -> Iterator[bytes]:
    """Yield the body with one number after another replaced by each of the ODD_NUMBERS."""
    for found in re.finditer(rb"(?<=[:\[ ])-?[0-9][0-9.eE+-]*(?=[,\]}])", body):
        for odd in ODD_NUMBERS:
            yield body[: found.start()] + odd + body[found.end() :]


@every_source
def test_a_byte_order_mark_before_a_body_says_nothing(path: str) -> None:
    source, good = registry.load(path), recorded(path, "ok")
    assert outcome(source, [BOM_UTF8 + body for body in good]) == outcome(source, good)


@every_source
def test_a_truncated_body_is_an_error_or_gives_the_same_figures(path: str) -> None:
    """Each source has about as many cuts as the Hypothesis profile has examples."""
    source, good = registry.load(path), recorded(path, "ok")
    right = outcome(source, good)
    for number, body in enumerate(good):
        if body.strip().replace(b".", b"").isdigit():
            continue  # only Content-Length tells that a bare number is cut short: see test_fetcher
        for length in places(len(body), settings().max_examples // len(good)):
            got = outcome(source, [*good[:number], body[:length], *good[number + 1 :]])
            if got != right and got.get("error") != "transient":
                assert is_left_out(source, good, number, got), body[:length]


def places(length: int, count: int) -> Sequence[int]:
    """Return about ``count`` places before ``length``, the first and the last among them."""
    step = max(1, length // max(1, count))
    return [*range(0, length - 1, step), length - 1]


@every_source
def test_a_recorded_response_becomes_valid_messages(path: str) -> None:
    source = registry.load(path)
    readings = parse_readings(source, recorded(path, "ok"))
    poll = Poll(source, NOW, source.poll_s, simulated=False)
    checked = check_readings(poll, readings, Plausibility())
    assert checked.rejected == []
    assert len(checked.messages) == len(readings)
    for message in checked.messages:
        assert message.source == source.slug
        if isinstance(message, wire.Report):
            assert (message.basis == "mined") == (message.blocks is not None), BASIS
        assert wire.decode(wire.encode(message)) == message
