"""The documents agree with the code: links, commands, targets, settings and examples."""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import annotated_types
import click
import pytest
from pydantic import BaseModel, SecretStr

from collector.intake.partners import Partners
from collector.registry import discover
from collector.sources.credentials import FILE
from collector.sources.credentials import setting as credential_setting
from launch.cli import main
from miningmap.cbeci.contribution import FIELDS, PERIODS, UNITS
from miningmap.messages import KINDS, Kind
from miningmap.partner import PARTNER_TOKEN
from miningmap.partner.aggregate import aggregate
from miningmap.partner.push import Table
from miningmap.partner.records import Location
from miningmap.settings import PREFIX, SECRETS_DIR, Intake, Settings, load
from streams.beliefs import read_default_prior, read_priors, read_rules
from streams.method import placing, shares
from streams.method.cells import Cell
from streams.method.observations import Observation
from streams.method.placing import Beliefs, Cohort, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

ROOT: Final = Path(__file__).resolve().parents[1]
METHOD: Final = ROOT / "docs" / "method.md"
PARTNERS: Final = ROOT / "docs" / "partners.md"
SETTINGS: Final = ROOT / "docs" / "settings.md"

NOTHING: Final = "\N{EN DASH}"
"""An empty cell of a table."""
SOMETHING: Final = f"{PREFIX}SECTION__NAME"
"""The placeholder for any setting in the documents."""

FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE: Final = re.compile(r"`([^`]+)`")
HEADING: Final = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
FILE_NAME: Final = re.compile(
    r"(?<![\w./-])(?:miningmap|collector|streams|endpoint|launch|tests|benchmarks|tools|docs|deploy)"
    r"/[\w./-]+\.(?:py|lua|md|js|json|jsonl|ya?ml|conf|sh|toml)\b"
)
LINK: Final = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: *(\S+)", re.MULTILINE)


def _documents() -> Iterator[Path]:
    for folder, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if name[0] != "." and name != "node_modules"]
        yield from (Path(folder, name) for name in files if name.endswith(".md"))


DOCUMENTS: Final = sorted(_documents())
every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


# --- reading Markdown -----------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes from a document's headings."""
    found: set[str] = set()
    times: Counter[str] = Counter()
    for match in HEADING.finditer(FENCED.sub("", document.read_text())):
        words = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
        found.add(f"{words}-{times[words]}" if times[words] else words)
        times[words] += 1
    return found


def code_of(document: Path) -> Iterator[str]:
    """All code: fenced, indented, or inline."""
    text = document.read_text()
    for match in FENCED.finditer(text):
        yield from match[2].splitlines()
    prose = FENCED.sub("", text)
    yield from re.findall(r"^ {4}(.+)$", prose, re.MULTILINE)
    yield from INLINE.findall(prose)


