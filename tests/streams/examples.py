"""How many examples the properties take: fewer in CI, many more every night."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

USUAL: Final = 100
"""Examples of a property in the profile ``project``, as ``tests/conftest.py`` has the profiles."""


def examples(number: int, variable: str | None = None) -> settings:
    """Settings of a property that takes ``number`` examples where others take 100.

    With a ``variable`` of the environment, which can set the number too, every run takes the same
    examples unless more of them than usual are asked for.
    """
    scaled = max(1, number * settings().max_examples // USUAL)
    asked = int(os.environ.get(variable or "", scaled))
    return settings(
        max_examples=asked,
        derandomize=variable is not None and asked <= number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
