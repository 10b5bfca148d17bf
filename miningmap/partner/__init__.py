"""The pool's side of the partners' API: make rows from a list of miners, check them, push them."""

from typing import Final

PARTNER_TOKEN: Final = "MININGMAP_PARTNER_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable from which ``miningmap partner push`` reads the token."""
