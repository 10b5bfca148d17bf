"""JSON Schemas of types, for the descriptions of the API and the topics."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "#/components/schemas/"


def ref(kind: type | str) -> dict[str, str]:
    """Return a reference to the schema of a type, or to the schema of that name."""
    return {"$ref": PREFIX + (kind if isinstance(kind, str) else kind.__name__)}


def schemas(kinds: Iterable[type]) -> dict[str, dict[str, Any]]:
    """Return the schemas of types and of the types of their fields, by name.

    Docstrings become descriptions in Markdown.
    """
    _, found = msgspec.json.schema_components(kinds, ref_template=PREFIX + "{name}")
    for schema in found.values():
        if "description" in schema:
            schema["description"] = _in_markdown(schema["description"])
    return found


def description_of(kind: type) -> str:
    """Return the docstring of a type as a description in Markdown."""
    return _in_markdown(kind.__doc__ or "")


def _in_markdown(docstring: str) -> str:
    return inspect.cleandoc(docstring).replace("``", "`")
