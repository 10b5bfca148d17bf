"""A short soak: five minutes at a hundred times the normal load. ``make torture`` soaks an hour.

``SOAK_S=60`` makes it shorter.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

from tests.conftest import missing
from tests.servers import UnavailableError
from tests.torture.plan import bench
from tests.torture.soak import NORMAL_PER_S, POOLS, TIMES, soak

pytestmark = pytest.mark.integration

SECONDS: Final = float(os.environ.get("SOAK_S", "300"))
# From the middle to the end; a leak of one descriptor or task a request is thousands.
MOST_MB: Final = 20
MOST_DESCRIPTORS: Final = 15
MOST_TASKS: Final = 60  # requests in progress, which vary with the load of the machine


async def test_memory_descriptors_and_tasks_stay_flat_at_a_hundred_times_the_load() -> None:
    try:
        with bench("one broker", "tests.torture.watched", pools=POOLS) as made:
            await made.system.start()
            result = await soak(made.system, SECONDS, seed=20)
    except UnavailableError as error:
        raise missing(str(error), os.environ.get("CI", "")) from None
    shutil.rmtree(made.system.folder, ignore_errors=True)
    assert result.refused == 0
    assert result.restarts == 0
    # A machine that is busy with other tests may not manage all of the load.
    assert result.acknowledged > 0.1 * NORMAL_PER_S * TIMES * SECONDS
    assert result.in_kafka >= result.acknowledged
    for name in result.samples:
        grown = result.growth(name)
        assert grown["memory_mb"] < MOST_MB, (name, grown)
        assert grown["descriptors"] < MOST_DESCRIPTORS, (name, grown)
        assert grown["tasks"] < MOST_TASKS, (name, grown)
        assert grown["threads"] <= 2, (name, grown)
