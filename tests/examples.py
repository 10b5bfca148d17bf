"""The number of examples of property tests: fewer in CI, many more in the nightly run."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

USUAL: Final = 100
"""The number of examples in the profile ``project`` of ``tests/conftest.py``."""


def examples(number: int, variable: str | None = None) -> settings:
    """Return settings for ``number`` examples in the profile ``project``, scaled for the others.

    The environment variable ``variable`` overrides the number. With a ``variable``, every run takes
    the same examples unless it sets a larger number.
    """
    scaled = max(1, number * settings().max_examples // USUAL)
    count = int(os.environ.get(variable or "", scaled))
    return settings(
        max_examples=count,
        derandomize=variable is not None and count <= number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
