"""docker-compose.yml as Compose reads it without variables: anchors merged, defaults applied."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose(root: Path) -> dict[str, Any]:
    """The content of docker-compose.yml."""
    text = (root / "docker-compose.yml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return {name: _interpolated(value) for name, value in loaded.items()}


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml by name."""
    return dict(compose["services"])


@pytest.fixture(scope="session")
def own(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The services that run this project's code."""
    return {name: service for name, service in services.items() if "build" in service}


def _interpolated(value: Any) -> Any:
    """``${NAME:-default}`` becomes its default, ``$$`` a dollar; another ``$`` is an error."""
    if isinstance(value, dict):
        return {key: _interpolated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$(?:\$|\{\w+:-([^}]*)\}|)", _substitute, value)
    return value


def _substitute(match: re.Match[str]) -> str:
    if match[0] == "$":
        raise AssertionError(f"$ without a default or a second $: {match.string}")
    return "$" if match[0] == "$$" else match[1]
