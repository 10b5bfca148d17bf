"""``check`` finds all that is wrong with files of beliefs, and says where."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from typing import TYPE_CHECKING

import pytest

from streams.beliefs import BeliefsDocument, BeliefsError, load_only
from streams.beliefs.check import Finding, check
from streams.beliefs.documents import StatedClaim
from tests.beliefs.documents import claim
from tests.cases import all_cases

if TYPE_CHECKING:
    from pathlib import Path

POOLS = frozenset({"a", "b", "a-account"})
NOTHING = BeliefsDocument()

SOUND = """\
[[network]]
id = "network/n"
source = "s"
published = 2025-04-02
checked = 2026-01-01
series = [
  { from = 2025-01-01, weights = { US = 1, OTHER = 1 } },
  { from = 2025-04-01, until = 2025-07-01, weights = { US = 1 } },
]

[[pools]]
id = "pools/first"
pool = "a"
kind = "prior"
[[pools.series]]
source = "s"
from = 2025-01-01
until = 2026-01-01
weights = { US = 1 }

[[pools]]
id = "pools/then"
pool = "a"
kind = "prior"
source = "s"
series = [{ from = 2026-01-01, weights = { US = 1 } }]

[[pools]]
id = "pools/of-another-kind"
pool = "a"
kind = "declared"
source = "s"
series = [{ from = 2025-01-01, weights = { US = 1 } }]

[[claims]]
id = "claims/whole"
source = "s"
place = "US"
at_least = 3.0
from = 2025-01-01
until = 2026-01-01

[[claims]]
id = "claims/texas"
source = "s"
place = "US-TX"
at_least = 1.0
from = 2025-01-01
until = 2026-01-01
pools = ["a", "b"]
within = "claims/whole"

[[claims]]
id = "claims/once-it-is-over"
source = "s"
place = "US-TX"
at_least = 9.0
from = 2026-01-01
until = 2027-01-01
within = "claims/whole"

[part_of]
a-account = "a"

[[rules]]
id = "rule"
source = "s"
place = "CN-ZJ"
applies_to = "*"

