"""The documents agree with the code: links, commands, targets, settings and examples."""

from __future__ import annotations

import io
import json
import os
import re
import tomllib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import annotated_types
import click
import msgspec
import pytest
from msgspec import structs
from pydantic import BaseModel, SecretStr

from collector.intake.partners import Partners
from collector.registry import discover
from collector.sources.credentials import FILE
from collector.sources.credentials import setting as credential_setting
from launch.cli import main
from launch.dataset.descriptions import schema_of
from miningmap.api.columns import described
from miningmap.cbeci.contribution import FIELDS, PERIODS, UNITS
from miningmap.live_rows import MAX_HOLD_S, LiveRow, read
from miningmap.messages import KINDS, Kind
from miningmap.partner import PARTNER_TOKEN
from miningmap.partner.aggregate import aggregate
from miningmap.partner.push import Table
from miningmap.partner.records import Location
from miningmap.rows import InvalidRowsError
from miningmap.settings import PREFIX, SECRETS_DIR, Intake, Settings, load
from streams.beliefs import load_only
from streams.method.beliefs import (
    Beliefs,
    BeliefsInForce,
    Claim,
    Distribution,
    Document,
    Entry,
    Rule,
    normalised,
)
from streams.method.cells import Cell
from streams.method.cohort import Cohort, Member, cohort_of
from streams.method.comparison import Level, Side
from streams.method.observations import Observation, Observations
from streams.method.placing import place
from streams.method.relabelling import relabelled
from streams.method.shares import Shares
from streams.method.swings import driver_of
from streams.method.tables import Rows
from streams.queries.dataset import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from streams.method.cells import Places
    from streams.method.placing import PlacedPool

ROOT: Final = Path(__file__).resolve().parents[1]
METHOD: Final = ROOT / "docs" / "method.md"
DATASET: Final = ROOT / "docs" / "dataset.md"
PARTNERS: Final = ROOT / "docs" / "partners.md"
SETTINGS: Final = ROOT / "docs" / "settings.md"

LIVE: Final = "field of a live row"
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
        remaining = iter(words)
        for word in remaining:
            if word.startswith("-"):
                parameters = command.get_params(context)
                known = {option: p for p in parameters for option in (*p.opts, *p.secondary_opts)}
                option, _, value = word.partition("=")
                assert option in known, f"miningmap {' '.join(words)}"
                if not value and not getattr(known[option], "is_flag", False):
                    next(remaining, None)  # its value is no command
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
    path = tmp_path / "example.toml"
    path.write_text(example(SETTINGS, "Beliefs", "toml"))
    loaded = load_only(path)
    assert all((loaded.network, loaded.pools, loaded.claims, loaded.part_of, loaded.rules))
    path = tmp_path / "example.json"
    path.write_text(example(SETTINGS, "Partners", "json"))
    assert Partners.load(path).authenticate("any other token") is None


# --- docs/dataset.md ------------------------------------------------------------------------------


def test_every_column_of_an_edition_is_documented() -> None:
    for table_ in TABLES:
        known = described(table_.row)
        (rows,) = tables(section_of(DATASET, f"{table_.name}.csv"))
        documented = [tuple(row.values()) for row in rows]
        fields = schema_of(table_)["fields"]
        assert documented == [
            (f"`{field['name']}`", field["type"], column.unit, column.description)
            for field in fields
            for column in [known[field["name"]]]
        ]


def test_every_file_of_an_edition_is_documented() -> None:
    documented = {name for row in table(DATASET, "file", "content") for name in code(row["file"])}
    assert documented == {
        *(f"{table_.name}.csv" for table_ in TABLES),
        *("beliefs.json", "messages.jsonl.gz", "shares.parquet"),
        *("datapackage.json", "CITATION.cff", "README.md", "SHA256SUMS"),
    }


def code(text: str) -> list[str]:
    return INLINE.findall(text)


# --- docs/partners.md -----------------------------------------------------------------------------


def test_the_script_for_partners_is_the_tested_one() -> None:
    script = (ROOT / "docs" / "examples" / "push_rows.py").read_text()
    assert example(PARTNERS, "2 Send rows", "python") == script
    assert len(script.splitlines()) <= 32


def test_the_script_for_live_rows_is_the_tested_one() -> None:
    script = (ROOT / "docs" / "examples" / "push_live.py").read_text()
    assert example(PARTNERS, "7 Live rows", "python") == script
    assert len(script.splitlines()) <= 33


def test_the_fields_of_live_rows_are_documented() -> None:
    documented = {row[LIVE]: row["is"] for row in table(PARTNERS, LIVE, "is")}
    names = {name for names in documented for name in INLINE.findall(names)}
    assert names == {*LiveRow.__annotations__, "places[].code"}
    assert f"0 to {MAX_HOLD_S}" in documented["`hold_s`"]


