"""Plots are whole SVG documents that can be read without seeing them."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

from benchmarks.plot import HEIGHT, WIDTH, Panel, log_log

SVG = "{http://www.w3.org/2000/svg}"
LINES = {
    "steep <x>": [(50.0, 1.0), (500.0, 10.0), (5000.0, 100.0)],
    "flat": [(50.0, 90.0), (500.0, 95.0), (5000.0, 99.0)],
}


def drawn() -> ET.Element:
    panel = Panel("CPU", "reports a minute", LINES)
    return ET.fromstring(log_log("a title & more", "what it shows", [panel, panel]))  # noqa: S314 - made here


def points(line: ET.Element) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for x, _, y in (p.partition(",") for p in line.attrib["points"].split())
    ]


def test_it_says_in_words_what_it_shows() -> None:
    picture = drawn()
    assert picture.findtext(f"{SVG}title") == "a title & more"
    assert picture.findtext(f"{SVG}desc") == "what it shows"
    assert picture.attrib["role"] == "img"
    ids = {e.attrib["id"] for e in picture.iter() if "id" in e.attrib}
    assert set(picture.attrib["aria-labelledby"].split()) <= ids


def test_every_line_has_its_name_and_names_do_not_cover_each_other() -> None:
    names = [e for e in drawn().iter(f"{SVG}text") if e.text in LINES]
    assert len(names) == 2 * len(LINES)
    heights = sorted(float(e.attrib["y"]) for e in names[: len(LINES)])
    assert heights[1] - heights[0] >= 12


def test_ten_times_as_much_is_as_far_wherever_it_is() -> None:
    steep = points(next(drawn().iter(f"{SVG}polyline")))
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(steep)]
    assert all(abs(x - steps[0][0]) < 0.2 and abs(y - steps[0][1]) < 0.2 for x, y in steps)
    assert steps[0][0] > 0 > steps[0][1]  # to the right and upwards


def test_all_points_are_inside_of_the_picture() -> None:
    for line in drawn().iter(f"{SVG}polyline"):
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in points(line))
