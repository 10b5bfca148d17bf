"""The steps of docs/add-a-pool.md work: a new source needs its own files and nothing else.

They run in a copy of the project, with the project's own tests, commands and simulation.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[2]
TUTORIAL: Final = ROOT / "docs" / "add-a-pool.md"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE: Final = re.compile(r"`([\w/-]+\.(?:py|json|toml))`:\s*$")
NIGHTLY: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

# The parts of `make check` that concern a source; a nightly run does all of it.
CHECKS: Final = (
    ".venv/bin/ruff format --check .",
    ".venv/bin/ruff check .",
    ".venv/bin/mypy collector/pools/examplepool.py",
    ".venv/bin/miningmap sources --markdown | diff - docs/sources.md",
)


def run(tree: Path, command: str, *, ok: bool = True, **env: str) -> str:
    """Run a command in the copy and return its output."""
    done = subprocess.run(
        ["bash", "-ec", command],  # noqa: S607
        cwd=tree,
        env=environment(tree) | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    if ok:
        assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def environment(tree: Path) -> dict[str, str]:
    """The variables in which Python finds the packages of the copy before the installed ones."""
    names = ("AUTHOR", "COMMITTER")
    git = {f"GIT_{n}_NAME": "a" for n in names} | {f"GIT_{n}_EMAIL": "a@b.example" for n in names}
    return {**os.environ, **git, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of the project as a git repository, with this Python's environment as its .venv."""
    tree = folder / "miningmap"
    hidden = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, tree, ignore=hidden)
    shutil.copy2(ROOT / ".gitignore", tree)
    if (cache := ROOT / ".mypy_cache").is_dir():
        shutil.copytree(cache, tree / cache.name)
    (tree / ".venv").symlink_to(sys.prefix)
    run(tree, "git init -q && echo .venv >> .git/info/exclude && git add . && git commit -qm copy")
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy in which the steps of the tutorial were run.

    They include the suite's tests of the new source, which find it by the name of its file.
    """
    with copied(tmp_path_factory.mktemp("tutorial")) as tree:
        outputs = [run(tree, command) for command in follow(tree, TUTORIAL.read_text())]
        assert any("10 passed" in output for output in outputs)
        yield tree


def follow(tree: Path, text: str, checks: Iterable[str] = CHECKS) -> Iterator[str]:
    """Write the files that the page shows, and yield its commands in their order.

    ``checks`` are the parts of ``make check`` that concern what the page adds.
    """
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        if language == "sh":
            yield from (shell(line, checks) for line in whole_commands(content))
        elif language in {"python", "json", "toml"}:
            name = FILE.search(text[: block.start()])
            assert name, f"no file is named above {content[:60]}"
            (tree / name[1]).write_text(content)
        else:
            assert language == "console", language


def whole_commands(block: str) -> list[str]:
    """The block as one command if it changes the folder, else each line as a command."""
    return [block] if re.search(r"^cd ", block, re.MULTILINE) else block.splitlines()


def shell(command: str, checks: Iterable[str]) -> str:
    """The command as it runs in the copy, whose environment is that of this test."""
    if command == "make check" and not NIGHTLY:
        return " && ".join(checks)
    return re.sub(r"^make ", "make -o .venv/.done ", command)  # .venv is complete


@contextmanager
def simulation(tree: Path, port: int) -> Iterator[str]:
    """The simulated pools' servers of the copy."""
    command = [sys.executable, "-m", "launch.simulation", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tree, env=environment(tree), stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def body(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - on loopback
                content: dict[str, Any] = json.load(response)
                return content
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_tutorial_changes_only_files_of_the_source_and_the_page_of_sources(tree: Path) -> None:
    assert run(tree, "git status --porcelain") == ""
    changed = run(tree, "git show --stat=200 --format= --name-status").splitlines()
    folder = "tests/recordings/pools/examplepool/"
    assert {line.split("\t")[1].removeprefix(folder) for line in changed if folder in line} == {
        *("ok", "empty", "error-as-200", "html", "changed-shape", "wrong-unit", "unknown-value"),
        *("truncated", "expected.json"),
    }
    assert [line for line in changed if folder not in line] == [
        "A\tcollector/pools/examplepool.py",
        "M\tdocs/sources.md",
    ]


def test_the_command_line_lists_the_source(tree: Path) -> None:
    rows = json.loads(run(tree, ".venv/bin/miningmap sources --json"))
    (row,) = [row for row in rows if row["slug"] == "examplepool"]
    assert (row["kind"], row["state"], row["poll_s"]) == ("pools", "on", 60)


def test_the_simulation_serves_the_source_and_the_collector_reads_it(
    tree: Path, unused_tcp_port: int
) -> None:
    with simulation(tree, unused_tcp_port) as url:
        content = body(f"{url}/pool.example/api/stats")
        assert content.keys() == {"hashrate", "unit", "updated"}
        command = ".venv/bin/miningmap try examplepool"
        message = json.loads(run(tree, command, MININGMAP_COLLECTOR__UPSTREAM=url))
    assert message["pool"] == message["source"] == "examplepool"
    assert message["hashrate"] == pytest.approx(content["hashrate"] * 1e15, rel=0.1)


def test_the_simulated_history_contains_the_source(tree: Path) -> None:
    program = (
        "from datetime import UTC, datetime; from launch.simulation import World, history;"
        "at = datetime(2026, 11, 22, 15, tzinfo=UTC);"
        "messages = history(World(1, at), at, days=1, minutes_h=1);"
        "print(sum(message.source == 'examplepool' for message in messages))"
    )
    assert int(run(tree, f'.venv/bin/python -c "{program}"')) == 24 + 60


GOOD: Final = "collector/pools/examplepool.py"
RECORDED: Final = "tests/recordings/pools/examplepool"


def variant(tree: Path, slug: str) -> Path:
    """Another source like the tutorial's; returns the folder of its recordings."""
    text = (tree / GOOD).read_text().replace("examplepool", slug)
    (tree / f"collector/pools/{slug}.py").write_text(text)
    folder = tree / "tests/recordings/pools" / slug
    shutil.copytree(tree / RECORDED, folder)
    expected = folder / "expected.json"
    expected.write_text(expected.read_text().replace("examplepool", slug))
    return folder


@pytest.fixture
def faulty(tree: Path) -> Iterator[Path]:
    """A copy with five more sources, each of them faulty."""
    (variant(tree, "lacks_a_recording") / "html").unlink()
    (variant(tree, "lacks_expected") / "expected.json").unlink()
    (variant(tree, "wrong_recording") / "wrong-unit").write_text('{"hashrate": 1}')
    variant(tree, "no_import")
    (tree / "collector/pools/no_import.py").write_text("import msgspec.nothing\n")
    variant(tree, "no_example")
    file = tree / "collector/pools/no_example.py"
    file.write_text(file.read_text().replace("    example=example,\n", ""))
    yield tree
    run(tree, "git clean -qfd")


def test_a_faulty_source_fails_only_its_own_tests_with_what_is_expected(faulty: Path) -> None:
    # The selection includes valid sources, such as luxor, nicehash and whitepool.
    only = "pools/l or pools/n or pools/w"
    contract = f".venv/bin/pytest -q -rf -k '{only}' tests/collector/test_source_contract.py"
    output = run(faulty, contract, ok=False)
    assert re.search(r"\d\d passed", output)
    failed = set(re.findall(r"^FAILED .*\[pools/(\w+)\]", output, re.MULTILINE))
    assert failed == {
        *("lacks_a_recording", "lacks_expected", "wrong_recording", "no_import", "no_example"),
    }
    recordings = "tests/recordings/pools"
    for text in (
        f"{recordings}/lacks_a_recording/html is missing: save an HTML page instead of JSON there",
        f"{recordings}/lacks_expected/expected.json is missing: an object with an outcome for each",
        f"{recordings}/wrong_recording:\nwrong-unit: expected.json says",
        "No module named 'msgspec.nothing'",
        "collector/pools/no_example.py: a source that is on by default needs example=example",
    ):
        assert text in output
    run(faulty, ".venv/bin/pytest -q --collect-only tests/collector tests/simulation tests/cli")
