"""Print ``beliefs/part_of.toml``: which pools are part of others, by the sources' declarations.

Beliefs are read where the collector is not installed, so they cannot ask the declarations.
"""

from __future__ import annotations

import sys

from collector.registry import discover
from collector.sources.base import PoolSource

_HEAD = """\
# Accounts that report as pools of their own, and the pools whose totals contain them. `make docs`
# writes this file from `part_of` in collector/pools/; do not edit it.

[part_of]
"""


def document() -> str:
    """Return the file's text."""
    parts = {s.pool: s.part_of for s in discover() if isinstance(s, PoolSource) and s.part_of}
    return _HEAD + "".join(f'{part} = "{whole}"\n' for part, whole in sorted(parts.items()))


if __name__ == "__main__":
    sys.stdout.write(document())
