"""``miningmap compare``: published figures beside the answers of a file of messages."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from msgspec.structs import replace

from miningmap.messages import Located, Report, decode_lines, encode
from streams.queries.compare import Comparison, Verdict, percent
from streams.queries.figures import COLUMNS
from tests.cases import all_cases
from tests.cbeci.test_monthly_tables import PUBLISHED, PUBLISHED_PROVINCES
from tests.test_docs import ROOT, example, section_of, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Run

COMPARE = ROOT / "docs" / "compare.md"
AS_OF = ("--as-of", "2026-11-22T15:00:00Z")
FIGURES = """\
code,window,share,share_low,share_high,hashrate,of,source
CN-SC,1h,54%,,,,,"CoinShares, December 2019"
US,1h,,80%,90%,,,an analyst
CN-SC,1h,5%,,,,country,a survey
CN,2019-12,54%,,,,,an older report
KZ,1h,,,,50 EH/s,,a company
"""
MONTHS = """\
date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S
2019-12-01,Mainland China,80.00%,80.00
2019-12-01,Other,20.00%,20.00
"""
PROVINCES = """\
Date,Province,Share of Chinese hashrate
2019-12-01,Sichuan,25.00
2019-12-01,Xinjiang,65.00
2019-12-01,Other,10.00
"""


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    path = tmp_path / "figures.csv"
    path.write_text(FIGURES)
    return path


@pytest.fixture
def no_beliefs(tmp_path: Path) -> Path:
    folder = tmp_path / "none"
    folder.mkdir()
    return folder


@pytest.fixture
def compared(run: Run, figures: Path, messages: Path, no_beliefs: Path) -> Callable[..., Any]:
    def compare(*options: str | Path) -> Any:
        words = ("compare", figures, "--messages", messages, *AS_OF, "--beliefs", no_beliefs)
        result = run(*words, *options)
        assert result.exit_code == 0, result.stderr
        return result

    return compare


def test_each_figure_has_a_verdict_and_its_reason(compared: Callable[..., Any]) -> None:
    result = compared()
    assert result.stdout == (
        "line 2: Sichuan (CN-SC), 1h: 54 % of the world - CoinShares, December 2019\n"
        "  inside: What was measured allows 10 % to 90 %; 54 % needs 55 % of the hashrate that may "
        "or may not be there.\n"
        "  this map: 50 %; bounds: 10 % to 90 %; declared bounds: 10 % to 90 % (inside); "
        "evidence: 100 %; coverage: 25 %\n"
        "  The data of this map is simulated.\n"
        "\n"
        "line 3: United States (US), 1h: 80 % to 90 % of the world - an analyst\n"
        "  partly: What was measured allows 7.5 % to 87.5 %: of 80 % to 90 %, only 80 % to 87.5 % "
        "is possible.\n"
        "  this map: 37.5 %; bounds: 7.5 % to 87.5 %; declared bounds: 7.5 % to 87.5 % (partly); "
        "evidence: 100 %; coverage: 25 %\n"
        "  The data of this map is simulated.\n"
        "\n"
        "line 4: Sichuan (CN-SC), 1h: 5 % of China - a survey\n"
        "  outside: At least 10.81 % of China is there, by what was measured.\n"
        "  this map: 80 %; bounds: 10.81 % to 97.3 %; declared bounds: 10.81 % to 97.3 % "
        "(outside); evidence: 100 %; coverage: 25 %\n"
        "  The data of this map is simulated.\n"
        "\n"
        "line 5: China (CN), 2019-12: 54 % of the world - an older report\n"
        "  cannot say: No pool has data in the window 2019-12, and the network's hashrate is "
        "unknown.\n"
        "  this map: unknown; bounds: unknown; declared bounds: unknown (cannot say); "
        "evidence: unknown; coverage: unknown\n"
        "\n"
        "line 6: Kazakhstan (KZ), 1h: 50 EH/s - a company\n"
        "  inside: What was measured allows 0 % to 80 %; 6.25 % needs 7.812 % of the hashrate that "
        "may or may not be there.\n"
        "  this map: unknown; bounds: 0 % to 80 %; declared bounds: 0 % to 80 % (inside); "
        "evidence: unknown; coverage: 25 %\n"
        "  The data of this map is simulated.\n"
    )
    assert result.stderr == (
        "5 figures: 2 inside, 1 partly, 1 outside, 1 cannot say\n"
        "where the network's hashrate is unknown, --coverage states which part of the network the "
        "pools are\n"
    )


def test_a_source_can_neither_begin_a_line_nor_control_a_terminal(
    figures: Path, compared: Callable[..., Any]
) -> None:
    figures.write_text(
        'code,window,source,share\nCN-SC,1h,"x\n  outside: \x1b[31mfalse\u202e",54%\n'
    )
    lines = compared().stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith(" of the world - x   outside: \ufffd[31mfalse\ufffd")


def test_json_and_csv_have_every_field(compared: Callable[..., Any]) -> None:
    rows = json.loads(compared("--json").stdout)
    assert [list(row) for row in rows] == [list(Comparison.__struct_encode_fields__)] * 5
    assert [row["verdict"] for row in rows] == [
        *("inside", "partly", "outside", "cannot say", "inside")
    ]
    assert rows[0]["as_of"] == "2026-11-22T15:00:00Z"
    assert (rows[0]["adjust"], rows[0]["prior"], rows[0]["simulated"]) == (
        *("published", "default"),
        True,
    )
    table = list(csv.DictReader(io.StringIO(compared("--csv").stdout)))
    assert [row["source"] for row in table] == [row["source"] for row in rows]
    assert [row["reason"] for row in table] == [row["reason"] for row in rows]
    assert float(table[0]["high"]) == rows[0]["high"] == pytest.approx(0.9)
    assert (table[3]["high"], table[3]["belief_min"]) == ("", "")


def test_the_parameters_of_the_answer_are_those_of_recompute(
    compared: Callable[..., Any], run: Run, figures: Path, messages: Path, tmp_path: Path
) -> None:
    rule = {"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}
    series = [{"from": "2026-01-01", "weights": {"KZ": 1}}]
    network = [{"id": "n", "series": series}]
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"rules": [rule], "network": network}))
    low = {
        adjust: json.loads(compared("--json", "--beliefs", path, "--adjust", adjust).stdout)[0]
        for adjust in ("published", "none")
    }
    assert low["published"]["low"] == pytest.approx(100 / 800)
    assert low["none"]["low"] == pytest.approx(80 / 800)
    kazakhstan = json.loads(compared("--json", "--beliefs", path, "--prior", "n").stdout)[4]
    assert (kazakhstan["prior"], kazakhstan["share"]) == ("n", pytest.approx(0.2))
    result = run("compare", figures, "--messages", messages, "--prior", "mine")
    assert result.exit_code == 2
    assert result.stderr.startswith("miningmap: --prior: unknown network prior 'mine'")


def test_months_of_a_sample_have_bounds_by_a_stated_coverage(
    run: Run, figures: Path, tmp_path: Path
) -> None:
    """On paper: 20 % of the sample is in Sichuan, 8 % elsewhere in China, 37 % is the sample."""
    tables = []
    for name, text in (("countries", MONTHS), ("provinces", PROVINCES)):
        tables.append(tmp_path / f"{name}.csv")
        tables[-1].write_text(text)
    months = tmp_path / "months.jsonl"
    assert run("import-history", *tables, "--output", months).exit_code == 0
    figures.write_text(
        "code,window,share,of,source\n"
        "CN-SC,2019-12,54%,world,x\nCN-SC,2019-12,83%,country,x\nKZ,2019-12,71%,world,x\n"
    )
    words = ("compare", figures, "--messages", months, "--json")
    unknown = json.loads(run(*words).stdout)
    assert {row["verdict"] for row in unknown} == {"cannot say"}
    for coverage in ("0.37", "37%"):
        result = run(*words, "--coverage", coverage)
        assert result.stderr == "3 figures: 2 outside, 1 inside\n"
        sichuan, part, kazakhstan = json.loads(result.stdout)
        assert (sichuan["coverage"], sichuan["coverage_stated"]) == (pytest.approx(0.37), True)
        assert sichuan["low"] == pytest.approx(0.37 * 0.20)
        assert sichuan["high"] == pytest.approx(0.37 * 0.28 + 0.63)
        assert part["high"] == pytest.approx((0.37 * 0.28 + 0.63) / (0.37 * 0.8 + 0.63))
        assert kazakhstan["high"] == pytest.approx(0.37 * 0.2 + 0.63)
    text = run("compare", figures, "--messages", months, "--coverage", "0.37").stdout
    assert text.count("coverage: 37 %, as stated") == 3


@all_cases(
    ("options", "line"),
    [
        ([], "give either --messages or --url"),
        (["--messages", "M", "--url", "http://127.0.0.1"], "give either --messages or --url"),
        (["--messages", "M", "--json", "--csv"], "give either --json or --csv, or neither"),
        (["--messages", "M", "--coverage", "0"], "--coverage: must be above 0"),
        (["--messages", "M", "--coverage", "37"], "--coverage: '37' is not a share; expected"),
        (["--messages", "M", "--adjust", "mine"], "--adjust: 'mine' is not allowed"),
        (["--messages", "M", "--as-of", "noon"], "--as-of: 'noon' is not a time"),
        (["--url", "example.org"], "--url: expected a URL such as https://map.example"),
        (["--url", "http://127.0.0.1", "--as-of", ""], "--as-of: expected a time such as"),
        (["--url", "http://map..example"], "--url: expected a URL such as https://map.example"),
        (["--url", f"http://{'a' * 64}.example"], "--url: expected a URL such as"),
        (
            ["--url", "http://127.0.0.1", "--coverage", "0.37"],
            "--coverage: a running map uses its own; give --messages",
        ),
        (
            ["--url", "http://127.0.0.1", "--beliefs", "M"],
            "--beliefs: a running map uses its own; give --messages",
        ),
    ],
)
def test_wrong_usage_is_one_line(
    run: Run, figures: Path, messages: Path, options: list[str], line: str
) -> None:
    result = run("compare", figures, *(messages if word == "M" else word for word in options))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {line}")
    assert result.stderr.count("\n") == 1


def test_all_errors_of_the_table_are_told_with_their_lines(
    run: Run, figures: Path, messages: Path
) -> None:
    figures.write_text(FIGURES.replace("CN-SC,1h,54%", "CN-XX,2h,54"))
    result = run("compare", figures, "--messages", messages)
    assert (result.exit_code, result.stdout) == (2, "")
    head, *lines = result.stderr.splitlines()
    assert head == "miningmap: 3 errors, nothing was compared:"
    assert [line.split(": ")[1:3] for line in lines] == [
        ["line 2", "code"],
        ["line 2", "window"],
        ["line 2", "share"],
    ]
    figures.write_bytes(b"code,window,source,share\nCN,now,caf\xe9,5%\n")
    result = run("compare", figures, "--messages", messages)
    assert result.exit_code == 2
    assert "not UTF-8; nothing was compared" in result.stderr


def test_a_map_that_does_not_answer_is_a_failure(run: Run, figures: Path) -> None:
    port = unused_port()
    result = run("compare", figures, "--url", f"http://me:secret@127.0.0.1:{port}")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"miningmap: http://127.0.0.1:{port}")
    assert "secret" not in result.stderr


async def test_a_server_that_is_no_map_is_a_failure(run: Run, figures: Path) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_get("/api/v1/shares", hello)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        result = await asyncio.to_thread(run, "compare", figures, "--url", url)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


# --- docs/compare.md ------------------------------------------------------------------------------

EXAMPLE = "Example: is 54 % in Sichuan possible?"


def test_the_documented_columns_are_those_of_the_table() -> None:
    rows = table(COMPARE, "column", "is")
    named = [name.strip("` ") for row in rows for name in row["column"].split(",")]
    assert sorted(named) == sorted(COLUMNS)


def test_the_documented_verdicts_are_all() -> None:
    rows = table(COMPARE, "verdict", "means")
    assert {row["verdict"].strip("`") for row in rows} == set(get_args(Verdict))


@pytest.fixture
def published_months(run: Run, tmp_path: Path) -> Path:
    """The messages of Cambridge's tables; that of the provinces as Cambridge writes it."""
    provinces = tmp_path / "provinces.csv"
    with PUBLISHED_PROVINCES.open(newline="") as opened:
        rows = [
            (f"{row['month']}-01", row["region_name"], row["share_pct"])
            for row in csv.DictReader(opened)
        ]
    lines = [f"{at},{'Other' if name.startswith('Other') else name},{x}" for at, name, x in rows]
    header = "Date,Province,Share of Chinese hashrate"
    provinces.write_text("\n".join([header, *lines, ""]))
    months = tmp_path / "months.jsonl"
    assert run("import-history", PUBLISHED, provinces, "--output", months).exit_code == 0
    return months