def test_the_error_of_a_live_row_is_the_one_that_is_shown() -> None:
    shown = json.loads(example(PARTNERS, "7 Live rows", "json"))
    now = datetime(2026, 11, 22, 15, tzinfo=UTC)
    times = {"start": "2026-11-22T14:59:00Z", "end": "2026-11-22T15:00:00Z"}
    codes = ("US-TX", "US-PR")
    rows = [times | {"hashrate": 1, "places": [{"code": code, "hashrate": 1}]} for code in codes]
    with pytest.raises(InvalidRowsError) as caught:
        read(rows, "foundryusa", now)
    assert shown["errors"] == [msgspec.to_builtins(error) for error in caught.value.errors]
    assert shown["detail"] == f"row 1: places[0].code: {shown['errors'][0]['error']}"


def test_the_unit_for_partners_is_the_example() -> None:
    unit = (ROOT / "docs" / "examples" / "miningmap-partner.service").read_text()
    assert example(PARTNERS, "8 Live rows from your statistics", "ini") == unit


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


def near(percent: str) -> float:
    """A rounded percentage as a ratio that equals all numbers that round to it."""
    return pytest.approx(ratio(percent), abs=0.5e-3)  # type: ignore[return-value]


def weights(cell: str) -> dict[str, float]:
    """``US 80, KZ 40`` by place; empty for a dash."""
    pairs = [] if cell == NOTHING else [part.split() for part in cell.split(",")]
    return {code: float(weight) for code, weight in pairs}


def measured(cell: str) -> Places:
    return {(code, "measured"): hashrate for code, hashrate in weights(cell).items()}


def pool_of(row: dict[str, str]) -> Member:
    """A pool of a table, with what it measures."""
    total = float(row["total"])
    return Member(row["pool"], "own", total, total, Rows.of(measured(row["measured"])))


def cohort_of_members(*members: Member, network: float | None = None) -> Cohort:
    by_slug = {each.pool: each for each in members}
    source = None if network is None else "any"
    return Cohort(by_slug, {}, network, source, None, simulated=False)


def placed_by(pool: PlacedPool, kind: Kind) -> dict[str, float]:
    return {code: hashrate for (code, found), hashrate in pool.places.items() if found == kind}


def test_the_example_of_relabelling_agrees() -> None:
    rows = table(METHOD, "place", "before", "after")
    before, after = (
        measured(", ".join(f"{row['place']} {row[when]}" for row in rows if row[when] != NOTHING))
        for when in ("before", "after")
    )
    assert relabelled(before, "pool", [Rule("zj", "CN-ZJ", None)]) == pytest.approx(after)
    assert before != after


def test_the_example_of_parts_agrees() -> None:
    rows = table(METHOD, "pool", "reports", "part of", "counts")
    part_of = {row["pool"]: row["part of"] for row in rows if row["part of"] != NOTHING}
    pools = {
        row["pool"]: {"own": Observation(Cell(1, float(row["reports"])), Cell(), seen_before=True)}
        for row in rows
    }
    found = cohort_of(Observations(pools, {}), 1, Beliefs(part_of=part_of)).members
    assert [found[row["pool"]].total for row in rows] == [float(row["counts"]) for row in rows]


def test_the_examples_of_a_pools_own_distributions_agree() -> None:
    kinds: dict[str, Kind] = {"profile": "estimated", "declared": "declared", "prior": "prior"}
    rows = table(METHOD, "pool", "total", "measured", "has a", "weights", "becomes")
    assert {row["has a"] for row in rows} == set(kinds)
    for row in rows:
        pool, slug, shape = pool_of(row), row["pool"], weights(row["weights"])
        own = {slug: Distribution(slug, normalised(shape))}
        beliefs = BeliefsInForce()
        match row["has a"]:
            case "profile":
                pool = structs.replace(pool, profile=Rows.of(measured(row["weights"])))
            case "declared":
                beliefs = BeliefsInForce(declared=own)
            case _:
                beliefs = BeliefsInForce(priors=own)
        (found,) = place(cohort_of_members(pool), beliefs, (), None).pools
        assert placed_by(found, kinds[row["has a"]]) == pytest.approx(weights(row["becomes"]))


