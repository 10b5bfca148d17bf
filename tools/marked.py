"""Parts of a document that a program writes, between comments that mark them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read(document: Path, name: str) -> list[str]:
    """Return the lines of a part, without empty ones.

    Raises:
        ValueError: the document does not have it.
    """
    return [line for line in _found(document, name)[2].splitlines() if line]


def write(document: Path, name: str, lines: Sequence[str]) -> None:
    """Replace a part.

    Raises:
        ValueError: the document does not have it.
    """
    found = _found(document, name)
    text = "\n".join(["", *lines, "", ""])
    whole = document.read_text(encoding="utf-8")
    document.write_text(whole[: found.start(2)] + text + whole[found.end(2) :], encoding="utf-8")


def _found(document: Path, name: str) -> re.Match[str]:
    pattern = rf"(<!-- {re.escape(name)}: begin -->\n)(.*?)(<!-- {re.escape(name)}: end -->)"
    found = re.search(pattern, document.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise ValueError(f"{document} has no place for {name}; expected <!-- {name}: begin -->")
    return found