@pytest.mark.skipif(not PUBLISHED.exists(), reason="CBECI's own tables are not beside the project")
def test_the_documented_example_agrees_with_the_published_tables(
    run: Run, published_months: Path, figures: Path
) -> None:
    def verdicts(
        text: str, coverage: str = "0.37", messages: Path = published_months
    ) -> list[dict[str, Any]]:
        figures.write_text(text)
        options = ("--messages", messages, "--coverage", coverage, "--json")
        rows: list[dict[str, Any]] = json.loads(run("compare", figures, *options).stdout)
        return rows

    written = example(COMPARE, EXAMPLE, "csv")
    found = verdicts(written)
    documented = table(COMPARE, "figure", "of", "CoinShares", "sample", "low", "high", "verdict")
    for row, line in zip(found, documented, strict=True):
        figure = dict.fromkeys(percent(row[end]) for end in ("figure_low", "figure_high"))
        assert line == {
            "figure": row["code"],
            "of": row["of"],
            "CoinShares": " to ".join(figure),
            "sample": percent(row["share"]),
            "low": percent(row["low"]),
            "high": percent(row["high"]),
            "verdict": row["verdict"],
        }
    prose = " ".join(section_of(COMPARE, EXAMPLE).split())
    assert "needs 76.02 % of the hashrate" in found[0]["reason"]
    assert "76.02 % of the hashrate that the sample does not locate" in prose
    for coverage, expected in (
        ("0.30", ["inside", "inside", "partly"]),
        ("0.31", ["inside", "inside", "outside"]),
        ("0.55", ["inside", "inside", "outside"]),
        ("0.56", ["outside", "inside", "outside"]),
    ):
        assert [row["verdict"] for row in verdicts(written, coverage)] == expected
    for month, verdict in (("2019-09", "inside"), ("2019-10", "partly")):
        assert verdicts(written.replace("2019-12", month))[2]["verdict"] == verdict
    for ratio, verdict in ((0.20, "outside"), (0.21, "partly")):
        part = without_provinces(published_months, ratio)
        assert verdicts(written, messages=part)[2]["verdict"] == verdict


def without_provinces(months: Path, ratio: float) -> Path:
    """Messages in which the provinces of a part of China's hashrate are unknown."""
    lines = []
    for message in decode_lines(months.read_bytes().splitlines()):
        assert isinstance(message, Report)
        china = sum(p.hashrate for p in message.places if p.code.startswith("CN-"))
        places = [
            replace(p, hashrate=p.hashrate * (1 - ratio)) if p.code.startswith("CN-") else p
            for p in message.places
        ]
        if china:
            places.append(Located("CN", china * ratio, "measured"))
        lines.append(encode(replace(message, places=tuple(places), published=())))
    part = months.with_name("part.jsonl")
    part.write_bytes(b"\n".join(lines))
    return part
