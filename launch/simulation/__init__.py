"""The simulated world of ``miningmap demo``: pools, their servers, a partner, and a past.

Nothing here is data about real pools; every message made from it is marked ``simulated``.
``world`` is the truth and ``chain`` its blocks. ``sources`` turns them into the bodies of the real
sources, which ``servers`` serves live and ``history`` turns into the messages of the past.
``partner`` pushes rows to the intake. ``service`` runs all of that as one process.
"""

from launch.simulation.history import history
from launch.simulation.partner import PUSHED_POOL
from launch.simulation.pools import priors
from launch.simulation.scenarios import DEFAULT, SCENARIOS
from launch.simulation.service import serve
from launch.simulation.sources import simulated_sources
from launch.simulation.world import World

__all__ = [
    "DEFAULT",
    "PUSHED_POOL",
    "SCENARIOS",
    "World",
    "history",
    "priors",
    "serve",
    "simulated_sources",
]