[[annotations]]
id = "annotations/leap-days"
source = "s"
text = "It happens."
zone = "Asia/Tehran"
places = ["IR"]
pools = ["a"]
first_day = "02-29"
last_day = "02-29"
from_hour = 22
until_hour = 6
weekdays = ["sunday"]
until = 2030-01-01
"""

CLAIM = """\
[[claims]]
id = "claims/c"
source = "s"
place = "US-TX"
at_least = 1.0
from = 2025-01-01
until = 2026-01-01
"""
INNER = CLAIM.replace("claims/c", "claims/d").replace("1.0", "2.0") + 'within = "claims/c"\n'
DISTRIBUTION = """\
[[pools]]
id = "pools/p"
source = "s"
pool = "a"
kind = "prior"
[[pools.series]]
from = 2025-01-01
until = 2026-01-01
[pools.series.weights]
US = 1
CA = 1
"""
ANNOTATION = """\
[[annotations]]
id = "annotations/a"
source = "s"
text = "It happens."
zone = "America/Chicago"
places = ["US-TX"]
"""


def findings(file: Path, text: str, others: BeliefsDocument = NOTHING) -> list[Finding]:
    file.write_text(text)
    return check(file, pools=POOLS, others=others)


def test_what_is_sound_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path / "beliefs.toml", SOUND) == []
    assert findings(tmp_path / "empty.toml", "") == []
    assert findings(tmp_path / "empty.json", "{}") == []
    load_only(tmp_path / "beliefs.toml")


@all_cases(
    ("text", "line", "error"),
    [
        # refused when loaded
        (CLAIM.replace("US-TX", "US-XX"), 4, "claims/c: 'US-XX' is not a place: expected an ISO"),
        (CLAIM.replace("US-TX", "UNKNOWN"), 4, "claims/c: 'UNKNOWN' is not a place"),
        (CLAIM.replace("US-TX", "CN-HK"), 4, "is not a place"),
        (CLAIM.replace("US-TX", "OTHER"), 4, "a claim needs a place, and OTHER is none"),
        (CLAIM.replace("US-TX", "US-OTHER"), 4, "a claim needs a place, and US-OTHER is none"),
        (f'{CLAIM}pools = ["Via BTC"]', 8, "Expected a slug (lower-case letters, digits,"),
        (f"{CLAIM}pools = []", 8, "pools is empty; leave it out if no pool is known"),
        (f'{CLAIM}within = "claims/d"', 8, "within claims/d, which is not a claim"),
        (f'{CLAIM}within = "claims/c"', 8, "is within itself, by way of claims/c"),
        (
            f'{CLAIM}within = "claims/d"\n'
            + CLAIM.replace("claims/c", "claims/d").replace("US-TX", "CA"),
            8,
            "within claims/d, but US-TX is not in CA",
        ),
        (DISTRIBUTION.replace("CA", "XX"), 11, "pools/p: 'XX' is not a place"),
        ('[part_of]\na = "b"\nb = "a"', 2, "part_of: a is a part of itself, by way of a"),
        (
            '[[rules]]\nid = "r"\nsource = "s"\nplace = "CN-ZJ"\napplies_to = []',
            5,
            "applies_to is empty",
        ),
        (
            '[[rules]]\nid = "r"\nsource = "s"\nplace = "CN"\napplies_to = "*"',
            4,
            "r: 'CN' is not a subdivision",
        ),
        (ANNOTATION.replace("US-TX", "US-XX"), 6, "annotations/a: 'US-XX' is not a place"),
        (ANNOTATION.replace("US-TX", "OTHER"), 6, "needs a place, and OTHER is none"),
        (ANNOTATION.replace('["US-TX"]', "[]"), 1, "concerns nothing; name places, pools or both"),
        (ANNOTATION.replace("It happens.", " "), 4, "text is empty"),
        (ANNOTATION.replace("America/Chicago", "America"), 5, "'America' is not a time zone"),
        (ANNOTATION.replace("America/Chicago", "../etc"), 5, "'../etc' is not a time zone"),
        (ANNOTATION.replace("America/Chicago", ""), 5, "'' is not a time zone"),
        (f'{ANNOTATION}first_day = "06-01"', 1, "first_day and last_day belong together"),
        (f'{ANNOTATION}first_day = "06-01"\nlast_day = "06-31"', 8, "'06-31' is not a day of the"),
        (f'{ANNOTATION}first_day = "6-1"\nlast_day = "06-02"', 7, "a day of the year as MM-DD"),
        (f"{ANNOTATION}until_hour = 7", 1, "from_hour and until_hour belong together"),
        (f"{ANNOTATION}from_hour = 7\nuntil_hour = 7", 8, "are the same; leave both out"),
        (f"{ANNOTATION}from_hour = 24\nuntil_hour = 7", 7, "Expected `int` <= 23"),
        (f"{ANNOTATION}weekdays = []", 7, "weekdays is empty; leave it out if all count"),
        (f'{ANNOTATION}weekdays = ["Sunday"]', 7, "Invalid enum value 'Sunday'"),
        # annotations that are never on
        (f"{ANNOTATION}from = 2025-01-01\nuntil = 2025-01-01", 8, "is not after from 2025-01-01"),
        (
            f"{ANNOTATION}until = 2025-01-02\nfrom = 2025-01-01\nweekdays = ['monday']",
            1,
            "annotations/a: has no day: none of its days of the year is in its dates",
        ),
        (ANNOTATION.replace('source = "s"\n', ""), 1, "has no source"),
        # unknown pools
        (f'{ANNOTATION}pools = ["a", "c"]', 7, "annotations/a: unknown pool 'c'"),
        (f'{CLAIM}pools = ["a", "c"]', 8, "claims/c: unknown pool 'c'"),
        (DISTRIBUTION.replace('"a"', '"c"'), 4, "unknown pool 'c'"),
        ('[part_of]\nc-account = "a"', 2, "part_of: unknown pool 'c-account'"),
        ('[part_of]\na-account = "c"', 2, "part_of: unknown pool 'c'"),
        (
            '[[rules]]\nid = "r"\nsource = "s"\nplace = "CN-ZJ"\napplies_to = ["a", "c"]',
            5,
            "r: unknown pool 'c'",
        ),
        # figures of 0
        (DISTRIBUTION.replace("CA = 1", "CA = 0"), 11, "the weight of CA is 0; leave the place"),
        (CLAIM.replace("1.0", "0"), 5, "at least 0 H/s says nothing"),
        # dates the wrong way round
        (CLAIM.replace("2026", "2024"), 7, "until 2024-01-01 is not after from 2025-01-01"),
        (CLAIM.replace("2026", "2025"), 7, "until 2025-01-01 is not after from 2025-01-01"),
        (DISTRIBUTION.replace("2026", "2024"), 8, "until 2024-01-01 is not after from 2025-01-01"),
        (
            f"{DISTRIBUTION}[[pools.series]]\nfrom = 2024-01-01\nweights = {{ US = 1 }}",
            13,
            "from 2024-01-01 does not follow 2025-01-01, that of the entry before it",
        ),
        (
            f"{CLAIM}published = 2025-02-02\nchecked = 2025-02-01",
            9,
            "checked on 2025-02-01, before it was published on 2025-02-02",
        ),
        # two documents in force for one pool
        (
            f"{DISTRIBUTION}\n{DISTRIBUTION.replace('pools/p', 'pools/q').replace('2025', '2024')}",
            13,
            "pools/q: on 2025-01-01 pools/p is in force too; only one prior document may be in",
        ),
        # contents larger than their container
        (
            f"{CLAIM}\n{INNER}",
            1,
            "claims/c: the claims within claims/c add up to 2 H/s from 2025-01-01 on, more than",
        ),
        # no source
        (CLAIM.replace('source = "s"\n', ""), 1, "claims/c: has no source: give its address"),
        (DISTRIBUTION.replace('source = "s"\n', ""), 1, "pools/p: has no source"),
        ('[[rules]]\nid = "r"\nplace = "CN-ZJ"\napplies_to = "*"', 1, "r: has no source"),
        # the shape of a document
        (f"\n{CLAIM}at = 1", 9, "claims/c: Object contains unknown field `at`"),
        (CLAIM.replace("2026-01-01", '"soon"'), 7, "claims/c: Invalid RFC3339 encoded date"),
        (CLAIM.replace('id = "claims/c"\n', ""), 1, "Object missing required field `id`"),
        (CLAIM.replace("1.0", "-1.0"), 5, "claims/c: Expected `float` >= 0.0"),
        (DISTRIBUTION.replace("CA = 1", 'CA = "1"'), 9, "pools/p: Expected `float`, got `str`"),
        (f"{CLAIM}\n{CLAIM}", 10, "claims/c: this id occurs already in {file}:1"),
        ("x = 1\n[clams]", 1, "unknown part 'x'; expected one of: network, pools, claims, rules"),
        ("[claims]\nid = 1", 1, "expected a list of tables: [[claims]]"),
        ("part_of = 1", 1, "expected a table of PART"),
        ("[part_of]\na = 1", 2, "part_of: expected the slugs of two pools"),
        (f"{CLAIM}place = ", 8, "Invalid value"),
        (f"{CLAIM}note = '''", 8, "Expected"),
    ],
)
def test_what_is_wrong_is_found_with_its_line(
    tmp_path: Path, text: str, line: int, error: str
) -> None:
    file = tmp_path / "beliefs.toml"
    found = findings(file, text)
    expected = error.format(file=file)
    assert any(f.line == line and expected in f.text for f in found), list(map(str, found))
    assert {f.file for f in found} == {str(file)}


@all_cases(
    ("text", "line", "error"),
    [
        ('{"claims": [\n{"id": "c"}\n]}', 2, "c: Object missing required field `place`"),
        ('{"network": [],\n"claims": 1}', 2, "expected a list of tables: [[claims]]"),
        ("[]", 1, "expected a document of beliefs: a table or an object"),
        ('{\n"claims": [,]}', 2, "JSON is malformed"),
        ('{\n\n"claims": [', 3, "Input data was truncated"),
        ("", 1, "Input data was truncated"),
    ],
)
def test_lines_of_json_are_found_too(tmp_path: Path, text: str, line: int, error: str) -> None:
    (found,) = findings(tmp_path / "beliefs.json", text)
    assert found.line == line
    assert error in found.text


def test_json_and_toml_have_the_same_findings(tmp_path: Path) -> None:
    text = CLAIM.replace("US-TX", "XX").replace('source = "s"\n', "")
    document = tomllib.loads(text)
    in_toml = findings(tmp_path / "a.toml", text)
    in_json = findings(tmp_path / "a.json", json.dumps(document, default=str, indent=1))
    assert [f.text for f in in_toml] == [f.text for f in in_json]
    assert [f.line for f in in_json] == [3, 5]


def test_all_findings_of_all_files_are_listed_in_order(tmp_path: Path) -> None:
    inner = tmp_path / "claims"
    inner.mkdir()
    (inner / "b.toml").write_text(CLAIM.replace("US-TX", "XX") + "pools = []\n")
    (inner / "a.toml").write_bytes(b"\n\xff")
    (inner / "notes.txt").write_text("not a belief")
    (tmp_path / "z.toml").write_text(CLAIM)
    found = check(tmp_path, pools=POOLS, others=NOTHING)
    assert [str(each).partition(": expected")[0] for each in found] == [
        f"{inner / 'a.toml'}:2: not UTF-8",
        f"{inner / 'b.toml'}:4: claims/c: 'XX' is not a place",
        f"{inner / 'b.toml'}:8: claims/c: pools is empty; leave it out if no pool is known",
        f"{tmp_path / 'z.toml'}:2: claims/c: this id occurs already in {inner / 'b.toml'}:1",
    ]


def test_a_part_that_occurs_in_two_files_is_found(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text('[part_of]\na-account = "a"\n')
    (found,) = check(tmp_path, pools=POOLS, others=NOTHING)
    assert str(found) == (
        f"{tmp_path / 'b.toml'}:2: part_of: a-account occurs already in {tmp_path / 'a.toml'}:2"
    )


def test_a_figure_that_is_not_finite_is_found_and_refused(tmp_path: Path) -> None:
    for text in (CLAIM.replace("1.0", "inf"), CLAIM.replace("1.0", "nan")):
        (found,) = findings(tmp_path / "a.toml", text)
        assert found.line == 5
        with pytest.raises(BeliefsError, match=r"a\.toml"):
            load_only(tmp_path)
    (found,) = findings(tmp_path / "a.toml", DISTRIBUTION.replace("CA = 1", "CA = inf"))
    assert found.line == 9


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (found,) = check(tmp_path / "none.toml", pools=POOLS, others=NOTHING)
    assert found.text == "No such file or directory"


def test_a_claim_may_be_within_one_of_the_others(tmp_path: Path) -> None:
    outer = StatedClaim(
        id="claims/o",
        place="US",
        at_least=1.5,
        start=date(2025, 1, 1),
        until=date(2026, 1, 1),
    )
    others = BeliefsDocument(claims=[outer])
    text = f'{CLAIM}within = "claims/o"\n'
    assert findings(tmp_path / "a.toml", text, others) == []
    (found,) = findings(tmp_path / "a.toml", text.replace("1.0", "2.0"), others)
    assert found.line == 1
    assert "the claims within claims/o add up to 2 H/s" in found.text


def test_contents_are_compared_on_every_day_on_which_a_claim_begins(tmp_path: Path) -> None:
    outer = claim("o", at_least=2.0)
    early = claim("e", at_least=2.0, until="2026-06-01", within="o")
    late = claim("l", at_least=2.0, start="2026-06-01", within="o")
    text = json.dumps({"claims": [outer, early, late]})
    assert findings(tmp_path / "a.json", text) == []
    late["from"] = "2026-05-31"
    (found,) = findings(tmp_path / "a.json", json.dumps({"claims": [outer, early, late]}))
    assert "add up to 4 H/s from 2026-05-31 on" in found.text


def test_what_the_loader_refuses_is_a_finding_and_it_refuses_no_more(tmp_path: Path) -> None:
    """The check is stricter than the loader, by what can be used but is most likely wrong."""
    used = CLAIM.replace('source = "s"\n', "").replace("2026", "2024") + 'pools = ["c"]\n'
    (tmp_path / "a.toml").write_text(used)
    assert len(check(tmp_path, pools=POOLS, others=NOTHING)) == 3
    load_only(tmp_path)
    (tmp_path / "a.toml").write_text(CLAIM.replace("US-TX", "OTHER"))
    with pytest.raises(BeliefsError, match="claims/c: a claim needs a place"):
        load_only(tmp_path)
