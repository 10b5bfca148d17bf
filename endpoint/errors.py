"""Errors that the packages of the endpoint share."""

from __future__ import annotations


class UnavailableError(Exception):
    """Redis failed, or did not answer before the deadline; the text says so to clients."""


class BusyError(Exception):
    """Too much is being computed: the text says so, for people.

    Attributes:
        retry_after_s: seconds after which to try again.
    """

    def __init__(self, error: str, retry_after_s: int) -> None:
        super().__init__(error)
        self.retry_after_s = retry_after_s
