"""Logs of separate processes, because logging is set up once for a whole process."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections import Counter
from functools import cache
from typing import Any

import pytest

from miningmap import logs
from miningmap.settings import Log

DEADLINE_S = 20
PROGRAM = """
import logging, sys, threading, warnings
import structlog
from miningmap import logs
from miningmap.settings import Log

def fail(password):
    raise ValueError("no " + "entry")

class Unraisable:
    def __del__(self):
        fail("geh" + "eim")

logs.keep_quiet()  # as the command line does before it knows which command it runs
log = structlog.get_logger("miningmap.test")
logging.getLogger("aiokafka.conn").error("refused")
log.warning("early")
logs.configure(Log(format=sys.argv[1], level=sys.argv[2]), "streams")
log.debug("details")
log.info("started", port=8080)
for name in ("aiohttp.server", "aiokafka.conn", "faust.worker", "mode.services"):
    logging.getLogger(name).info("connected")
    logging.getLogger(name).warning("from %s", "a library")
for n in range(200):
    logging.getLogger("aiokafka").error("Unable connect to node with id %s", n)
for n in range(100):
    log.warning("lost", source="ocean", seconds=n)
log.warning("lost", source="foundry")
try:
    fail("geh" + "eim")
except ValueError:
    log.exception("failed")
    logging.getLogger("asyncio").exception("failed too")
warnings.warn("old")
thread = threading.Thread(target=fail, args=("geh" + "eim",), name="worker")
thread.start()
thread.join()
Unraisable()
fail("geh" + "eim")
"""
UNCAUGHT = "uncaught_exception"
TRACEBACKS = 5


@cache
def piped(format_: str, level: str = "info") -> str:
    """The program's output to a standard error that is not a terminal."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, format_, level],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert not ran.stdout
    assert ran.returncode == 1  # its last line raises
    return ran.stderr


def parsed(format_: str, level: str = "info") -> list[dict[str, Any]]:
    """The program's lines, all of which must be JSON."""
    return [json.loads(line) for line in piped(format_, level).splitlines()]


@cache
def in_terminal(format_: str) -> str:
    """The program's output to a standard error that is a terminal."""
    terminal, child = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, format_, "info"], stderr=child
        ) as process:
            os.close(child)
            written = b"".join(iter(lambda: _read(terminal), b""))
        assert process.returncode == 1
    finally:
        os.close(terminal)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux reports that the other end is closed
        return b""


def test_without_a_terminal_every_line_is_json() -> None:
    lines = parsed("auto")
    warned = next(line for line in lines if line["logger"] == "py.warnings")
    assert "UserWarning: old" in warned.pop("event")
    assert [line.get("event") for line in lines] == [
        "started",
        "connected",
        *["from a library"] * 4,
        "Unable connect to node with id 0",
        *["lost"] * 2,
        "failed",
        "failed too",
        None,
        *[UNCAUGHT] * 3,
    ]
    assert {line["service"] for line in lines} == {"streams"}
    started = lines[0]
    assert started.pop("timestamp").endswith("Z")
    assert started == {
        "event": "started",
        "level": "info",
        "logger": "miningmap.test",
        "port": 8080,
        "service": "streams",
    }


def test_loggers_of_libraries_keep_their_names_and_levels() -> None:
    lines = parsed("json")
    names = Counter((line["logger"], line["level"]) for line in lines if "library" in line["event"])
    libraries = ("aiohttp.server", "aiokafka.conn", "faust.worker", "mode.services")
    assert names == Counter((name, "warning") for name in libraries)
    (connected,) = (line for line in lines if line["event"] == "connected")
    assert connected["logger"] == "aiohttp.server"


def record(number: int, at: str = "a.py") -> logging.LogRecord:
    return logging.LogRecord("aiokafka", logging.ERROR, at, 1, "node %s is away", (number,), None)


def test_a_repeated_error_is_logged_once_a_minute_with_the_number_left_out() -> None:
    times = [0.0] * 101 + [60.0]
    limit = logs.RepeatFilter(clock=iter(times).__next__)
    assert [limit.filter(record(n)) for n in range(100)] == [True] + [False] * 99
    assert limit.filter(record(0, "b.py"))
    later = record(0)
    assert limit.filter(later)
    assert later.__dict__["suppressed"] == 99


def test_what_is_not_a_warning_is_never_left_out() -> None:
    limit = logs.RepeatFilter()
    calm = logging.LogRecord("a", logging.INFO, "a.py", 1, "polled", (), None)
    assert [limit.filter(calm) for _ in range(2)] == [True, True]


def test_the_same_event_with_another_exception_is_another_cause() -> None:
    limit = logs.RepeatFilter()
    passed = []
    for error in (ValueError("a"), KeyError("a"), ValueError("b")):
        event = {"event": "message_failed", "topic": "t", "exc_info": error}
        passed.append(limit.filter(logging.LogRecord("a", 40, "a.py", 1, event, (), None)))
    assert passed == [True, True, False]


def test_uncaught_exceptions_are_logged_with_their_origin() -> None:
    thread, ignored, last = (line for line in parsed("json") if line["event"] == UNCAUGHT)
    assert (thread["level"], thread["thread"]) == ("critical", "worker")
    assert (ignored["level"], "Unraisable.__del__" in ignored["ignored_in"]) == ("error", True)
    assert last["level"] == "critical"
    for line in (thread, ignored, last):
        assert line["exception"].endswith("ValueError: no entry")


def test_the_default_format_in_a_terminal_is_the_console_format() -> None:
    written = in_terminal("auto")
    assert "\x1b[" in written
    assert "started" in written
    assert "{" not in written
    assert written.count("ValueError: no entry") == TRACEBACKS
    assert "geheim" not in written


def test_json_in_a_terminal() -> None:
    assert json.loads(in_terminal("json").splitlines()[0])["event"] == "started"


def test_the_console_format_in_a_pipe_has_no_colours() -> None:
    written = piped("console")
    assert "[info     ] started" in written
    assert "\x1b[" not in written


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format_: str) -> None:
    written = piped(format_)
    assert written.count("Traceback (most recent call last)") == TRACEBACKS
    assert written.count("ValueError: no entry") == TRACEBACKS
    assert "geheim" not in written


def test_the_level_applies_to_libraries() -> None:
    events = [line["event"] for line in parsed("json", "error")]
    assert events == ["Unable connect to node with id 0", "failed", "failed too", *[UNCAUGHT] * 3]
    assert [line["event"] for line in parsed("json", "debug")][:2] == ["details", "started"]


def test_the_format_that_a_process_passes_to_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for terminal, auto in ((True, "console"), (False, "json")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert logs.resolved_format(Log(format="auto")) == auto
        assert logs.resolved_format(Log(format="console")) == "console"
        assert logs.resolved_format(Log(format="json")) == "json"
