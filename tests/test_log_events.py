"""Log events are public: each is a snake_case literal, and docs/operating.md lists all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("miningmap", "collector", "streams", "endpoint", "launch")
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
SHOWN_AS: Final = {"exception": "error"}
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+|listening")
ROW: Final = re.compile(r"^\| `(\w+)` \| ([a-z, ]+) \| ([a-z, ]+) \|", re.MULTILINE)


class Event(NamedTuple):
    """A call of a logger."""

    where: str
    service: str
    level: str
    name: str | None
    """``None`` if it is not a literal."""


def events() -> Iterator[Event]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield from events_in(file, package)


def events_in(file: Path, package: str) -> Iterator[Event]:
    tree = ast.parse(file.read_text())
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in LEVELS and is_logger(node.value):
            call = called.get(id(node))
            name = literal(call.args[0]) if call and call.args else None
            where = f"{file.relative_to(ROOT)}:{node.lineno}"
            yield Event(where, package, SHOWN_AS.get(node.attr, node.attr), name)


def is_logger(node: ast.expr) -> bool:
    """Whether an expression is a structlog logger by its name, or a call that returns one."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_") == "log"
        case ast.Call(func=ast.Attribute(attr="get_logger" | "bind")):
            return True
    return False


def literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The levels and packages of each event in docs/operating.md."""
    text = (ROOT / "docs" / "operating.md").read_text()
    rows = ROW.findall(text)
    return {name: (listed(levels), listed(packages)) for name, levels, packages in rows}


def listed(cell: str) -> set[str]:
    return set(cell.split(", "))


def test_every_event_is_a_snake_case_literal() -> None:
    found = list(events())
    assert found
    assert [e for e in found if e.name is None or not NAME.fullmatch(e.name)] == []


def test_the_table_of_events_has_exactly_the_logged_events() -> None:
    logged: dict[str, tuple[set[str], set[str]]] = {}
    for event in events():
        levels, packages = logged.setdefault(str(event.name), (set(), set()))
        levels.add(event.level)
        packages.add(event.service)
    assert documented() == logged
