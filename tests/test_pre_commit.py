"""The hooks of .pre-commit-config.yaml are the tools of ``make check``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
TOOL: Final = re.compile(r"(?:\$\(BIN\)|\.venv/bin)/([\w-]+)|(tools/[\w-]+\.sh)")
# What the project's own commands print is compared by `make check` and written by `make docs`.
OWN: Final = {"python", "miningmap"}


def hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    return [hook for repo in config["repos"] for hook in repo["hooks"]]


def tools(text: str) -> set[str]:
    return {name or script for name, script in TOOL.findall(text)} - OWN


def checks() -> str:
    """The recipes of all targets that `make check` makes."""
    makefile = (ROOT / "Makefile").read_text()
    (names,) = re.findall(r"^CHECKS := (.*)$", makefile, re.MULTILINE)
    recipes = re.findall(r"^([\w-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return "".join(dict(recipes)[name] for name in names.split())


def test_the_hooks_run_the_tools_of_make_check() -> None:
    expected = tools(checks())
    assert {"ruff", "mypy", "lint-imports"} <= expected
    assert tools(" ".join(hook["entry"] for hook in hooks())) == expected


def test_hooks_need_nothing_from_elsewhere() -> None:
    assert [hook["id"] for hook in hooks() if hook["language"] not in {"system", "script"}] == []
