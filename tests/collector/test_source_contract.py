"""One contract for every source: what it makes of each of its recorded answers."""

from __future__ import annotations

import importlib
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collector import pools
from collector.catalogue import describe, try_source
from collector.polling.plausibility import Plausibility
from collector.polling.reports import Poll, read, sift
from collector.registry import choose, discover
from collector.sources.base import CredentialsError, Reading, SourceError, TransientError
from miningmap import messages as wire
from miningmap.settings import Collector, SettingsError, load
from miningmap.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.sources.base import Source

RECORDINGS = Path(__file__).parents[1] / "recordings"
CASES = (
    "ok",
    "empty",
    "error-as-200",
    "html",
    "changed-shape",
    "wrong-unit",
    "unknown-value",
    "truncated",
)
# It has no end of its own: that it was cut short only HTTP's Content-Length tells (test_fetch).
BARE_NUMBER = re.compile(rb"[0-9.]+")
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)

TOY = """
from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request


def parse(bodies):
    hashrate = decoding.hashrate(decoding.decode(bodies[0], dict[str, str])["hashrate"])
    return [] if hashrate is None else [Reading("toy", hashrate)]


SOURCE = PoolSource(
    slug="toy", name="Toy", home="https://toy.example", docs=None, terms="none",
    requests=(Request("https://toy.example/hashrate"),), poll_s=60, poll_reason="a toy",
    averaging_s=60, hold_s=60, confidence="low", default=True, pool="toy", parse=parse,
)
"""
TOY_RECORDINGS = {
    "ok": '{"hashrate": "3 PH/s"}',
    "empty": "{}",
    "error-as-200": '{"error": "no"}',
    "html": "<html>",
    "changed-shape": '{"hashrate": 3}',
    "wrong-unit": '{"hashrate": "3 m/s"}',
    "unknown-value": '{"hashrate": "?"}',
    "truncated": '{"hash',
}
SHAPE = {"error": "permanent", "reason": "shape"}
TOY_EXPECTED = {
    "ok": {
        "readings": [{"pool": "toy", "hashrate": 3e15, "places": [], "observed_at": None}],
    },
    "empty": SHAPE,
    "error-as-200": {"error": "transient", "reason": "refused"},
    "html": {"error": "transient", "reason": "not_json"},
    "changed-shape": SHAPE,
    "wrong-unit": {"error": "permanent", "reason": "unit"},
    "unknown-value": {"readings": []},
    "truncated": {"error": "transient", "reason": "not_json"},
}


def recorded(source: Source, case: str, root: Path = RECORDINGS) -> list[bytes]:
    """One file, or a folder of files numbered in the order of the requests."""
    path = root / source.path / case
    if path.is_file():
        return [path.read_bytes()]
    return [file.read_bytes() for file in sorted(path.iterdir(), key=lambda f: int(f.name))]


def expected(source: Source, root: Path = RECORDINGS) -> dict[str, Any]:
    outcomes: dict[str, Any] = json.loads((root / source.path / "expected.json").read_bytes())
    return outcomes


def outcome(source: Source, bodies: list[bytes]) -> dict[str, Any]:
    try:
        readings = read(source, bodies)
    except SourceError as error:
        return {"error": kind(error), "reason": error.reason}
    return {"readings": [plain(reading) for reading in readings]}


def kind(error: SourceError) -> str:
    if isinstance(error, TransientError):
        return "transient"
    return "credentials" if isinstance(error, CredentialsError) else "permanent"


def plain(reading: object) -> dict[str, Any]:
    at = getattr(reading, "observed_at")  # noqa: B009 - of either kind of reading
    said: dict[str, Any] = {
        "hashrate": pytest.approx(getattr(reading, "hashrate"), rel=1e-12),  # noqa: B009
        "observed_at": at and rfc3339(at),
    }
    if isinstance(reading, Reading):
        said["pool"] = reading.pool
        said["places"] = [
            [place.code, pytest.approx(place.hashrate, rel=1e-12), place.kind]
            for place in reading.places
        ]
    return said


def keeps_contract(source: Source, case: str, root: Path = RECORDINGS) -> None:
    bodies = recorded(source, case, root)
    assert len(bodies) == len(source.requests)
    assert outcome(source, bodies) == expected(source, root)[case]


SOURCES = discover()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_every_source_makes_of_every_recording_what_is_expected(source: Source, case: str) -> None:
    keeps_contract(source, case)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_an_error_names_the_source_and_what_is_wrong(source: Source) -> None:
    with pytest.raises(SourceError, match="HTML") as caught:
        read(source, recorded(source, "html"))
    assert caught.value.source == source.slug


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_every_recording_is_one_of_the_contract(source: Source) -> None:
    names = {path.name for path in (RECORDINGS / source.path).iterdir()}
    assert names == {*CASES, "expected.json"}
    assert set(expected(source)) == set(CASES)
    assert expected(source)["ok"]["readings"]
    assert "error" in expected(source)["wrong-unit"]
    assert expected(source)["unknown-value"] == {"readings": []}


