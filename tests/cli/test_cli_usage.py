"""Properties of every command: fast help, exit codes, one line for each error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from launch.cli import main
from launch.cli.extras import EXTRAS
from miningmap import __version__
from miningmap.settings import Endpoint
from tests.cases import all_cases

if TYPE_CHECKING:
    from tests.cli.conftest import Run

DEADLINE_S = 30
RECORDED = Path(__file__).parent.parent / "recordings" / "pools" / "ocean" / "ok"
COMMANDS = (
    *("demo", "up", "collector", "streams", "endpoint", "topics"),
    *("sources", "pools", "try", "publish", "import-history", "export"),
    *("recompute", "swings", "dataset"),
)
HELP_OF_ALL = """
import json, sys, time
from launch.cli import main
for words in ([], *([name] for name in main.commands)):
    main([*words, "--help"], standalone_mode=False)
print(json.dumps({"cpu_s": time.process_time(), "modules": sorted(sys.modules)}), file=sys.stderr)
"""
# Not needed for help: packages that may not be installed, and those that take long to import.
HEAVY = {"httpx", "pycountry"}.union(*EXTRAS.values())


def miningmap(
    *words: str, stdout: IO[str] | int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a separate process."""
    return subprocess.run(
        [sys.executable, "-m", "launch", *words],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": ""},  # as for users
        text=True,
        timeout=DEADLINE_S,
    )


def test_help_takes_less_than_a_second_and_imports_no_heavy_package() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    used = json.loads(ran.stderr)
    assert HEAVY.intersection(used["modules"]) == set()
    assert used["cpu_s"] < 1
    assert ran.stdout.count("--help") == 1 + len(main.commands)


def test_the_commands_of_the_contract_exist() -> None:
    assert set(COMMANDS) <= set(main.commands)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_a_help_text(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: miningmap {name} ")
    assert main.commands[name].help
    assert run(name, "-h").stdout == result.stdout


def test_a_process_ends_with_an_exit_code_and_without_a_traceback() -> None:
    fine = miningmap("--version")
    assert (fine.returncode, fine.stderr) == (0, "")
    assert __version__ in fine.stdout
    wrong = miningmap("recompute", "--frobnicate")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("miningmap: No such option: --frobnicate")
    failed = miningmap("try", "ocean", "--payload", __file__)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("miningmap: ")
    assert [wrong.stderr.count("\n"), failed.stderr.count("\n")] == [1, 1]


@all_cases(
    "words",
    [
        ["--help"],
        ["--version"],
        ["partner", "--help"],
        ["recompute", "--help"],
        ["sources"],
        ["sources", "--json"],
        ["sources", "--markdown"],
        ["try", "ocean", "--payload", str(RECORDED)],
    ],
)
def test_a_full_disk_is_one_line_and_a_closed_pipe_or_output_is_silent(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        failed = miningmap(*words, stdout=full)
    assert (failed.returncode, failed.stderr) == (
        1,
        "miningmap: cannot write: No space left on device; the output is incomplete\n",
    )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        assert miningmap(*words, stdout=closed).stderr == ""
    shell = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "launch", *words],
        check=False,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
    )
    assert (shell.returncode, shell.stderr) == (0, b"")


def test_without_a_command_all_commands_are_listed(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert [name for name in COMMANDS if f"\n  {name} " not in result.stderr] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see miningmap --help"),
        (["--frobnicate"], "No such option: --frobnicate; see miningmap --help"),
        (["recompute"], "Missing argument 'FILE'; see miningmap recompute --help"),
        (["recompute", __file__], "Missing option '--as-of'; see miningmap recompute --help"),
        (
            ["recompute", "no.jsonl", "--as-of", "2026-11-22T15:00:00Z"],
            "Invalid value for 'FILE': File 'no.jsonl' does not exist; see miningmap recompute -",
        ),
        (
            ["--config", "no.toml", "sources"],
            "Invalid value for '--config': File 'no.toml' does not exist; see miningmap --help",
        ),
        (
            ["demo", "--port", "99999"],
            "Invalid value for '--port': 99999 is not in the range 1<=x<=65535; see miningmap demo",
        ),
        (["up", "--for", "long"], "Invalid value for '--for': 'long' is not a valid float; "),
        (["topics", "--replication-factor", "x"], "Invalid value for '--replication-factor': "),
        (
            ["demo", "--scenario", "quiet"],
            "--scenario: unknown scenario 'quiet'; expected one of: calm",
        ),
    ],
)
def test_wrong_usage_is_one_line_that_names_it(run: Run, words: list[str], line: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"miningmap: {line}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["collector"],
        ["streams"],
        ["endpoint"],
        ["topics"],
        ["sources"],
        ["pools"],
        ["try", "ocean"],
        ["demo"],
        ["up"],
    ],
)
def test_an_unknown_setting_is_one_line_that_names_it(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_ENDPOINT__PROT", "80")
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    names = ", ".join(Endpoint.model_fields)
    assert "port" in names
    assert result.stderr == (
        f"miningmap: MININGMAP_ENDPOINT__PROT: unknown setting; expected one of: {names}\n"
    )


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_port_that_is_taken_ends_the_command_at_once(run: Run, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run(command, "--port", str(port))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: --port: cannot listen at 127.0.0.1:{port} for the page: "
        "Address already in use; choose another\n"
    )


def test_the_file_of_the_option_config_is_read(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "miningmap.toml"
    config.write_text('[collector]\nsources = ["ocean"]\n')
    rows = json.loads(run("--config", config, "sources", "--json").stdout)
    assert [row["slug"] for row in rows if row["state"] == "on"] == ["ocean"]
    config.write_text('[log]\n[collector]\nsources = ["ocaen"]\n')
    wrong = run("--config", config, "sources")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(
        f"miningmap: --config {config}, line 3: collector.sources: unknown source 'ocaen'"
    )
    config.write_text("[collector\n")
    result = run("--config", config, "sources")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"miningmap: --config {config}: ")