def test_the_example_of_claims_agrees() -> None:
    rows = table(METHOD, "claim", "place", "at least", "within", "has", "adds")
    stated = [
        Claim(
            id=row["claim"],
            place=row["place"],
            at_least=float(row["at least"]),
            start=0,
            until=1,
            pools=frozenset({"pool"}),
            within=None if row["within"] == NOTHING else row["within"],
        )
        for row in rows
    ]
    (group,) = Beliefs(claims=stated).on(0).claims
    amounts = {amount.id: amount.hashrate for amount in group.amounts}
    assert amounts == {row["claim"]: float(row["has"]) for row in rows}
    pool = Member("pool", "own", 100, 100, Rows.of(measured("US-GA 5, US 4")))
    placement = place(cohort_of_members(pool), BeliefsInForce(claims=[group]), (), None)
    added = {id_: placed.hashrate for id_, placed in placement.beliefs.items()}
    assert added == {row["claim"]: float(row["adds"]) for row in rows}
    (found,) = placement.pools
    assert found.remainder == 60


def test_the_example_of_swings_agrees() -> None:
    rows = table(METHOD, "place", "pool", "24h", "1h", "delta", "own", "driver")
    short, long = (_side(rows, window) for window in ("1h", "24h"))
    level = Level(short, long, simulated=False)
    for row in rows:
        move = level.move(row["place"])
        delta = move.short - move.long
        assert delta == pytest.approx(float(row["delta"]), abs=0.0005)
        assert move.own == pytest.approx(float(row["own"]), abs=0.0005)
        assert driver_of(delta, move.own, move.with_rest) == row["driver"]


def _side(rows: list[dict[str, str]], window: str) -> Side:
    tables: dict[str, Places] = {row["pool"]: {} for row in rows}
    for row in rows:
        tables[row["pool"]][row["place"], "measured"] = float(row[window])
    total = sum(float(row[window]) for row in rows)
    return Side(tables, total, total)


def test_the_example_of_the_storm_agrees() -> None:
    rows = table(METHOD, "", "alpha in US", "beta in US", "beta in RU")
    usual = float(rows[0]["alpha in US"])
    prior = Distribution("prior", {"US": 0.6, "RU": 0.4})
    for row in rows:
        now = float(row["alpha in US"])
        alpha = Member("alpha", "own", now, now, Rows.of(measured(f"US {now}")), growth=usual / now)
        members = (alpha, Member("beta", "own", 120, 120, Rows.of({})))
        beliefs = BeliefsInForce(network=[prior])
        _, beta = place(cohort_of_members(*members), beliefs, (), prior.id).pools
        expected = {code: float(row[f"beta in {code}"]) for code in ("US", "RU")}
        assert placed_by(beta, "prior") == pytest.approx(expected)


def sums(minutes: int, total: float, places: dict[str, float]) -> Cell:
    """A cell with these mean hashrates over a number of minutes."""
    kind: Kind = "measured"
    inner = {(code, kind): mean * minutes for code, mean in places.items()}
    return Cell(minutes, total * minutes, Rows.of(inner))


FOUR_BELIEFS: Final = ("belief", "kind", "says", "placed")


def beliefs_of_four() -> Beliefs:
    """The beliefs of the last example: the claim is the one without weights."""
    rows = table(METHOD, *FOUR_BELIEFS)
    series = {row["belief"]: [Entry(0, normalised(weights(row["says"])))] for row in rows}
    of_pools = table(METHOD, "pool", "total", "measured", "profile", "declared")
    declared = [row for row in of_pools if row["declared"] != NOTHING]
    (claim,) = (row for row in rows if row["belief"].startswith("claims/"))
    ((place_, at_least),) = weights(claim["says"]).items()
    return Beliefs(
        network=[Document(id_, series[id_]) for id_ in series if id_.startswith("network/")],
        pools=[
            Document(
                f"pools/{row['pool']}",
                [Entry(0, normalised(weights(row["declared"])))],
                row["pool"],
                declared=True,
            )
            for row in declared
        ],
        claims=[Claim(claim["belief"], place_, at_least, 0, 1)],
    )


def four_pools() -> Shares:
    """The shares of the last example."""
    pools = {}
    for row in table(METHOD, "pool", "total", "measured", "profile", "declared"):
        window = sums(60, float(row["total"]), weights(row["measured"]))
        profile = weights(row["profile"])
        # The total over the profile days is the one in the window.
        usual = sums(9, float(row["total"]), profile)
        seen = Observation(window, usual if profile else Cell(), seen_before=True)
        pools[row["pool"]] = {"own": seen}
    (network,) = re.findall(r"The network has (\d+) EH/s", METHOD.read_text())
    observed = Observations(
        pools, {"any": Observation(sums(60, float(network), {}), Cell(), seen_before=True)}
    )
    beliefs = beliefs_of_four()
    cohort = cohort_of(observed, 60, beliefs)
    return Shares(place(cohort, beliefs.on(0), (), "network/first"))


