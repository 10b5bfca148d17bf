"""JSON Schemas of types, for the documents that describe the API and the topics."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "#/components/schemas/"


def ref(kind: type | str) -> dict[str, str]:
    """A reference to the schema of a type, or to the one of that name."""
    return {"$ref": PREFIX + (kind if isinstance(kind, str) else kind.__name__)}


def schemas(kinds: Iterable[type]) -> dict[str, dict[str, Any]]:
    """The schemas of types, and of those that they are made of, by name.

    Docstrings, which describe them, become Markdown.
    """
    _, found = msgspec.json.schema_components(kinds, ref_template=PREFIX + "{name}")
    for schema in found.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"]).replace("``", "`")
    return found
