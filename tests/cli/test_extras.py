"""The table of extras contains every third-party package that the project imports."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launch.cli.extras import EXTRAS, extra_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
OWN: Final = {"launch", "endpoint", "streams", "collector", "miningmap"}
TRANSITIVE: Final = {"multidict", "pydantic_core", "yarl"}
"""Packages that a required package requires itself, and that this project imports."""


def third_party_imports() -> set[str]:
    known = OWN | set(sys.stdlib_module_names)
    files = (file for package in OWN for file in (ROOT / package).rglob("*.py"))
    return {name for file in files for name in imports(file)} - known


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def required(extra: str) -> set[str]:
    """The distributions of an extra, or with an empty name those of the base install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_imported_package_is_in_the_base_install_or_an_extra() -> None:
    # Not imported: Python's own zoneinfo reads its files.
    assert {name for name in third_party_imports() if not extra_of(name)} == required("") - {
        "tzdata"
    }


def test_each_extra_requires_the_packages_of_the_table() -> None:
    distributions = packages_distributions()
    for extra, packages in EXTRAS.items():
        provided = required(extra)
        for package in packages - TRANSITIVE:
            names = {canonicalize_name(name) for name in distributions.get(package, [package])}
            assert names & provided, f"{extra}: {package}"


def test_a_module_without_an_extra_has_none() -> None:
    assert extra_of("aiokafka.errors") == "server"
    assert extra_of("miningmap.nothing") is None
    assert extra_of("") is None
