"""Annotations in files: what the loader makes of them, and ids that nothing has."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from streams.beliefs import (
    BeliefOptions,
    BeliefsError,
    load,
    load_only,
    unknown_annotations,
    unknown_pools,
)
from streams.beliefs.documents import SHIPPED, read
from streams.beliefs.excerpt import as_file, believed_on
from streams.method.annotations import Annotation, DayOfYear, Hours, Season

if TYPE_CHECKING:
    from pathlib import Path

OWN: dict[str, Any] = {
    "id": "annotations/own",
    "source": "https://example.org",
    "text": "It happens.",
    "zone": "Europe/Paris",
    "places": ["FR-75C", "NO"],
    "pools": ["luxor"],
    "first_day": "11-01",
    "last_day": "03-31",
    "from_hour": 17,
    "until_hour": 21,
    "weekdays": ["monday", "sunday"],
    "from": "2025-01-01",
    "until": "2027-01-01",
}


def write(folder: Path, **fields: Any) -> Path:
    path = folder / "own.json"
    path.write_text(json.dumps({"annotations": [{**OWN, **fields}]}))
    return path


def test_every_field_reaches_the_method(tmp_path: Path) -> None:
    assert load_only(write(tmp_path)).annotations == [
        Annotation(
            id="annotations/own",
            zone=ZoneInfo("Europe/Paris"),
            # A place inside another subdivision counts as the outermost one, as everywhere.
            places=frozenset({"FR-IDF", "NO"}),
            pools=frozenset({"luxor"}),
            season=Season(DayOfYear(11, 1), DayOfYear(3, 31)),
            hours=Hours(17, 21),
            weekdays=frozenset({0, 6}),
            start=date(2025, 1, 1),
            until=date(2027, 1, 1),
        )
    ]


def test_only_the_text_the_zone_and_a_subject_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[[annotations]]\nid="a"\ntext="It."\nzone="UTC"\npools=["luxor"]\n')
    (found,) = load_only(path).annotations
    assert found == Annotation("a", ZoneInfo("UTC"), pools=frozenset({"luxor"}))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"zone": "Texas"}, "annotations/own: 'Texas' is not a time zone"),
        ({"places": ["XX"]}, "'XX' is not a place"),
        ({"last_day": "02-30"}, "'02-30' is not a day of the year"),
        ({"from_hour": 25}, "Expected `int` <= 23"),
        ({"hours": 25}, "unknown field `hours`"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, fields: dict[str, Any], error: str) -> None:
    with pytest.raises(BeliefsError, match=error):
        load_only(write(tmp_path, **fields))


def test_an_own_annotation_replaces_the_shipped_one_with_its_id(tmp_path: Path) -> None:
    path = write(tmp_path, id="annotations/ercot-4cp")
    found = load(BeliefOptions(beliefs=path)).annotations
    assert [each.id for each in found].count("annotations/ercot-4cp") == 1
    (own,) = (each for each in found if each.id == "annotations/ercot-4cp")
    assert own.zone == ZoneInfo("Europe/Paris")
    assert {each.id for each in found} > {"annotations/sichuan-wet-season"}


def test_an_id_that_no_annotation_has_is_told(tmp_path: Path) -> None:
    beliefs = load_only(write(tmp_path))
    assert unknown_annotations(beliefs, ["annotations/own"]) == []
    assert unknown_annotations(beliefs, ["annotations/owm", "annotations/own"]) == [
        "unknown annotation 'annotations/owm'; expected one of: annotations/own"
    ]
    nothing = tmp_path / "nothing.json"
    nothing.write_text("{}")
    assert unknown_annotations(load_only(nothing), ["a"]) == [
        "unknown annotation 'a'; there are none"
    ]


def test_an_unknown_pool_is_told(tmp_path: Path) -> None:
    beliefs = load_only(write(tmp_path, pools=["luxr"]))
    assert len(unknown_pools(beliefs)) == 1
    assert "unknown pool 'luxr'" in unknown_pools(beliefs)[0]


def test_an_edition_has_no_annotations_because_none_of_its_figures_depends_on_one() -> None:
    believed = believed_on(read(SHIPPED), [date(2026, 7, 1)])
    assert "claims" in as_file(believed)
    assert "annotations" not in as_file(believed)
