"""Errors that the packages of the endpoint share."""

from __future__ import annotations


class UnavailableError(Exception):
    """Redis failed, or did not answer before the deadline; the text says so to clients."""
