"""The simulated world of ``miningmap demo``: pools, their servers, a partner, and a history.

None of this is data about real pools; every message made from it is marked ``simulated``.
``world`` is the true hashrate by place, and ``chain`` the blocks found with it. ``sources`` turns
them into response bodies in the formats of the real sources; ``servers`` serves these live and
``history`` turns them into messages of the past. ``partner`` pushes rows to the intake. ``service``
runs servers and partner as one process.
"""

from launch.simulation.history import history
from launch.simulation.partner import PUSHED_POOL
from launch.simulation.pools import beliefs
from launch.simulation.scenarios import DEFAULT, SCENARIOS
from launch.simulation.service import serve
from launch.simulation.sources import simulated_sources
from launch.simulation.world import World

__all__ = [
    "DEFAULT",
    "PUSHED_POOL",
    "SCENARIOS",
    "World",
    "beliefs",
    "history",
    "serve",
    "simulated_sources",
]