def calls_of(document: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program."""
    for line in code_of(document):
        for command in re.split(r"[;&|<>#]", line):
            words = command.split()
            while words and "=" in words[0]:
                del words[0]
            if words and Path(words[0]).name == program:
                yield words[1:]


def section_of(document: Path, title: str) -> str:
    """The text under a heading, up to the next heading of any level."""
    text = document.read_text()
    headings = list(HEADING.finditer(FENCED.sub(lambda m: " " * len(m[0]), text)))
    ends = [match.start() for match in headings[1:]] + [len(text)]
    (part,) = (
        text[match.end() : end]
        for match, end in zip(headings, ends, strict=True)
        if match[2].strip("`") == title
    )
    return part


def example(document: Path, title: str, language: str) -> str:
    """The only block of code in a language under a heading."""
    (block,) = (m[2] for m in FENCED.finditer(section_of(document, title)) if m[1] == language)
    return block


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """The rows of every table, by the headings of the columns."""
    for match in re.finditer(r"^(\|.*\n)\|[-|]+\n((?:\|.*(?:\n|$))+)", text, re.MULTILINE):
        names = _cells(match[1])
        yield [dict(zip(names, _cells(row), strict=True)) for row in match[2].splitlines()]


def table(document: Path, *columns: str) -> list[dict[str, str]]:
    """The only table with exactly these columns."""
    (found,) = (rows for rows in tables(document.read_text()) if tuple(rows[0]) == columns)
    return found


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


# --- all documents --------------------------------------------------------------------------------


def test_there_are_documents() -> None:
    assert {ROOT / "README.md", METHOD, SETTINGS} <= set(DOCUMENTS)


@every_document
def test_every_link_has_a_target(document: Path) -> None:
    prose = INLINE.sub("code", FENCED.sub("", document.read_text()))
    for groups in LINK.findall(prose):
        target = "".join(groups)
        if re.match(r"[a-z]+:", target):
            continue  # other sites are not tested
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@every_document
def test_every_command_named_exists_with_its_options(document: Path) -> None:
    # Commands cache the help option of the first context that uses it.
    context = click.Context(main, **main.context_settings)
    for words in calls_of(document, "miningmap"):
        command: click.Command = main
        for word in words:
            if word.startswith("-"):
                parameters = command.get_params(context)
                known = {option for p in parameters for option in (*p.opts, *p.secondary_opts)}
                assert word.partition("=")[0] in known, f"miningmap {' '.join(words)}"
            elif isinstance(command, click.Group) and word.islower():
                assert word in command.commands, f"miningmap {' '.join(words)}"
                command = command.commands[word]


@every_document
def test_every_make_target_named_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for words in calls_of(document, "make"):
        # What belongs to ARGS="..." is not a target.
        named = re.sub(r'\w+=("[^"]*"|\S*)', "", " ".join(words)).split()
        assert targets.issuperset(named), f"make {' '.join(words)}"


@every_document
def test_every_file_of_the_project_named_exists(document: Path) -> None:
    prose = INLINE.findall(document.read_text())
    named = {name for code in prose for name in FILE_NAME.findall(code) if "example" not in name}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@every_document
def test_every_setting_named_exists(document: Path) -> None:
    named = set(re.findall(rf"{PREFIX}\w*[A-Z]", document.read_text()))
    others = {SECRETS_DIR, PARTNER_TOKEN, SOMETHING}
    assert named <= {*settings_in_code(), *credentials_in_code(), *others}


def test_the_readme_names_commands_and_targets() -> None:
    """Otherwise the tests above could pass because they found nothing."""
    readme = ROOT / "README.md"
    assert ["demo"] in list(calls_of(readme, "make"))
    assert {"up", "topics", "collector"} <= {
        word for words in calls_of(readme, "miningmap") for word in words
    }


# --- docs/settings.md -----------------------------------------------------------------------------


def settings_in_code() -> dict[str, FieldInfo]:
    """Every setting by its name in the environment, in the order of the code."""
    return {
        f"{PREFIX}{section}__{name}".upper(): setting
        for section, settings in sections_in_code().items()
        for name, setting in settings.items()
    }


def sections_in_code() -> dict[str, dict[str, FieldInfo]]:
    """The sections with fixed settings; those of ``credentials`` depend on the sources."""
    return {
        section: field.annotation.model_fields
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def credentials_in_code() -> set[str]:
    """The settings of every credential that a source declares: its value, and its file."""
    names = {
        credential_setting(source.slug, credential.name + suffix)
        for source in discover()
        for credential in source.credentials
        for suffix in ("", FILE)
    }
    return {*names, credential_setting("slug", "name"), credential_setting("slug", "name" + FILE)}


def shown(default: object) -> str:
    """A default in the form of the tables."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None:
        return "unset"
    if isinstance(default, bool):
        default = str(default).lower()
    return f"`{default}`" if str(default) else "empty"


def limits(setting: FieldInfo) -> str:
    """The limits of a setting in the form of the tables."""
    given = {type(limit): limit for limit in setting.metadata}
    words = []
    match given.get(annotated_types.Ge), given.get(annotated_types.Le):
        case annotated_types.Ge(ge=low), annotated_types.Le(le=high):
            words.append(f"{low} to {high}")
        case annotated_types.Ge(ge=low), None:
            words.append(f"at least {low}")
        case None, annotated_types.Le(le=high):
            words.append(f"at most {high}")
    if isinstance(above := given.get(annotated_types.Gt), annotated_types.Gt):
        words.insert(0, f"more than {above.gt}")
    return ", ".join(words)


def test_every_setting_is_documented_in_its_section_with_its_default() -> None:
    documented = []
    for section in sections_in_code():
        (rows,) = tables(section_of(SETTINGS, section))
        assert tuple(rows[0]) == ("setting", "default", "meaning")
        for row in rows:
            name = row["setting"].strip("`")
            assert name.startswith(f"{PREFIX}{section.upper()}__")
            assert row["meaning"]
            documented.append((name, row["default"]))
    in_code = settings_in_code().items()
    assert documented == [(name, shown(setting.default)) for name, setting in in_code]


def test_the_limits_of_settings_are_documented() -> None:
    documented = {
        row["setting"].strip("`"): row["meaning"]
        for rows in tables(SETTINGS.read_text())
        for row in rows
    }
    for name, setting in settings_in_code().items():
        assert re.search(re.escape(limits(setting)) + r"(?![\d.])", documented[name]), name
        for choice in get_args(setting.annotation):
            assert not isinstance(choice, str) or f"`{choice}`" in documented[name], name


def test_the_toml_example_can_be_loaded(tmp_path: Path) -> None:
    text = example(SETTINGS, "TOML", "toml")
    path = tmp_path / "miningmap.toml"
    path.write_text(text)
    loaded = load(path)
    for section, values in tomllib.loads(text).items():
        for name, value in values.items():
            got = getattr(getattr(loaded, section), name)
            got = got.get_secret_value() if isinstance(got, SecretStr) else got
            assert got == (Path(value) if isinstance(got, Path) else value)


def test_the_examples_of_files_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "example.json"
    path.write_text(example(SETTINGS, "Priors", "json"))
    assert all(sum(weights.values()) == pytest.approx(1) for weights in read_priors(path).values())
    path.write_text(example(SETTINGS, "Rules", "json"))
    assert [rule.applies_to for rule in read_rules(path)] == [{"example-pool"}, None]
    path.write_text(example(SETTINGS, "Partners", "json"))
    assert Partners.load(path).authenticate("any other token") is None


# --- docs/partners.md -----------------------------------------------------------------------------


def test_the_script_for_partners_is_the_tested_one() -> None:
    script = (ROOT / "docs" / "examples" / "push_rows.py").read_text()
    assert example(PARTNERS, "2 Send rows", "python") == script
    assert len(script.splitlines()) <= 32


def test_the_table_for_partners_can_be_pushed(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(example(PARTNERS, "3 Send a file", "csv"))
    with file.open(newline="") as opened:
        table = Table(opened, datetime(2026, 11, 22, tzinfo=UTC))
    assert [row["province"] for row in table.rows] == ["Texas", "Nei Mongol", None]


def test_the_list_of_miners_can_be_aggregated() -> None:
    text = example(PARTNERS, "4 From addresses to rows", "csv")
    found = aggregate(io.StringIO(text, newline=""), lambda _: Location("NO"), "TH/s")
    assert found.located["NO"].hashrate == 104e12 + 3.4e15


def test_the_fields_periods_and_units_of_rows_are_documented() -> None:
    documented = {row["field"].strip("`"): row["is"] for row in table(PARTNERS, "field", "is")}
    assert tuple(documented) == FIELDS
    assert all(f"`{period}`" in documented["period"] for period in PERIODS)
    assert all(f"`{unit}`" in documented["unit"] for unit in UNITS)


def test_the_rates_of_a_token_are_documented() -> None:
    rows = {row["status"]: row["means"] for row in table(PARTNERS, "status", "means", "do")}
    for requests, seconds in Intake().rates:
        time = {10: "10 s", 600: "10 min", 86_400: "a day"}[seconds]
        assert re.search(rf"{requests:,} (in )?{time}", rows["429"])


# --- docs/method.md -------------------------------------------------------------------------------


def ratio(percent: str) -> float:
    """``62.5 %`` as 0.625."""
    return float(percent.strip(" %")) / 100


def weights(cell: str) -> dict[str, float]:
    """``US 80, KZ 40`` by place; empty for a dash."""
    pairs = [] if cell == NOTHING else [part.split() for part in cell.split(",")]
    return {code: float(weight) for code, weight in pairs}


def sums(minutes: int, total: float, measured: dict[str, float]) -> Cell:
    """A cell with these mean hashrates over a number of minutes."""
    kind: Kind = "measured"
    places = {(code, kind): mean * minutes for code, mean in measured.items()}
    return Cell(minutes, total * minutes, places)


def four_pools(without: str | None = None) -> Cohort:
    """The pools of the second example, with one left out if given."""
    pools, priors = {}, {}
    for row in table(METHOD, "pool", "total", "measured", "profile", "prior"):
        if row["pool"] == without:
            continue
        window = sums(60, float(row["total"]), weights(row["measured"]))
        profile = weights(row["profile"])
        seen = Observation(window, sums(9, sum(profile.values()), profile), seen_before=True)
        pools[row["pool"]] = {"own": seen}
        if prior := weights(row["prior"]):
            priors[row["pool"]] = prior
    (network,) = re.findall(r"The network has (\d+) EH/s", METHOD.read_text())
    return placing.cohort_of(pools, {"any": sums(60, float(network), {})}, 60, Beliefs(priors))


def test_the_example_of_relabelling_agrees() -> None:
    rows = table(METHOD, "place", "before", "after")
    measured: Kind = "measured"
    before, after = (
        {(row["place"], measured): float(row[when]) for row in rows if row[when] != NOTHING}
        for when in ("before", "after")
    )
    assert placing.relabel(before, "CN-ZJ") == pytest.approx(after)
    assert before != after


def test_the_coverage_of_the_four_pools_agrees() -> None:
    cohort = four_pools()
    (row,) = table(METHOD, "coverage", "located", "measured_coverage")
    assert shares.coverage(cohort) == pytest.approx(ratio(row["coverage"]))
    assert shares.located(cohort) == pytest.approx(ratio(row["located"]))
    assert shares.measured_coverage(cohort) == pytest.approx(ratio(row["measured_coverage"]))


def test_the_shares_and_bounds_of_the_four_pools_agree() -> None:
    cohort = four_pools()
    assert cohort.network is not None
    columns = ("place", *KINDS, "share", "network_hashrate", "low", "high", "sensitivity")
    rows = table(METHOD, *columns)
    lines = shares.country_shares(cohort)
    assert [row["place"] for row in rows] == [line.code for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert line.kinds == pytest.approx([float(row[kind]) for kind in KINDS])
        assert line.share == pytest.approx(ratio(row["share"]))
        assert line.share * cohort.network == pytest.approx(float(row["network_hashrate"]))
        assert line.low == pytest.approx(ratio(row["low"]))
        assert line.high == pytest.approx(ratio(row["high"]))
        assert line.sensitivity == pytest.approx(list(map(ratio, row["sensitivity"].split("to"))))


def test_the_shares_without_each_pool_agree() -> None:
    rows = table(METHOD, "without", "total located", "US", "KZ", "RU")
    assert {row["without"] for row in rows} == {member.pool for member in four_pools().members}
    for row in rows:
        cohort = four_pools(row["without"])
        located = sum(member.located for member in cohort.members)
        assert located == pytest.approx(float(row["total located"]))
        got = {line.code: line.share for line in shares.country_shares(cohort)}
        assert got == pytest.approx({code: ratio(row[code]) for code in ("US", "KZ", "RU")})


def test_the_bounds_of_april_2020_agree() -> None:
    text = METHOD.read_text()
    (f,) = map(float, re.findall(r"`f` = (0\.\d+) be", text))
    rows = table(METHOD, "place", "published share", "low", "high")
    published = {row["place"]: ratio(row["published share"]) for row in rows}
    whole = published | {"OTHER": 1 - sum(published.values())}
    sample = Member("sample", "own", f, {(c, "measured"): f * s for c, s in whole.items()})
    cohort = Cohort([sample], {}, 1.0, "any", simulated=False)
    lines = {line.code: line for line in shares.country_shares(cohort)}
    for row in rows:
        line = lines[row["place"]]
        assert line.share == pytest.approx(ratio(row["published share"]))
        assert line.low == pytest.approx(ratio(row["low"]), abs=0.5e-4)
        assert line.high == pytest.approx(ratio(row["high"]), abs=0.5e-4)
    (gap,) = map(float, re.findall(r"= ([\d.]+) percentage points", text))
    level = f * (published["CN"] - published["US"]) / (1 - f)
    assert gap == pytest.approx(100 * level, abs=0.05)


def test_the_shipped_prior_is_quoted_correctly() -> None:
    text, prior = METHOD.read_text(), read_default_prior()
    for name, code in (("US", "US"), ("Russia", "RU"), ("China", "CN")):
        assert f"{name} {prior[code]:g} %" in text
