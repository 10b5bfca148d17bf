"""``miningmap beliefs``: what is believed, and what is wrong with files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

OWN = """\
[[claims]]
id = "claims/own"
source = "https://own.example"
publisher = "a publisher with a name that is so long that it is cut"
place = "KZ"
at_least = 2.5e18
from = 2026-01-01
until = 2026-07-01
"""


def test_what_is_believed_today_is_listed(run: Run) -> None:
    result = run("beliefs")
    assert (result.exit_code, result.stderr) == (0, "")
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["id", "kind", "from", "until", "says", "figures"]
    assert lines[0].startswith("network/hashrate-index ")
    assert "part_of/luxor-account" in result.stdout


def test_the_day_and_the_settings_choose_the_beliefs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    monkeypatch.setenv("MININGMAP_METHOD__BELIEFS", str(tmp_path))
    with_shipped = run("beliefs", "--on", "2026-06-30").stdout
    assert "claims/own" in with_shipped
    assert "network/hashrate-index" in with_shipped
    monkeypatch.setenv("MININGMAP_METHOD__SHIPPED_BELIEFS", "false")
    (_, line) = run("beliefs", "--on", "2026-06-30").stdout.splitlines()
    assert line.split() == [
        *("claims/own", "declared", "2026-01-01", "2026-07-01"),
        *("a", "publisher", "with", "a", "name", "that", "is", "so", "…", "KZ", "2.5", "EH/s"),
    ]
    assert len(run("beliefs", "--on", "2026-07-01").stdout.splitlines()) == 1


def test_json_has_the_rows_of_the_api(run: Run) -> None:
    rows = json.loads(run("beliefs", "--json", "--on", "2026-11-27").stdout)
    by_id = {row["id"]: row for row in rows}
    claim = by_id["claims/riot-us-tx-2025-12"]
    assert claim["kind"] == "declared"
    assert claim["figures"] == {"US-TX": 1.89e19}
    assert (claim["from"], claim["until"]) == ("2025-12-30", "2026-12-30")
    assert {"source", "publisher", "published", "primary", "stated", "converted"} <= claim.keys()


@pytest.mark.parametrize("day", ["today", "2026-13-01", "2026-11-22T00:00:00Z"])
def test_a_wrong_day_is_a_usage_error_in_one_line(run: Run, day: str) -> None:
    result = run("beliefs", "--on", day)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "--on" in result.stderr


def test_beliefs_that_cannot_be_used_are_a_usage_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.toml").write_text("[[claims")
    monkeypatch.setenv("MININGMAP_METHOD__BELIEFS", str(tmp_path))
    result = run("beliefs")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "own.toml" in result.stderr


def test_check_lists_every_finding_by_file_and_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace('"KZ"', '"XX"').replace("2026-07", "2025-07") + 'pools = ["nope"]')
    result = run("beliefs", "check", file)
    assert result.exit_code == 1
    assert [line.split(" ")[0] for line in result.stdout.splitlines()] == [
        f"{file}:{line}:" for line in (5, 8, 9)
    ]
    assert result.stderr == "1 file, 3 findings\n"


def test_check_knows_pools_of_sources_and_the_shipped_claims(run: Run, tmp_path: Path) -> None:
    pools = 'pools = ["foundryusa", "nicehash-market", "luxor-account"]\n'
    text = OWN.replace('"KZ"', '"US-GA"') + pools + 'within = "claims/cleanspark-us-ga-2025-09"\n'
    (tmp_path / "own.toml").write_text(text)
    result = run("beliefs", "check", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 file, 0 findings\n"


def test_check_of_a_folder_without_files_fails(run: Run, tmp_path: Path) -> None:
    result = run("beliefs", "check", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path}: has no file of beliefs, which ends in .toml or .json\n"


def test_check_of_a_path_that_does_not_exist_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    result = run("beliefs", "check", tmp_path / "none.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


def test_options_of_the_list_are_refused_in_front_of_check(run: Run, tmp_path: Path) -> None:
    result = run("beliefs", "--on", "2026-01-01", "check", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "miningmap: --on: not allowed in front of check, which has options of its own; see "
        "miningmap beliefs check --help\n"
    )