ERRORS = ({"error": "try again later"}, {"error": {"code": -28, "message": "try again later"}})


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_a_body_that_reports_an_error_is_refused_whatever_else_is_in_it(source: Source) -> None:
    good = recorded(source, "ok")
    for error in ERRORS:
        for number, body in enumerate(good):
            first_line, _, rest = body.partition(b"\n")  # ckpool has a document a line
            for bad in (error, with_error(first_line, error), with_error(body, error)):
                said = json.dumps(bad).encode() + (b"\n" + rest if bad is not error else b"")
                got = outcome(source, [*good[:number], said, *good[number + 1 :]])
                assert got == {"error": "transient", "reason": "refused"}, said


def with_error(body: bytes, error: dict[str, Any]) -> object:
    """The object with an error in it, where the body is one object; else the error alone."""
    try:
        whole = json.loads(body)
    except ValueError:
        return error
    return whole | error if isinstance(whole, dict) else error


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_a_body_cut_anywhere_gives_an_error_or_the_same_figures(source: Source) -> None:
    whole = recorded(source, "ok")
    right = outcome(source, whole)
    for number, body in enumerate(whole):
        if BARE_NUMBER.fullmatch(body):
            continue
        for length in range(len(body)):
            bodies = [*whole[:number], body[:length], *whole[number + 1 :]]
            got = outcome(source, bodies)
            assert got == right or got["error"] == "transient", length


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_a_recorded_answer_becomes_messages_that_the_streams_can_read(source: Source) -> None:
    readings = read(source, recorded(source, "ok"))
    sifted = sift(Poll(source, NOW, source.poll_s, simulated=False), readings, Plausibility())
    assert sifted.refused == []
    assert len(sifted.messages) == len(readings) > 0
    for message in sifted.messages:
        assert message.source == source.slug
        assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_declarations_say_all_that_a_reader_wants_to_know(source: Source) -> None:
    secure = all(request.url.startswith("https://") for request in source.requests)
    assert secure or source.own_server
    assert source.home.startswith("https://")
    assert source.docs is None or source.docs.startswith("https://")
    assert source.name
    assert source.terms
    assert source.poll_reason
    assert source.averaging_s > 0
    assert source.hold_s >= source.poll_s


def test_sources_of_both_kinds_are_found_by_slug() -> None:
    paths = [source.path for source in SOURCES]
    assert {"pools/foundry", "pools/mempool", "network/mempool"} <= set(paths)
    assert paths == sorted(paths, key=lambda path: (path.startswith("network/"), path))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is part of the package of pools for a while; removed, it leaves no trace."""
    before = discover()
    with monkeypatch.context() as patch:
        patch.setattr(pools, "__path__", [*pools.__path__, str(tmp_path)])
        patch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        yield tmp_path
    if sys.modules.pop("collector.pools.toy", None):
        delattr(pools, "toy")
    assert discover() == before


async def test_a_source_is_added_by_putting_files_down(toy: Path) -> None:
    (toy / "toy.py").write_text(TOY)
    recordings = toy / "recordings"
    folder = recordings / "pools" / "toy"
    folder.mkdir(parents=True)
    for case, body in TOY_RECORDINGS.items():
        (folder / case).write_text(body)
    (folder / "expected.json").write_text(json.dumps(TOY_EXPECTED))

    (source,) = [source for source in discover() if source.slug == "toy"]
    for case in CASES:
        keeps_contract(source, case, recordings)

    assert source in choose(discover(), Collector())
    assert "toy" in [row["slug"] for row in describe(load())]
    (message,) = await try_source("toy", recorded(source, "ok", recordings), load())
    assert message.hashrate == 3e15


def test_a_source_without_recordings_fails_the_suite(toy: Path) -> None:
    (toy / "toy.py").write_text(TOY)
    (source,) = [source for source in discover() if source.slug == "toy"]
    with pytest.raises(FileNotFoundError):
        keeps_contract(source, "ok")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no SOURCE that is a PoolSource"),
        ("SOURCE = 'toy'", "no SOURCE that is a PoolSource"),
        (TOY.replace('slug="toy"', 'slug="tot"'), "'tot' is not the file's name"),
        (TOY.replace("poll_s=60", "poll_s=3600"), "not under an hour"),
    ],
)
def test_a_file_that_is_no_source_is_named(toy: Path, text: str, error: str) -> None:
    (toy / "toy.py").write_text(text)
    with pytest.raises(TypeError, match=error):
        discover()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["ocean"], ["pools/ocean"]),
        (["mempool"], ["pools/mempool", "network/mempool"]),
        (["network/mempool"], ["network/mempool"]),
        ([], []),
    ],
)
def test_the_settings_choose_the_sources(names: list[str], chosen: list[str]) -> None:
    assert [s.path for s in choose(SOURCES, Collector(sources=names))] == chosen


def test_unset_settings_choose_what_is_on_by_default() -> None:
    assert choose(SOURCES, Collector()) == [source for source in SOURCES if source.default]


def test_a_source_that_does_not_exist_is_named() -> None:
    with pytest.raises(SettingsError, match=r"COLLECTOR__SOURCES: no source 'ocaen'; .*ocean"):
        choose(SOURCES, Collector(sources=["ocaen"]))


def test_an_interval_of_an_hour_is_refused() -> None:
    with pytest.raises(SettingsError, match="COLLECTOR__POLL_S"):
        choose(SOURCES, Collector(poll_s=3600))
