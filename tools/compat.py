"""Write the schemas of all messages to ``tests/compat/VERSION``, once for each release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from miningmap import __version__
from miningmap.api.models import Answer, SubdivisionAnswer
from miningmap.messages import Network, Report

FOLDER: Final = Path(__file__).resolve().parents[1] / "tests" / "compat"
KINDS: Final[dict[str, type[msgspec.Struct]]] = {
    "report": Report,
    "network": Network,
    "shares": Answer,
    "subdivisions": SubdivisionAnswer,
}
"""The messages that another version may read from Kafka, by the name of their file."""


def schema(name: str) -> Any:  # noqa: ANN401 - JSON
    """The current schema of one of :data:`KINDS`."""
    return msgspec.json.schema(KINDS[name])


def main() -> None:
    """Write the files."""
    folder = FOLDER / __version__
    folder.mkdir(exist_ok=True)
    for name in KINDS:
        text = json.dumps(schema(name), indent=1)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
