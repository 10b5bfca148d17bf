"""This release reads the messages that earlier releases wrote to Kafka.

``tests/compat`` has a folder for each release with its schemas (written by ``tools/compat.py``) and
sample messages that it wrote, one per line.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from miningmap import messages
from tools import compat

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

RELEASES = sorted(path.name for path in compat.FOLDER.iterdir() if path.is_dir())
every_release = pytest.mark.parametrize("release", RELEASES)
every_kind = pytest.mark.parametrize("name", compat.KINDS)


def schema_of(release: str, name: str) -> Json:
    found: Json = json.loads(path_of(release, name, "schema.json").read_text())
    return found


def lines_of(release: str, name: str) -> list[bytes]:
    return path_of(release, name, "jsonl").read_bytes().splitlines()


def path_of(release: str, name: str, suffix: str) -> Path:
    return compat.FOLDER / release / f"{name}.{suffix}"


def decoded(name: str, raw: bytes) -> msgspec.Struct:
    if name in {"report", "network"}:
        return messages.decode(raw)
    return msgspec.json.decode(raw, type=compat.KINDS[name])


def keeps(written: Any, read: Any) -> bool:
    """Whether everything that was written is in what was read."""
    match written, read:
        case dict(), dict():
            return all(name in read and keeps(written[name], read[name]) for name in written)
        case list(), list():
            return len(written) == len(read) and all(map(keeps, written, read))
        case _:
            return bool(written == read)


def restrictions(before: Json, now: Json, at: str = "") -> list[str]:
    """The places where a schema can reject what an earlier one allowed."""
    found: list[str] = []
    for name in ("properties", "$defs"):
        for field, schema in before.get(name, {}).items():
            if field in now.get(name, {}):
                found += restrictions(schema, now[name][field], f"{at}/{field}")
            else:
                found.append(f"{at}/{field} is gone")
    if more := set(now.get("required", ())) - set(before.get("required", ())):
        found.append(f"{at} needs {', '.join(sorted(more))}")
    if less := set(before.get("enum", ())) - set(now.get("enum", ())):
        found.append(f"{at} is no longer {', '.join(sorted(less))}")
    if now.get("minimum", -math.inf) > before.get("minimum", -math.inf):
        found.append(f"{at} has a higher minimum")
    for name in ("maximum", "maxLength", "maxItems"):
        if now.get(name, math.inf) < before.get(name, math.inf):
            found.append(f"{at} has a lower {name}")
    same = ("type", "format", "pattern", "items", "prefixItems", "$ref", "anyOf")
    changed = [n for n in same if n in now and undescribed(now[n]) != undescribed(before.get(n))]
    return found + [f"{at} has another {name}" for name in changed]


def undescribed(schema: Any) -> Any:
    """A part of a schema without its descriptions, which restrict nothing."""
    match schema:
        case dict():
            return {k: undescribed(v) for k, v in schema.items() if k != "description"}
        case list():
            return [undescribed(item) for item in schema]
    return schema


@every_kind
@every_release
def test_messages_of_a_release_are_read_without_loss(release: str, name: str) -> None:
    import jsonschema  # noqa: PLC0415 - takes seconds, in every process that runs tests

    lines = lines_of(release, name)
    assert lines
    for raw in lines:
        written = json.loads(raw)
        jsonschema.validate(written, schema_of(release, name))
        read = decoded(name, raw)
        assert type(read) is compat.KINDS[name]
        assert keeps(written, json.loads(msgspec.json.encode(read)))


@every_kind
@every_release
def test_schemas_allow_everything_that_a_release_allowed(release: str, name: str) -> None:
    assert restrictions(schema_of(release, name), compat.schema(name)) == []


@every_kind
@every_release
def test_fields_of_a_later_release_are_ignored(release: str, name: str) -> None:
    for raw in lines_of(release, name):
        more = json.dumps(json.loads(raw) | {"of_a_later_release": [1]}).encode()
        assert decoded(name, more) == decoded(name, raw)


Reworded = Annotated[float, msgspec.Meta(description="Other words.")]


class _Before(msgspec.Struct):
    share: Annotated[float, msgspec.Meta(description="Words.")] | None
    code: str
    kind: Literal["a", "b"]
    size: Annotated[int, msgspec.Meta(ge=0, le=9)]
    gone: int


class _Now(msgspec.Struct):
    share: Reworded | None
    code: int
    kind: Literal["b", "c"]
    size: Annotated[int, msgspec.Meta(ge=1, le=8)]
    new: int


def test_restrictions_finds_a_restricted_schema() -> None:
    before, now = msgspec.json.schema(_Before), msgspec.json.schema(_Now)
    now["$defs"]["_Before"] = now["$defs"].pop("_Now")
    now["$ref"] = before["$ref"]
    assert restrictions(before, now) == [
        "/_Before/code has another type",
        "/_Before/kind is no longer a",
        "/_Before/size has a higher minimum",
        "/_Before/size has a lower maximum",
        "/_Before/gone is gone",
        "/_Before needs new",
    ]
    assert restrictions(before, before) == []
