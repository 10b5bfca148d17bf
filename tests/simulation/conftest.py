from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from launch.simulation import SCENARIOS, World, history

if TYPE_CHECKING:
    from miningmap.messages import Message

ORIGIN = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)


@pytest.fixture
def origin() -> datetime:
    return ORIGIN


@pytest.fixture(scope="session")
def calm() -> World:
    return World(1, ORIGIN, SCENARIOS["calm"])


@pytest.fixture(scope="session")
def texas() -> World:
    return World(1, ORIGIN, SCENARIOS["texas"])


@pytest.fixture(scope="session")
def past(texas: World) -> list[Message]:
    """The whole history of the default scenario."""
    return list(history(texas, ORIGIN))
