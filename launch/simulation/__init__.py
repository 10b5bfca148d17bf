"""The simulated world of ``miningmap demo``: pools, their servers, a partner, and a past.

Nothing here is data about real pools; whatever comes of it is marked ``simulated``. ``world`` is
the truth, ``said`` and ``chain`` what public sources tell of it, ``servers`` tells it live and
``history`` as of before, ``partner`` pushes to the intake, ``service`` is all that as a process.
"""

from launch.simulation.history import SOURCES, history
from launch.simulation.partner import PUSHED_POOL
from launch.simulation.pools import priors
from launch.simulation.scenarios import DEFAULT, SCENARIOS
from launch.simulation.service import serve
from launch.simulation.world import World

__all__ = ["DEFAULT", "PUSHED_POOL", "SCENARIOS", "SOURCES", "World", "history", "priors", "serve"]
