"""The arithmetic of the method (docs/method.md). Pure: no Faust, Redis, Kafka, HTTP or clock."""

from typing import Final

METHOD: Final = "2"
"""The version of the method: another one can give other figures for the same messages."""
