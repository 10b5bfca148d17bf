"""The history of a run: what was sent, and what its sender was told, as one JSON line an event.

The file is written as things happen, so it is complete also if the run is killed. A run that fails
keeps it, for ``python -m tests.torture --history FILE`` to print.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Kind: TypeAlias = Literal["reports", "rows", "poll", "poison"]
"""What an operation sends: whole messages; rows of a partner, which become parts of a message; the
figure of a poll, which the collector makes a message of; bytes that must become a dead letter."""

Outcome: TypeAlias = Literal["unknown", "acknowledged", "refused"]
"""``unknown``: no answer, or one that allows both; the messages may be in Kafka or arrive later."""


@dataclass
class Operation:
    """One thing that a client did, possibly in several attempts with the same content."""

    number: int
    client: str
    kind: Kind
    content: Sequence[dict[str, Any]]
    attempts: int = 0
    outcome: Outcome = "unknown"


@dataclass
class History:
    """All operations of a run."""

    file: Path | None = None
    operations: list[Operation] = field(default_factory=list)
    _stream: IO[str] | None = None
    # The servers of the pools have threads of their own.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, client: str, kind: Kind, content: Sequence[dict[str, Any]]) -> Operation:
        """Note what is about to be sent; each attempt is noted by :meth:`attempt`."""
        with self._lock:
            operation = Operation(len(self.operations), client, kind, content)
            self.operations.append(operation)
        self._write(operation.number, "begin", client=client, kind=kind, content=content)
        return operation

    def attempt(self, operation: Operation) -> None:
        """Note that it is sent, before it is."""
        operation.attempts += 1
        self._write(operation.number, "attempt")

    def end(self, operation: Operation, outcome: Outcome, why: str = "") -> None:
        """Note what the sender was told."""
        operation.outcome = outcome
        self._write(operation.number, outcome, why=why)

    def note(self, event: str, **more: object) -> None:
        """Note what is no operation, such as a fault."""
        self._write(None, event, **more)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, number: int | None, event: str, **more: object) -> None:
        if self.file is None:
            return
        line = {"at": round(time.time(), 3), "operation": number, "event": event, **more}
        with self._lock:
            if self._stream is None:
                self._stream = self.file.open("a", buffering=1)
            self._stream.write(json.dumps(line) + "\n")


def read(file: Path) -> History:
    """The history in a file."""
    history = History()
    for line in file.read_text().splitlines():
        event = json.loads(line)
        number = event["operation"]
        if number is None:
            continue
        if event["event"] == "begin":
            history.begin(event["client"], event["kind"], event["content"])
        elif event["event"] == "attempt":
            history.operations[number].attempts += 1
        else:
            history.operations[number].outcome = event["event"]
    return history
