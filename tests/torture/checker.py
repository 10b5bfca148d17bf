"""The checker: compares what was acknowledged with what is in Kafka, and Kafka with the cells.

After the queue workload of Jepsen: nothing that was acknowledged may be missing, nothing may be
there that nobody sent, nothing may count twice. It is pure; ``observed.py`` reads what it is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from miningmap.kafka.topics import DEAD_LETTERS
from tests.torture.model import Arrived, Kept, Statement, cells, claims, seconds, statement_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.torture.history import History
    from tests.torture.model import Name, Value
    from tests.torture.observed import Log, Stored

EH: Final = 1e18
SAME_ROW: Final = 1e-12
SHOWN: Final = 20


@dataclass
class Verdict:
    """What is wrong, each as a sentence; all lists are empty if nothing is.

    Attributes:
        lost: was acknowledged and is not in Kafka, or is in Kafka and not in the cells.
        doubled: is in Kafka more often than it was sent, counts twice in a cell, or was sent by
            nobody. Polls may be in Kafka twice.
        wrong: is there and differs.
        counts: how much was compared.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        lines = [", ".join(f"{name} {number}" for name, number in sorted(self.counts.items()))]
        for name in ("lost", "doubled", "wrong"):
            found = getattr(self, name)
            lines += [f"{name}: {len(found)}", *(f"  {each}" for each in found[:SHOWN])]
        return "\n".join(lines)


def check(
    history: History, log: Log, found: Mapping[Name, Value], kept: Kept | None = None
) -> Verdict:
    """Compare the history of a run with Kafka, and Kafka with the cells in Redis.

    Args:
        history: what was sent, and what its senders were told.
        log: all of Kafka, after everything was consumed.
        found: all cells in Redis.
        kept: for how long cells are kept.
    """
    kept = kept or Kept()
    verdict = Verdict()
    stored = [(each, statement_of(each.value)) for each in log.records if _is_message(each)]
    said = [(each, statement) for each, statement in stored if statement is not None]
    _check_reports(history, said, verdict)
    _check_polls(history, said, verdict)
    _check_rows(history, said, verdict)
    _check_senders(history, said, verdict)
    set_aside = _check_dead_letters(log, stored, kept, verdict)
    arrived = [
        Arrived(statement, each.at) for each, statement in said if each.position not in set_aside
    ]
    _check_cells(cells(arrived, kept), found, verdict)
    _check_offsets(log, verdict)
    return verdict


def _is_message(record: Stored) -> bool:
    return record.topic != DEAD_LETTERS


# --- what was sent, and what is in Kafka ----------------------------------------------------------

_Said: TypeAlias = "Sequence[tuple[Stored, Statement]]"
_Row: TypeAlias = tuple[str, float, float, str]
"""Pool, start, end and code."""


def _sent(fields: dict[str, Any]) -> Statement:
    """What a client sent as a whole message; the intake adds ``fetched_at``."""
    places = {(p["code"], p.get("kind", "measured")): p["hashrate"] for p in fields["places"]}
    return Statement(
        pool=fields["pool"],
        source=fields["source"],
        start=seconds(fields["start"]),
        end=seconds(fields["end"]),
        hold_s=fields["hold_s"],
        hashrate=float(fields["hashrate"]),
        places=places,
        basis=2 if fields.get("blocks") is not None else 0,
    )


def _check_reports(history: History, said: _Said, verdict: Verdict) -> None:
    in_kafka: defaultdict[object, list[Statement]] = defaultdict(list)
    for _, each in said:
        in_kafka[each.token].append(each)
    for operation in history.operations:
        if operation.kind != "reports":
            continue
        verdict.counts[operation.outcome] += len(operation.content)
        for sent in map(_sent, operation.content):
            copies = in_kafka[sent.token]
            if operation.outcome == "acknowledged" and not copies:
                verdict.lost.append(f"acknowledged and not in Kafka: {sent}")
            if len(copies) > operation.attempts:
                verdict.doubled.append(f"{len(copies)} times in Kafka: {sent}")
            verdict.wrong += [
                f"sent {sent}, but in Kafka: {copy}"
                for copy in copies
                if copy.content != sent.content
            ]


def _check_polls(history: History, said: _Said, verdict: Verdict) -> None:
    """Count the figures that were served: the collector acknowledges none of them.

    It may publish one twice, when it is killed before it notes that Kafka has it.
    """
    copies = Counter((each.source, each.hashrate) for _, each in said)
    for operation in history.operations:
        if operation.kind != "poll":
            continue
        for figure in operation.content:
            number = copies[figure["source"], float(figure["hashrate"])]
            verdict.counts["polls"] += 1
            verdict.counts["polls not in Kafka"] += number == 0
            verdict.counts["polls twice in Kafka"] += number > 1


def _check_rows(history: History, said: _Said, verdict: Verdict) -> None:
    """The newest report of a period has each row of it that was acknowledged.

    A row has the value that was acknowledged last, or one of which the outcome is unknown: such a
    request may take effect at any later time.
    """
    newest: dict[tuple[str | None, float, float], Statement] = {}
    for _, each in sorted(said, key=lambda pair: (pair[1].fetched_at, pair[1].hashrate)):
        newest[each.pool, each.start, each.end] = each
    allowed: defaultdict[_Row, set[float | None]] = defaultdict(lambda: {None})
    for operation in history.operations:
        if operation.kind != "rows" or operation.outcome == "refused":
            continue
        verdict.counts[operation.outcome] += len(operation.content)
        for row in operation.content:
            key = row["pool"], seconds(row["start"]), seconds(row["end"]), row["code"]
            value = row["value"] * EH
            if operation.outcome == "acknowledged":
                earlier = _unknown(history, key, operation.number)
                allowed[key] = {value} | earlier
            else:
                allowed[key].add(value)
    for (pool, start, end, code), values in allowed.items():
        report = newest.get((pool, start, end))
        value = report.places.get((code, "measured")) if report else None
        if any(value is other is None or _is_same(value, other) for other in values):
            continue
        which = f"{pool} {code} {start:.0f} to {end:.0f}"
        if value is None:
            verdict.lost.append(f"a row that was acknowledged is not in the report: {which}")
        else:
            verdict.wrong.append(f"the row {which} is {value}, not one of {values}")


