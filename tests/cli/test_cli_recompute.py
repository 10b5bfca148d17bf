"""``miningmap recompute``: the answer of /api/v1/shares from a file, without any server."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from miningmap.settings import Method
from streams.beliefs import BeliefOptions
from tests.beliefs.documents import network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Run

AS_OF = ("--as-of", "2026-11-22T15:00:00Z")
# The fields of /api/v1/shares, in their order.
FIELDS = [
    *("window", "level", "country", "as_of", "adjust", "prior", "rules", "simulated", "network"),
    *("coverage", "located", "measured_coverage", "declared_coverage", "evidence", "beliefs"),
    *("cohort", "excluded", "shares"),
]


@pytest.fixture
def answer(run: Run, messages: Path) -> Callable[..., Any]:
    """Return the printed JSON; the command prints nothing else."""

    def recompute(*options: str | Path) -> Any:
        result = run("recompute", messages, *AS_OF, *options)
        assert result.exit_code == 0, result.stderr
        assert result.stderr == ""
        return json.loads(result.stdout)

    return recompute


RULES = [{"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}]
# The pool does not locate 40 EH/s of 200, and has no measured profile of earlier days.
OWN = {
    "id": "pools/foundryusa",
    "pool": "foundryusa",
    "kind": "declared",
    "series": [{"from": "2026-01-01", "weights": {"CN": 10, "CA": 1, "US": 9}}],
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"pools": [OWN]}))
    return path


def test_a_total_of_0_says_nothing(run: Run, messages: Path) -> None:
    """In the live system it is a dead letter."""
    before = run("recompute", messages, *AS_OF)
    assert before.stderr == ""
    lines = [json.loads(line) for line in messages.read_text().splitlines() if line]
    with messages.open("a") as file:
        for sent in lines:
            nothing = sent | {"hashrate": 0, "fetched_at": "2026-11-22T15:00:03Z"}
            if "places" in sent:
                nothing["places"] = []
            file.write(json.dumps(nothing) + "\n")
    after = run("recompute", messages, *AS_OF)
    assert (after.exit_code, after.stdout) == (0, before.stdout)
    assert (
        after.stderr
        == "3 messages left out: totals of 0, before Bitcoin's first block, or too large\n"
    )


def by_code(answer: Any, figure: str = "share") -> dict[str, Any]:
    return {row["code"]: row[figure] for row in answer["shares"]}


def test_the_answer_has_the_shape_of_the_api(answer: Callable[..., Any]) -> None:
    found = answer()
    assert list(found) == FIELDS
    assert found["window"] == "1h"
    assert found["level"] == "country"
    assert found["country"] is None
    assert found["as_of"] == "2026-11-22T15:00:00Z"
    assert found["simulated"] is True
    assert found["network"] == {"hashrate": 800e18, "source": "mempool"}
    assert found["cohort"] == [{"pool": "foundryusa", "source": "partner"}]
    assert found["excluded"] == [{"pool": "ocean", "reason": "thin"}]
    assert sum(by_code(found).values()) == pytest.approx(1, abs=1e-9)
    assert found["coverage"] == pytest.approx(200 / 800)


def kinds(answer: Any) -> dict[str, dict[str, float]]:
    """The kinds of each place that have hashrate, in EH/s."""
    return {
        code: {kind: h / 1e18 for kind, h in split.items() if h}
        for code, split in by_code(answer, "kinds").items()
    }


BY_OWN = {"CN": {"measured": 100}, "US": {"measured": 60, "declared": 30}, "CA": {"declared": 10}}


def test_beliefs_replace_the_configured_ones(answer: Callable[..., Any], own: Path) -> None:
    assert len(answer()["beliefs"]) > 1
    found = answer("--beliefs", own)
    assert kinds(found) == {code: pytest.approx(split) for code, split in BY_OWN.items()}
    assert found["beliefs"] == [
        {"id": "pools/foundryusa", "kind": "declared", "hashrate": pytest.approx(40e18)}
    ]


def test_a_folder_of_beliefs_is_all_of_its_files(
    answer: Callable[..., Any], own: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    own.rename(folder / own.name)
    (folder / "rules.json").write_text(json.dumps({"rules": RULES}))
    found = answer("--beliefs", folder)
    assert found["rules"] == ["cn-zhejiang"]
    assert kinds(found) == {code: pytest.approx(split) for code, split in BY_OWN.items()}


def test_without_beliefs_the_answer_is_what_reports_say(
    answer: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    found = answer("--beliefs", tmp_path / "none")
    assert kinds(found) == {"CN": {"measured": 100}, "US": {"measured": 60}}
    assert (found["beliefs"], found["evidence"]) == ([], 1)
    assert found["located"] == pytest.approx(0.8)


def test_the_network_prior_is_chosen_by_its_id(
    answer: Callable[..., Any], run: Run, messages: Path, tmp_path: Path
) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"network": [network("n", KZ=1)]}))
    assert "KZ" in by_code(answer("--beliefs", path, "--prior", "n"))
    assert "KZ" not in by_code(answer("--beliefs", path, "--prior", "none"))
    result = run("recompute", messages, *AS_OF, "--beliefs", path, "--prior", "m")
    assert result.exit_code == 2
    assert result.stderr == (
        "miningmap: --prior: unknown network prior 'm'; expected one of: default, none, n\n"
    )


def test_a_belief_about_a_pool_that_nobody_knows_is_told(
    run: Run, messages: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"pools": [OWN | {"pool": "foundry"}]}))
    result = run("recompute", messages, *AS_OF, "--beliefs", path)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["shares"]
    assert result.stderr == (
        "miningmap: beliefs name an unknown pool 'foundry'; near matches: foundryusa "
        "(Foundry USA)\n"
    )


def test_rules_are_applied_unless_adjust_is_none(
    answer: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"rules": RULES}))
    china = ("--level", "subdivision", "--country", "CN", "--beliefs", path)
    ruled = answer(*china)
    assert ruled["rules"] == ["cn-zhejiang"]
    assert by_code(ruled, "share_of_country") == pytest.approx({"CN-SC": 1.0})
    unruled = answer(*china, "--adjust", "none")
    assert unruled["rules"] == []
    assert by_code(unruled, "share_of_country") == pytest.approx({"CN-SC": 0.8, "CN-ZJ": 0.2})


def test_a_window_without_data_is_an_answer_without_shares(answer: Callable[..., Any]) -> None:
    found = answer("--window", "2024-02")
    assert found["shares"] == []
    assert found["network"] is found["coverage"] is found["located"] is None


def test_the_configured_beliefs_are_used(
    run: Run, messages: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_METHOD__BELIEFS", str(own))
    monkeypatch.setenv("MININGMAP_METHOD__SHIPPED_BELIEFS", "false")
    found = json.loads(run("recompute", messages, *AS_OF).stdout)
    assert kinds(found) == {code: pytest.approx(split) for code, split in BY_OWN.items()}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--window", "2h"], "--window: unknown window '2h'; expected one of: now, 1h, 24h, 7d"),
        (["--level", "city"], "--level: 'city' is not allowed; expected one of: country"),
        (["--level", "subdivision"], "--country: level=subdivision requires a country"),
        (["--country", "CN"], "--country: a country is allowed only with level=subdivision"),
        (["--level", "subdivision", "--country", "ZZ"], "--country: unknown country 'ZZ'"),
        (["--adjust", "mine"], "--adjust: 'mine' is not allowed; expected one of: published"),
        (
            ["--as-of", "2026-11-22T15:00:00"],
            "--as-of: '2026-11-22T15:00:00' is not a time with a time zone",
        ),
        (["--as-of", "noon"], "--as-of: 'noon' is not a time with a time zone (RFC 3339)"),
        (["--as-of", ""], "--as-of: expected a time such as 2026-11-22T15:00:00Z"),
    ],
)
def test_a_bad_parameter_is_named(run: Run, messages: Path, options: list[str], line: str) -> None:
    result = run("recompute", messages, *AS_OF, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {line}")
    assert result.stderr.count("\n") == 1


def test_a_bad_line_is_named(run: Run, messages: Path) -> None:
    with messages.open("a") as file:
        file.write('{"schema":"report/2"}\n')
    result = run("recompute", messages, *AS_OF)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: {messages}: line 5: schema: unknown schema 'report/2'; "
        "expected one of: report/1, network/1\n"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "Expected `object`, got `array`"),
        ("{", "truncated"),
        ('{"rules": [{"id": "x", "place": "CN", "applies_to": "*"}]}', "'CN' is not a subdivision"),
    ],
)
def test_a_bad_file_of_beliefs_is_named(
    run: Run, messages: Path, tmp_path: Path, text: str, error: str
) -> None:
    path = tmp_path / "beliefs.json"
    path.write_text(text)
    result = run("recompute", messages, *AS_OF, "--beliefs", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("miningmap: ")
    assert error in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_named(run: Run, messages: Path) -> None:
    result = run("recompute", messages, *AS_OF, "--beliefs", "no.json")
    assert result.exit_code == 2
    assert "Invalid value for '--beliefs': Path 'no.json' does not exist" in result.stderr


def test_the_defaults_of_the_base_install_equal_those_of_the_settings() -> None:
    options = asdict(BeliefOptions())
    assert set(options) == set(Method.model_fields)
    assert Method(**options) == Method()


def test_a_missing_configured_file_is_named(
    run: Run, messages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_METHOD__BELIEFS", "no-beliefs.toml")
    result = run("recompute", messages, *AS_OF)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "miningmap: no-beliefs.toml: No such file or directory\n"
