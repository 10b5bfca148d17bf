"""Logging to standard error: lines for people in a terminal, JSON everywhere else.

Importing this module does not import structlog: the base install has none, and no service either.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal

from miningmap.dependencies import RepeatLimit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from miningmap.settings import Log

# They log every connection at the level info, and at debug what they send and receive: headers that
# quote a key, for example.
_CHATTY: Final = ("aiokafka", "faust", "mode", "aiohttp.access", "httpx", "httpcore", "kafka")


class RepeatFilter(logging.Filter):
    """Lets a warning or error through once a minute, and counts its repetitions.

    While Kafka is away, aiokafka logs the same hundred times a second. The next line that passes
    has the number of those that did not in ``record.suppressed``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._limit = RepeatLimit(clock)
        self._lock = threading.Lock()  # Faust's consumer logs in a thread of its own

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if record.levelno < logging.WARNING:
            return True
        with self._lock:
            left_out = self._limit.left_out(_cause(record))
        if left_out:
            record.suppressed = left_out
        return left_out is not None


def _cause(record: logging.LogRecord) -> str:
    """Where a record comes from: for an event its words, for other records the line of code."""
    if not isinstance(record.msg, dict):
        return "|".join(
            (record.name, f"{record.pathname}:{record.lineno}", _raised(record.exc_info))
        )
    fields = {k: v for k, v in record.msg.items() if k not in {"timestamp", "exc_info"}}
    words = (f"{name}={value}" for name, value in fields.items() if isinstance(value, str))
    return "|".join((*words, _raised(record.msg.get("exc_info"))))


def _raised(exc_info: object) -> str:
    """The type of an exception and the line of code that raised it; empty without one."""
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if error is True:
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    frames = list(traceback.walk_tb(error.__traceback__))
    where = f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else ""
    return f"{type(error).__name__} {where}"


def resolved_format(log: Log) -> Literal["console", "json"]:
    """The format of this process's lines; ``auto`` means ``console`` on a terminal, else ``json``.

    A process that reads its children's lines passes the result on to them as
    ``MININGMAP_LOG__FORMAT``, because their standard error is always a pipe.
    """
    if log.format == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return log.format


def configure(log: Log, service: str) -> None:
    """Set up logging for this process, to be called once at its start.

    Covers structlog, the standard library's loggers (so aiokafka's and Faust's too), warnings, and
    uncaught exceptions. The same warning or error is logged at most once a minute.

    Args:
        log: level and format; ``auto`` is ``console`` where standard error is a terminal.
        service: is added to every line, so that the lines of several services can be merged.
    """
    import structlog  # noqa: PLC0415 - see above

    def add_service(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    def add_suppressed(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if left_out := getattr(event["_record"], "suppressed", 0):
            event["suppressed"] = left_out
        return event

    shared: list[structlog.typing.Processor] = [
        add_service,  # not a context variable: Faust's threads start without those
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default prints local variables, which can be secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if resolved_format(log) == "console"
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                add_suppressed,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(log.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    _log_uncaught(structlog.get_logger(__name__))


def keep_quiet() -> None:
    """Log only errors, on standard error: for commands, which print their own errors."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each failed attempt
    try:
        import structlog  # noqa: PLC0415 - see above
    except ModuleNotFoundError:
        return
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _log_uncaught(log: Any) -> None:  # noqa: ANN401 - structlog's loggers are Any
    """Log warnings and uncaught exceptions, which Python prints as plain text otherwise."""
    logging.captureWarnings(capture=True)

    def uncaught(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            log.critical("uncaught_exception", exc_info=(kind, error, traceback))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        thread = args.thread.name if args.thread else None
        error = (args.exc_type, args.exc_value, args.exc_traceback)
        log.critical("uncaught_exception", thread=thread, exc_info=error)

    def ignored(args: sys.UnraisableHookArgs) -> None:
        error = (args.exc_type, args.exc_value, args.exc_traceback)
        log.error("uncaught_exception", ignored_in=repr(args.object), exc_info=error)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = ignored
