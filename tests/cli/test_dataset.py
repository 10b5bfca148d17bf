"""``miningmap dataset``: an edition to cite, from messages, in a folder."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from frictionless import Package
from pyarrow import parquet

from launch.dataset.messages import SortedMessages
from miningmap import __version__
from miningmap.cbeci.monthly_tables import POOL
from miningmap.licences import CC_BY_NC_SA
from miningmap.messages import decode, encode
from miningmap.times import rfc3339, utc_now
from tests.cli import editions
from tests.cli.editions import BELIEFS, contents, make, messages, rows, write, write_beliefs
from tests.streams.fixtures import report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
TABLES = ("shares", "windows", "cohort", "excluded", "placed", "beliefs")
FILES = {
    *(f"{table}.csv" for table in TABLES),
    *("beliefs.json", "messages.jsonl.gz", "datapackage.json"),
    *("CITATION.cff", "README.md", "SHA256SUMS"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "messages.jsonl", messages())


@pytest.fixture
def beliefs(tmp_path: Path) -> Path:
    return write_beliefs(tmp_path / "given.json")


# --- the same bytes -------------------------------------------------------------------------------


def test_the_same_messages_make_the_same_bytes_everywhere(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    digest = make(run, first, file, "--beliefs", beliefs, "--parquet")
    assert set(contents(first)) == FILES | {"shares.parquet"}

    # Others, at other times, in other places: another order, repetitions, gzip, other line ends.
    lines = file.read_bytes().splitlines()
    lines += lines[::7]
    random.Random(4).shuffle(lines)  # noqa: S311 - an order, no secret
    other = tmp_path / "other.jsonl.gz"
    with gzip.open(other, "wb") as opened:
        opened.write(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    second = tmp_path / "deep" / "second"
    second.mkdir(parents=True)
    words = ("--from", "2025-12-01", "--to", "2026-02-28T23:00:00Z", "-o", second)
    done = miningmap("dataset", *words, "--messages", other, "--beliefs", beliefs, "--parquet")
    assert done.returncode == 0, done.stderr
    assert contents(first) == contents(second)
    assert done.stdout == f"{digest}\n"


def miningmap(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in another process, as on another machine."""
    settings = {"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "launch", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | settings,
        timeout=120,
    )


def test_messages_that_do_not_fit_into_memory_are_sorted_all_the_same(tmp_path: Path) -> None:
    given = messages()[:400]
    random.Random(1).shuffle(given)  # noqa: S311 - an order, no secret
    found = SortedMessages(tmp_path, editions.START, utc_now(), part_bytes=3000)
    for message in [*given, *given[:50]]:
        found.add(message, encode(message))
    assert len(list(tmp_path.iterdir())) > 10
    lines = list(found.lines())
    assert sorted(lines) == sorted(map(encode, given))
    starts = [decode(line).start for line in lines]
    assert starts == sorted(starts)


