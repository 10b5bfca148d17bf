"""Rows as columns of one figure each, for the CSV twins and ``to_pandas()``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import inspect

from miningmap.messages import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import msgspec

# A field with several figures becomes several columns, such as kinds_measured, sensitivity_min.
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "kinds": KINDS,
    "sensitivity": ("min", "max"),
    "belief": ("min", "max"),
    "gap": ("reported", "reported_by", "mined", "mined_by", "blocks", "ratio", "error"),
    "refused": ("at", "source", "reason", "error"),
}

_WORDS: Final = {"min": "smallest", "max": "largest"}


class Column(NamedTuple):
    """What a column has.

    Attributes:
        name: of the column.
        type: of its known values.
        nullable: whether values can be unknown.
        unit: ``H/s``, ``ratio`` or nothing.
        description: one sentence.
    """

    name: str
    type: inspect.Type
    nullable: bool
    unit: str
    description: str


def columns(fields: Iterable[str]) -> list[str]:
    """Return the names of the columns, in the order of the rows' fields."""
    return [column for name in fields for column in _columns(name)]


def cells(fields: Iterable[str], row: Mapping[str, object]) -> list[object]:
    """Return a row's values, one per column; unknown values are ``None``.

    Args:
        fields: the row's fields, in the order of the columns.
        row: built-in types, as decoded from JSON.
    """
    return [cell for name in fields for cell in _cells(name, row[name])]


def described(row: type[msgspec.Struct]) -> dict[str, Column]:
    """Return every column of the rows of a type by its name, as the fields are annotated."""
    info = inspect.type_info(row)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - for mypy
    found = [column for f in info.fields for column in _described(f.encode_name, f.type)]
    return {column.name: column for column in found}


def _described(name: str, kind: inspect.Type) -> Iterable[Column]:
    whole = _column(name, kind)
    if name not in _PARTS:
        return [whole]
    match whole.type:
        case inspect.StructType(fields=fields):
            parts = [_column(f"{name}_{f.encode_name}", f.type) for f in fields]
        case inspect.TupleType(item_types=types):
            parts = [
                _column(f"{name}_{part}", item)._replace(
                    description=f"{whole.description.rstrip('.')}: its {_WORDS[part]} value."
                )
                for part, item in zip(_PARTS[name], types, strict=True)
            ]
        case _:
            raise TypeError(f"{name} has no parts")
    return [part._replace(nullable=part.nullable or whole.nullable) for part in parts]


def _column(name: str, kind: inspect.Type) -> Column:
    """Return a field as one column."""
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=schema, extra=extra):
            column = _column(name, inner)
            return column._replace(
                unit=(extra or {}).get("unit", column.unit),
                description=(schema or {}).get("description", column.description),
            )
        case inspect.UnionType(types=(known, inspect.NoneType())):
            return _column(name, known)._replace(nullable=True)
        case _:
            return Column(name, kind, nullable=False, unit="", description="")


def figures(row: type[msgspec.Struct]) -> list[str]:
    """Return the names of the columns that are declared as numbers, known or not.

    Args:
        row: the type of the rows.
    """
    described = inspect.type_info(row)
    assert isinstance(described, inspect.StructType)  # noqa: S101 - for mypy
    return [
        column
        for field in described.fields
        for column, kind in zip(
            _columns(field.encode_name), _parts(field.encode_name, field.type), strict=True
        )
        if isinstance(kind, inspect.FloatType | inspect.IntType)
    ]


def _parts(name: str, kind: inspect.Type) -> list[inspect.Type]:
    """The types of a field's columns."""
    match _known(kind):
        case inspect.StructType(fields=fields) if name in _PARTS:
            return [_known(field.type) for field in fields]
        case inspect.TupleType(item_types=types) if name in _PARTS:
            return [_known(item) for item in types]
        case known:
            return [known]


def _known(kind: inspect.Type) -> inspect.Type:
    """The type of a value that is known, without its description."""
    match kind:
        case inspect.Metadata(type=described):
            return _known(described)
        case inspect.UnionType(types=(known, inspect.NoneType())):
            return _known(known)
        case _:
            return kind


def _columns(name: str) -> Iterable[str]:
    return [f"{name}_{part}" for part in _PARTS[name]] if name in _PARTS else (name,)


def _cells(name: str, value: object) -> Iterable[object]:
    if name not in _PARTS:
        return (value,)
    match value:
        case dict():
            return [value[part] for part in _PARTS[name]]
        case list() | tuple():
            return value
        case _:
            return [None] * len(_PARTS[name])