def test_what_the_beliefs_of_the_four_pools_placed_agrees() -> None:
    placed = four_pools().placement.beliefs
    rows = [row for row in table(METHOD, *FOUR_BELIEFS) if row["placed"] != NOTHING]
    expected = {row["belief"]: (row["kind"], float(row["placed"])) for row in rows}
    assert {id_: tuple(each) for id_, each in placed.items()} == expected


def test_the_spreading_of_the_four_pools_agrees() -> None:
    rows = table(METHOD, "place", "weight", "of 250", "located", "missing", "of the 40")
    placement = four_pools().placement
    (first,) = (d for d in beliefs_of_four().on(0).network if d.id == "network/first")
    assert first.weights == pytest.approx({row["place"]: ratio(row["weight"]) for row in rows})
    ratios = placement.network_ratios["network/first"]
    for row in rows:
        weight, located = float(row["of 250"]), float(row["located"])
        assert weight == pytest.approx(250 * first.weights[row["place"]])
        assert float(row["missing"]) == pytest.approx(max(0, weight - located))
        assert float(row["of the 40"]) == pytest.approx(
            placement.remainder * ratios.get(row["place"], 0)
        )


def test_the_coverage_of_the_four_pools_agrees() -> None:
    names = ("coverage", "located", "measured_coverage", "declared_coverage", "evidence")
    (row,) = table(METHOD, *names)
    for name in names:
        assert getattr(four_pools(), name) == pytest.approx(ratio(row[name]))


def test_the_shares_of_the_four_pools_agree() -> None:
    four = four_pools()
    assert four.network is not None
    columns = ("place", *KINDS, "share", "hashrate", "network_hashrate", "evidence")
    rows = table(METHOD, *columns)
    found = four.countries()
    assert [row["place"] for row in rows] == [share.code for share in found]
    for row, share in zip(rows, found, strict=True):
        assert list(share.kinds) == pytest.approx([float(row[kind]) for kind in KINDS])
        assert share.share == pytest.approx(ratio(row["share"]))
        assert share.kinds.evidence == pytest.approx(float(row["hashrate"]))
        assert share.share * four.network == pytest.approx(float(row["network_hashrate"]))
        assert share.evidence == near(row["evidence"])


def test_the_bounds_and_ranges_of_the_four_pools_agree() -> None:
    bounds = ("low", "high", "declared_low", "declared_high")
    rows = table(METHOD, "place", *bounds, "sensitivity", "belief")
    for row, share in zip(rows, four_pools().countries(), strict=True):
        assert row["place"] == share.code
        for name in bounds:
            assert getattr(share, name) == pytest.approx(ratio(row[name])), (share.code, name)
        for name in ("sensitivity", "belief"):
            low, high = map(near, row[name].split(" to "))
            assert getattr(share, name) == (low, high), (share.code, name)


def test_the_shares_without_each_pool_agree() -> None:
    places = ("US", "KZ", "RU", "NO")
    rows = table(METHOD, "without", "total located", *places)
    placement = four_pools().placement
    pools, everything = list(placement.cohort.members), placement.table
    assert {row["without"] for row in rows} == set(pools)
    for row in rows:
        rest = everything.where(everything.pools != pools.index(row["without"]))
        shares = Shares(replace(placement, table=rest))
        assert (shares.located or 0) * shares.total == pytest.approx(float(row["total located"]))
        got = {share.code: share.share for share in shares.countries()}
        assert {code: got.get(code, 0.0) for code in places} == {
            code: near(row[code]) for code in places
        }


def test_the_bounds_of_april_2020_agree() -> None:
    text = METHOD.read_text()
    (f,) = map(float, re.findall(r"`f` = (0\.\d+) be", text))
    rows = table(METHOD, "place", "published share", "low", "high")
    published = {row["place"]: ratio(row["published share"]) for row in rows}
    whole = published | {"OTHER": 1 - sum(published.values())}
    located: Places = {(code, "measured"): f * s for code, s in whole.items()}
    cohort = cohort_of_members(Member("sample", "own", f, f, Rows.of(located)), network=1.0)
    found = Shares(place(cohort, BeliefsInForce(), (), None)).countries()
    lines = {line.code: line for line in found}
    for row in rows:
        line = lines[row["place"]]
        assert line.share == pytest.approx(ratio(row["published share"]))
        assert line.low == pytest.approx(ratio(row["low"]), abs=0.5e-4)
        assert line.high == pytest.approx(ratio(row["high"]), abs=0.5e-4)
    (gap,) = map(float, re.findall(r"= ([\d.]+) percentage points", text))
    level = f * (published["CN"] - published["US"]) / (1 - f)
    assert gap == pytest.approx(100 * level, abs=0.05)