def test_an_edition_can_be_made_again_from_itself(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    make(run, first, file, "--beliefs", beliefs)
    make(run, again, first / "messages.jsonl.gz", "--beliefs", first / "beliefs.json")
    assert contents(again) == contents(first)


def test_what_is_published_about_other_times_changes_nothing(
    run: Run, file: Path, tmp_path: Path
) -> None:
    """So an edition can be made again when more is known of other times."""
    first = make(run, tmp_path / "a", file, "--beliefs", write_beliefs(tmp_path / "a.json"))
    late = editions.START + timedelta(days=365)
    write(file, [*messages(), report("ocean", hashrate=1, start=late)])
    series = [{"from": "2026-06-01", "weights": {"BT": 1}}]
    later = BELIEFS | {"pools": [{"id": "p", "pool": "ocean", "kind": "prior", "series": series}]}
    other = write_beliefs(tmp_path / "b.json", later)
    assert make(run, tmp_path / "b", file, "--beliefs", other) == first


# --- the figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["month", "day"])
def test_every_figure_can_be_recomputed_from_the_edition_alone(
    run: Run, file: Path, beliefs: Path, tmp_path: Path, step: str
) -> None:
    edition = tmp_path / "edition"
    span = ("--from", "2026-01", "--to", "2026-03") if step == "month" else ()
    span = span or ("--from", "2026-01-02", "--to", "2026-01-05")
    make(run, edition, file, "--beliefs", beliefs, "--step", step, *span)
    windows = rows(edition, "windows")
    assert len(windows) == len(span) - 2 if step == "month" else len(windows) == 3
    shares = rows(edition, "shares")
    assert {row["level"] for row in shares} == {"country", "subdivision"}
    for window in windows:
        for country in ("", "CN", "US"):
            level = ("--level", "subdivision", "--country", country) if country else ()
            words = ("--window", window["window"], "--as-of", window["end"], *level)
            found = run(
                "recompute",
                edition / "messages.jsonl.gz",
                *("--beliefs", edition / "beliefs.json"),
                *words,
            )
            answer = json.loads(found.stdout)
            same = [
                row
                for row in shares
                if row["window"] == window["window"]
                and (row["level"] == "subdivision") == bool(country)
                and (not country or row["country"] == country)
            ]
            assert {row["code"]: figures_of(row) for row in same} == {
                row["code"]: flattened(row) for row in answer["shares"]
            }
        assert window["network"] == str(answer["network"]["hashrate"])
        assert window["coverage"] == str(answer["coverage"])
        placed = {r["belief_id"]: r["hashrate"] for r in rows(edition, "placed") if of(window, r)}
        assert placed == {b["id"]: str(b["hashrate"]) for b in answer["beliefs"]}
        cohort = {r["pool"]: r["source"] for r in rows(edition, "cohort") if of(window, r)}
        assert cohort == {each["pool"]: each["source"] for each in answer["cohort"]}
        excluded = {r["pool"]: r["reason"] for r in rows(edition, "excluded") if of(window, r)}
        assert excluded == {each["pool"]: each["reason"] for each in answer["excluded"]}


def of(window: dict[str, str], row: dict[str, str]) -> bool:
    return row["window"] == window["window"]


NOT_IN_ANSWERS = ("window", "start", "end", "level", "country", "simulated")


def figures_of(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in NOT_IN_ANSWERS}


def flattened(row: dict[str, Any]) -> dict[str, str]:
    """A row of the API as that of the table: unknown figures are empty."""
    found: dict[str, Any] = {"share_of_country": None, **row}
    for name in ("sensitivity", "belief"):
        least, most = found.pop(name) or (None, None)
        found |= {f"{name}_min": least, f"{name}_max": most}
    found |= {f"kinds_{kind}": value for kind, value in found.pop("kinds").items()}
    found["flags"] = " ".join(found["flags"])
    return {name: "" if value is None else str(value) for name, value in found.items()}


def test_a_pool_that_ends_is_listed_with_the_reason(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    make(run, tmp_path / "edition", file, "--beliefs", beliefs)
    excluded = rows(tmp_path / "edition", "excluded")
    assert [(r["window"], r["pool"], r["reason"]) for r in excluded] == [
        ("2026-01", "antpool", "thin"),
        ("2026-01", "luxor", "thin"),
        ("2026-02", "antpool", "stale"),
        ("2026-02", "luxor", "stale"),
        ("2026-02", "viabtc", "stale"),
    ]


# --- the descriptions -----------------------------------------------------------------------------


def test_frictionless_finds_no_fault_and_would_find_one(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    edition = tmp_path / "edition"
    make(run, edition, file, "--beliefs", beliefs, "--parquet")
    assert validated(edition) == []

    shares = edition / "shares.csv"
    text = shares.read_bytes()
    shares.write_bytes(text.replace(b"2025-12,", b"2024-12,", 1))
    assert {error for _, error in validated(edition)} >= {"hash-count", "foreign-key"}
    shares.write_bytes(text.replace(b",United States,", b",United States,x", 1))
    assert ("shares", "type-error") in validated(edition)
    lines = text.splitlines(keepends=True)
    shares.write_bytes(text + lines[-1])
    assert ("shares", "primary-key") in validated(edition)
    shares.write_bytes(text)
    archive = edition / "messages.jsonl.gz"
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[1:], mtime=0))
    assert ("messages", "hash-count") in validated(edition)


def validated(edition: Path) -> list[tuple[str, str]]:
    """The faults of a data package: the names of the resource and of the fault."""
    found = Package(str(edition / "datapackage.json")).validate()
    errors = [("", error.type) for error in found.errors]
    return errors + [(task.name, error.type) for task in found.tasks for error in task.errors]


def test_the_package_says_what_it_is_made_from(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    make(run, tmp_path / "edition", file, "--beliefs", beliefs)
    package = json.loads((tmp_path / "edition" / "datapackage.json").read_text())
    assert package["method"] == "2"
    assert package["software"] == {"name": "miningmap", "version": __version__}
    assert package["licenses"][0]["name"] == "CC-BY-4.0"
    sources = [(source["title"], source.get("path")) for source in package["sources"]]
    assert ("Two", "https://two.example/a_(b)") in sources
    assert ("Two", "https://two.example/c") in sources
    assert ("own, for foundryusa", None) in sources
    assert ("mempool, for the network's hashrate", None) in sources
    assert ("One", "https://one.example/table") in sources
    assert ("A filing, page 7", None) in sources
    fields = package["resources"][0]["schema"]["fields"]
    assert all(field["description"] for field in fields)
    units = {field["name"]: field.get("unit") for field in fields}
    assert (units["share"], units["kinds_measured"], units["code"]) == ("ratio", "H/s", None)


def test_the_citation_is_valid_and_names_the_edition(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    edition = tmp_path / "edition"
    digest = make(run, edition, file, "--beliefs", beliefs)
    assert is_valid_citation(edition / "CITATION.cff")
    citation = yaml.safe_load((edition / "CITATION.cff").read_text())
    assert citation["version"] == digest
    assert citation["date-released"] == "2026-03-01"
    assert citation["title"] == "Where Bitcoin is mined, 2025-12 to 2026-02, by month"
    (edition / "CITATION.cff").write_text('cff-version: "1.2.0"\ntitle: "No authors"\n')
    assert not is_valid_citation(edition / "CITATION.cff")


def test_the_citation_of_the_software_is_valid() -> None:
    assert is_valid_citation(ROOT / "CITATION.cff")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def is_valid_citation(path: Path) -> bool:
    command = ["check-jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    checker = Path(sys.executable).with_name(command[0])
    words = [str(checker), *command[1:], "--force-filetype", "yaml", str(path)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def test_the_digest_follows_from_the_hashes(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    edition = tmp_path / "edition"
    digest = make(run, edition, file, "--beliefs", beliefs)
    readme = (edition / "README.md").read_text()
    (check, again) = (line for line in readme.splitlines() if "sha256sum" in line)
    for command, expected in ((check, "CITATION.cff: OK"), (again, digest)):
        words = ["sh", "-c", command]
        done = subprocess.run(words, cwd=edition, check=True, capture_output=True, text=True)
        assert expected in done.stdout
    assert digest in readme


def test_parquet_has_the_figures_of_the_csv_with_types(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    edition = tmp_path / "edition"
    make(run, edition, file, "--beliefs", beliefs, "--parquet")
    table = parquet.read_table(edition / "shares.parquet")
    assert str(table.schema.field("start").type) == "timestamp[ms, tz=UTC]"
    assert str(table.schema.field("share").type) == "double"
    assert table.schema.field("share").metadata[b"unit"] == b"ratio"
    assert [
        {name: as_text(value) for name, value in row.items()} for row in table.to_pylist()
    ] == rows(edition, "shares")


def as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return rfc3339(value)
        case _:
            return str(value)


def test_simulated_data_says_so_everywhere(run: Run, file: Path, tmp_path: Path) -> None:
    text = file.read_text().replace('"simulated":false', '"simulated":true')
    file.write_text(text)
    edition = tmp_path / "edition"
    make(run, edition, file)
    assert {row["simulated"] for row in rows(edition, "shares")} == {"true"}
    for name in ("README.md", "CITATION.cff", "datapackage.json"):
        assert "Simulated: Where Bitcoin is mined" in (edition / name).read_text()


# --- the licence ----------------------------------------------------------------------------------


def with_cambridge() -> Sequence[Any]:
    start = editions.START
    return [*messages(), report(POOL, {"IS": 1e18}, start=start, end=start + timedelta(days=31))]


def test_cambridges_tables_keep_cambridges_licence(run: Run, file: Path, tmp_path: Path) -> None:
    write(file, with_cambridge())
    make(run, tmp_path / "edition", file)
    package = json.loads((tmp_path / "edition" / "datapackage.json").read_text())
    assert package["licenses"] == [
        {"name": CC_BY_NC_SA.spdx, "title": CC_BY_NC_SA.title, "path": CC_BY_NC_SA.url}
    ]
    readme = (tmp_path / "edition" / "README.md").read_text()
    assert "Cambridge Centre for Alternative Finance" in readme
    # A month of other data alone is as free as ever.
    make(run, tmp_path / "later", file, "--from", "2026-02", "--to", "2026-03")
    assert "CC-BY-4.0" in (tmp_path / "later" / "CITATION.cff").read_text()
    assert "covers 1 window and is" in (tmp_path / "later" / "README.md").read_text()


def test_a_freer_licence_is_refused_with_cambridges_tables(
    run: Run, file: Path, tmp_path: Path
) -> None:
    make(run, tmp_path / "free", file, "--licence", "CC0-1.0")
    assert "CC0-1.0" in (tmp_path / "free" / "CITATION.cff").read_text()
    write(file, with_cambridge())
    result = refused(run, file, tmp_path, "--licence", "CC-BY-4.0")
    assert result == (
        "--licence: Cambridge's tables (pool cbeci-sample) are among the messages; what is made "
        "from them can only be under CC-BY-NC-SA-4.0"
    )


# --- wrong usage ----------------------------------------------------------------------------------

SPAN = ("--from", "2025-12", "--to", "2026-03")


def refused(
    run: Run, file: Path, folder: Path, *words: str | Path, code: int = 2, span: Any = SPAN
) -> str:
    """The error; nothing is left of the edition."""
    output = folder / "edition"
    result = run("dataset", *span, "-o", output, "--messages", file, *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert not output.exists()
    assert not list(folder.glob(".*"))
    return result.stderr.splitlines()[-1].removeprefix("miningmap: ")


@pytest.mark.parametrize(
    ("span", "error"),
    [
        (("--from", "2025-12"), "Missing option '--to'"),
        (("--to", "2025-12"), "Missing option '--from'"),
        (("--from", "2025-13", "--to", "2026-01"), "--from: '2025-13' is no month, no date and"),
        (("--from", "2026-01", "--to", "2026-01"), "--from: 2026-01-01T00:00:00Z must be before"),
        (("--from", "2026-01", "--to", "9999-01"), "--to: "),
    ],
)
def test_a_wrong_range_is_named(
    run: Run, file: Path, tmp_path: Path, span: tuple[str, ...], error: str
) -> None:
    assert refused(run, file, tmp_path, span=span).startswith(error)


def test_months_that_are_not_over_are_told(run: Run, file: Path, tmp_path: Path) -> None:
    this = f"{utc_now():%Y-%m}"
    error = refused(run, file, tmp_path, span=("--from", "2025-12", "--to", "9999-01"))
    assert error == f"--to: {this} is not over; the latest possible is --to {this}"


def test_a_wrong_line_is_named(run: Run, file: Path, tmp_path: Path) -> None:
    with file.open("a") as opened:
        opened.write('{"schema":"report/2"}\n')
    line = len(messages()) + 1
    assert refused(run, file, tmp_path).startswith(f"{file}: line {line}: schema: unknown schema")
    file = file.with_suffix(".gz")
    file.write_bytes(gzip.compress(b"{}")[:-1])
    assert refused(run, file, tmp_path).startswith(f"{file}: is not a complete gzip file")


def test_without_messages_there_is_no_edition(run: Run, file: Path, tmp_path: Path) -> None:
    span = ("--from", "2020-01", "--to", "2020-02")
    error = refused(run, file, tmp_path, span=span, code=1)
    assert error.startswith("no message is about 2020-01; ")
    write(file, [message for message in messages() if message.source == "mempool"])
    error = refused(run, file, tmp_path, code=1)
    assert error.startswith("nothing is known of 2025-12 to 2026-02")


def test_what_is_there_is_never_replaced(run: Run, file: Path, tmp_path: Path) -> None:
    there = tmp_path / "edition"
    there.mkdir()
    (there / "note").write_text("mine")
    result = run("dataset", *SPAN, "-o", there, "--messages", file)
    assert result.exit_code == 2
    assert result.stderr == f"miningmap: -o {there}: exists and is not an empty folder\n"
    assert contents(there) == {"note": b"mine"}
    result = run("dataset", *SPAN, "-o", tmp_path / "no" / "such", "--messages", file)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"-o {tmp_path / 'no' / 'such'}: No such file or directory\n")


def test_messages_can_come_from_a_pipe(run: Run, file: Path, beliefs: Path, tmp_path: Path) -> None:
    """As from ``<(zcat *.gz)``."""
    expected = make(run, tmp_path / "file", file, "--beliefs", beliefs)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(file.read_bytes()), daemon=True)
    writer.start()
    assert make(run, tmp_path / "from-pipe", pipe, "--beliefs", beliefs) == expected


def test_a_mount_point_is_refused_before_anything_is_computed(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty volume of a container is one: no folder can be put in its place."""
    there = tmp_path / "volume"
    there.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == there)
    result = run("dataset", *SPAN, "-o", there, "--messages", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: -o {there}: is a mount point, which cannot be replaced; expected a folder "
        f"inside it, such as {there / 'edition'}\n"
    )
    assert list(there.iterdir()) == []


def test_impossible_messages_are_left_out_and_counted(run: Run, file: Path, tmp_path: Path) -> None:
    clean = make(run, tmp_path / "clean", file)
    with file.open("ab") as opened:
        opened.write(encode(report("ocean", hashrate=0, start=editions.START)))
    result = run("dataset", *SPAN, "-o", tmp_path / "edition", "--messages", file)
    assert result.stdout.strip() == clean
    assert (
        "1 message left out: totals of 0, before Bitcoin's first block, or too large\n"
        in result.stderr
    )


def test_beliefs_that_cannot_be_used_are_named(run: Run, file: Path, tmp_path: Path) -> None:
    wrong = write_beliefs(tmp_path / "wrong.json", {"rules": [{"id": "x", "place": "CN"}]})
    assert "applies_to" in refused(run, file, tmp_path, "--beliefs", wrong)


# --- docs/dataset.md ------------------------------------------------------------------------------


def test_the_documented_way_to_read_an_edition_keeps_namibia(
    run: Run, file: Path, beliefs: Path, tmp_path: Path
) -> None:
    """Readers of tables take its code, NA, for an unknown value."""
    start = editions.START
    month = report("f2pool", {"NA": 5e18}, start=start, end=start + timedelta(days=31))
    write(file, [*messages(), month])
    edition = tmp_path / "edition"
    make(run, edition, file, "--beliefs", beliefs)
    text = (ROOT / "docs" / "dataset.md").read_text()
    script = text.partition("```python\n")[2].partition("```")[0]
    script += "print(list(countries[countries.name == 'Namibia'].code), shares.low.dtype)\n"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=edition, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("['NA'] float64\n")