def _unknown(history: History, key: _Row, before: int) -> set[float | None]:
    return {
        row["value"] * EH
        for operation in history.operations[:before]
        if operation.kind == "rows" and operation.outcome == "unknown"
        for row in operation.content
        if (row["pool"], seconds(row["start"]), seconds(row["end"]), row["code"]) == key
    }


def _is_same(value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return False
    return abs(value - other) <= SAME_ROW * max(value, other)


def _check_senders(history: History, said: _Said, verdict: Verdict) -> None:
    """Whatever is in Kafka was sent by somebody."""
    tokens = set()
    figures: set[tuple[str, float]] = set()
    rows: defaultdict[tuple[str, float, float], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for operation in history.operations:
        for fields in operation.content:
            if operation.kind == "reports":
                tokens.add(_sent(fields).token)
            elif operation.kind == "poll":
                figures.add((fields["source"], float(fields["hashrate"])))
            elif operation.kind == "rows":
                period = fields["pool"], seconds(fields["start"]), seconds(fields["end"])
                rows[period][fields["code"]].append(fields["value"] * EH)
    for _, each in said:
        verdict.counts["messages"] += 1
        known = each.token in tokens or (each.source, each.hashrate) in figures
        if not known and each.pool is not None:
            sent = rows.get((each.pool, each.start, each.end))
            known = sent is not None and all(
                any(_is_same(value, other) for other in sent.get(code, ()))
                for (code, _), value in each.places.items()
            )
        if not known:
            verdict.doubled.append(f"in Kafka, but nobody sent it: {each}")


# --- Kafka and the cells --------------------------------------------------------------------------


def _check_dead_letters(
    log: Log,
    stored: Sequence[tuple[Stored, Statement | None]],
    kept: Kept,
    verdict: Verdict,
) -> set[tuple[str, int, int]]:
    """What can become no cell is a dead letter, and nothing else is.

    Returns:
        the positions of the messages that were refused as from the future, which depends on a
        clock that a fault may have set.
    """
    letters = {each.origin: each for each in log.records if not _is_message(each) and each.origin}
    verdict.counts["dead letters"] = len(letters)
    futures = set()
    for each, statement in stored:
        unusable = statement is None or not any(claims(statement, each.at, kept))
        letter = letters.get(each.position)
        if letter is None:
            if unusable:
                verdict.lost.append(f"neither in cells nor a dead letter: {each}")
        elif letter.headers["reason"] == b"future":
            futures.add(each.position)
        elif not unusable:
            verdict.wrong.append(f"a dead letter without need: {each}: {letter.headers}")
    verdict.counts["refused as future"] = len(futures)
    return futures


def _check_cells(want: Mapping[Name, Value], found: Mapping[Name, Value], verdict: Verdict) -> None:
    verdict.counts["cells"] = len(want)
    verdict.lost += [
        f"no such cell: {name}" for name in sorted(want.keys() - found.keys(), key=str)
    ]
    verdict.doubled += [
        f"a cell of no message: {name}" for name in sorted(found.keys() - want.keys(), key=str)
    ]
    for name in sorted(want.keys() & found.keys(), key=str):
        if not want[name].is_near(found[name]):
            text = f"{name}: {found[name]}, expected {want[name]}"
            (verdict.doubled if _counts_twice(want[name], found[name]) else verdict.wrong).append(
                text
            )


def _counts_twice(want: Value, found: Value) -> bool:
    """Whether a cell is a whole multiple, or has more minutes than there were."""
    times = found.total / want.total if want.total else 0.0
    return found.minutes > want.minutes or (
        round(times) > 1 and abs(times - round(times)) < SAME_ROW
    )


def _check_offsets(log: Log, verdict: Verdict) -> None:
    """The group has acknowledged all that there is, and nothing that there is not."""
    for partition, end in log.ends.items():
        committed = log.committed.get(partition, 0)
        if committed < end:
            verdict.lost.append(f"consumed up to {committed} of {end}: {partition}")
        if committed > end:
            verdict.wrong.append(f"acknowledged up to {committed} of {end}: {partition}")


def differences(want: Any, found: Any, at: str = "") -> Iterator[str]:
    """Where two answers differ by more than 1e-9, as paths; fields that ``want`` lacks are left."""
    if isinstance(want, dict) and isinstance(found, dict):
        for name, value in want.items():
            yield from differences(value, found.get(name), f"{at}.{name}")
    elif isinstance(want, list | tuple) and isinstance(found, list) and len(want) == len(found):
        for number, (a, b) in enumerate(zip(want, found, strict=True)):
            yield from differences(a, b, f"{at}[{number}]")
    elif isinstance(want, str | bool) or want is None or not isinstance(found, int | float):
        if want != found:
            yield f"{at}: {found!r}, expected {want!r}"
    elif abs(float(want) - found) > 1e-9 * max(1.0, abs(found)):
        yield f"{at}: {found!r}, expected {float(want)!r}"
