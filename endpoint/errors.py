"""Errors that the parts of the endpoint share."""

from __future__ import annotations


class UnavailableError(Exception):
    """Redis did not answer, or not in time."""
