"""Write all dashboards to a folder: ``python -m tools.dashboards FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.dashboards import DASHBOARDS, document


def main(folder: Path) -> None:
    """Write the files, and remove those of dashboards that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        file.unlink()
    for name, dashboard in DASHBOARDS.items():
        (folder / name).write_text(document(dashboard()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
