"""Checks of deploy/Dockerfile that need no container engine."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = (root / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_base_is_pinned_to_a_patch_release_and_the_same_in_both_stages(
    instructions: list[tuple[str, str]],
) -> None:
    assert instructions[0][0] == "ARG"
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-[a-z]+", instructions[0][1])
    assert [a for i, a in instructions if i == "FROM"] == ["${PYTHON} AS build", "${PYTHON}"]


def test_the_image_runs_miningmap_as_the_user_of_compose(
    instructions: list[tuple[str, str]], own: dict[str, dict[str, Any]]
) -> None:
    assert instructions[-1] == ("ENTRYPOINT", '["miningmap"]')
    [user] = [arguments for instruction, arguments in instructions if instruction == "USER"]
    assert {service["user"] for service in own.values()} == {user}


def test_dependencies_are_installed_by_hash_and_without_the_development_extras(
    instructions: list[tuple[str, str]],
) -> None:
    [environment, _] = [
        arguments for instruction, arguments in instructions if instruction == "ENV"
    ]
    assert "PIP_REQUIRE_HASHES=1" in environment.split()
    runs = " ".join(arguments for instruction, arguments in instructions if instruction == "RUN")
    assert re.findall(r"--requirement (\S+)", runs) == [
        "requirements.lock",
        "requirements-build.lock",
    ]


def test_the_build_backend_is_installed_with_all_that_it_needs(
    instructions: list[tuple[str, str]], root: Path
) -> None:
    # pip rejects a requirement without a hash, so a missing one would break the build.
    runs = " ".join(arguments for instruction, arguments in instructions if instruction == "RUN")
    listed = re.search(r"\^\(([a-z|-]+)\)==/", runs)
    assert listed is not None
    assert set(listed[1].split("|")) == _with_requirements("hatchling")
    lock = (root / "requirements-dev.lock").read_text()
    assert all(f"\n{name}==" in f"\n{lock}" for name in listed[1].split("|"))


def test_the_build_context_has_the_packages_and_no_secret(root: Path) -> None:
    kept = [
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    assert "*" in (root / ".dockerignore").read_text().splitlines()
    assert not any(name.startswith(("deploy", ".", "docs", "tests")) for name in kept)
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(kept)
    assert [name for name in kept if not (root / name).exists()] == []


def _with_requirements(name: str) -> set[str]:
    found: set[str] = {canonicalize_name(name)}
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= _with_requirements(requirement.name)
    return found


@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile"])
def test_locked_versions_are_installed_without_resolving(root: Path, file: str) -> None:
    """If pip resolves, its old versions reject newer versions of requirements with extras."""
    text = (root / file).read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "install" in line and ".lock" in line]
    assert installs
    assert all("--no-deps" in line for line in installs)
