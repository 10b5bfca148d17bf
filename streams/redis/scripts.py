"""The Lua scripts of this package, and the names by which Redis knows them."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the SHA-1 by which Redis runs it once it is loaded."""

    text: str
    sha: str


def script_of(file: str) -> Script:
    """Return the script in a file of this package, such as ``claim.lua``."""
    text = files(__package__).joinpath(file).read_text()
    # Redis identifies a script by its SHA-1; the digest is not used for security.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
