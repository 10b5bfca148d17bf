"""Run several processes as one: start, watch and stop them together.

::

    async with Supervisor() as supervisor:
        await supervisor.start(broker, redis)  # both at once, until both are ready
        await supervisor.start(streams, endpoint)
        await supervisor.run_for(None)

On Ctrl-C, SIGTERM or a closed terminal the body is cancelled and the block ends normally. If a
child ends by itself, the body is cancelled and a :class:`ChildError` is raised, unless it is one
that is started again: a service ends itself with exit code 1 when it is stuck. In any case all
children have ended when the block has. On Linux they also end if this process is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

READY_S: Final = 30.0
# For all children together. Docker, for example, kills a stopping container after 10 s by default.
GRACE_S: Final = 8.0

FIRST_PAUSE_S: Final = 1.0
"""The pause before a child is started again, in seconds; it doubles each time."""
LONGEST_PAUSE_S: Final = 30.0

_POLL_S: Final = 0.05
# The output of a child that has ended is read to its end, unless another process keeps the pipe
# open for longer than this.
_OUTPUT_END_S: Final = 1.0
# The event loop may be notified of a child's end only after the body has failed because of it.
_END_NOTICE_S: Final = 0.25
_TAIL_LINES: Final = 20
_CHUNK: Final = 65_536

# Runs in the child before the real program. It asks the kernel to kill the child when its parent
# ends, even if the parent is killed. A preexec_fn would do the same, but is unsafe when other
# threads run. This interpreter ignores SIGPIPE and SIGXFSZ, and exec would pass that on.
_BIND_TO_PARENT: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has already ended")
for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored, signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"cannot run {sys.argv[2]}: {error.strerror}", file=sys.stderr)
    sys.exit(127)
"""


def bound_to_this_process(argv: Sequence[str]) -> list[str]:
    """Return the command in a wrapper that is killed when this process ends, even if by SIGKILL.

    Works on Linux; elsewhere the command is returned unchanged. The kernel also kills it when the
    *thread* that started it ends, so start it from a thread that lives long enough.
    """
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), *argv]


@dataclass(frozen=True)
class Child:
    """A process to run.

    Attributes:
        name: the prefix of each line of its output.
        argv: the command.
        env: added to the environment of this process.
        ready: polled until it returns true; ``None`` if the child is ready once started.
        restarts: whether it is started again if it fails after it was ready: with exit code 1, or
            by a signal. Any other exit code is an end that a restart would only repeat.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[bool]] | None = None
    restarts: bool = False


class ChildError(Exception):
    """A child did not start, did not become ready, or ended by itself.

    The text names the child and ends with the last lines of its output.
    """


def _to_stderr(line: str) -> None:
    # The children's output must be read even if the terminal is closed, or they would block.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the children's own output


class Supervisor:
    """Starts child processes, passes on their output, and stops all of them when its block ends.

    An asynchronous context manager. Use it in the main thread, which receives the signals.
    """

    def __init__(
        self, *, output: Callable[[str], None] = _to_stderr, grace_s: float = GRACE_S
    ) -> None:
        """Create a supervisor; it does nothing before ``async with``.

        Args:
            output: called with every line of every child, as ``name | line``.
            grace_s: seconds that all children together have to end before they are killed.
        """
        self._output = output
        self._grace_s = grace_s
        self._running: list[_Running] = []
        self._child_ended = asyncio.Event()
        self._failure: ChildError | None = None  # a child that ended while the body ran
        self._cancelled = False  # whether this object has cancelled the body
        self._restarts: dict[str, int] = {}  # by the name of each child that was ready
        self._leaving = asyncio.Event()
        self._left = False  # whether the body has ended, so that it must not be cancelled any more
        self._body: asyncio.Task[object]
        self._watchers: asyncio.TaskGroup
        self._exit = AsyncExitStack()
        self._stop_signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
            self._stop_signals.append(signal.SIGHUP)

    async def __aenter__(self) -> Self:
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 - a coroutine runs in a task
        self._body = body
        # The exit stack unwinds in reverse: it stops the children first, then waits for the
        # watchers, which end with them.
        self._watchers = await self._exit.enter_async_context(asyncio.TaskGroup())
        loop = asyncio.get_running_loop()
        for stop_signal in self._stop_signals:
            loop.add_signal_handler(stop_signal, self._cancel_body)
            self._exit.callback(loop.remove_signal_handler, stop_signal)
        self._exit.push_async_callback(self._stop_children)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Stop the children, then end the block in one of four ways.

        - A child ended by itself: raise its ChildError, caused by the body's own error if any.
        - A signal stopped the body: end normally.
        - The body failed, or another task cancelled it: pass that on.
        - The body ended: end normally.
        """
        self._left = True
        self._leaving.set()
        # If a request to cancel is left after this object's own, another task has made it.
        is_own_cancellation = (
            self._cancelled
            and self._body.uncancel() == 0
            and isinstance(exc, asyncio.CancelledError)
        )
        error = exc if isinstance(exc, Exception) else None
        try:
            if error is not None and not self._cancelled:
                self._failure = await self._unexpected_end()
        finally:
            await self._exit.aclose()
        if self._failure is not None:
            raise self._failure from error
        return is_own_cancellation

    async def start(self, *children: Child, within_s: float = READY_S) -> None:
        """Start ``children`` in this order without waiting in between; return when all are ready.

        Raises:
            ChildError: one cannot be started, or is not ready after ``within_s`` seconds.
        """
        started = [await self._launch(child) for child in children]
        deadline = asyncio.get_running_loop().time() + within_s
        for running in started:
            try:
                async with asyncio.timeout_at(deadline):
                    await running.until_ready()
                self._restarts.setdefault(running.child.name, 0)
            except TimeoutError:
                raise ChildError(running.describe(f"was not ready after {within_s:g} s")) from None

    async def run_for(self, seconds: float | None) -> None:
        """Wait for ``seconds``, or with ``None`` until the body is cancelled."""
        await asyncio.sleep(float("inf") if seconds is None else seconds)

    async def _launch(self, child: Child) -> _Running:
        try:
            running = await _Running.launch(child)
        except OSError as error:
            raise ChildError(f"{child.name} cannot be started: {error}") from None
        # No await between the start of the process and this: a cancellation would leave it behind.
        running.watcher = self._watchers.create_task(self._watch(running))
        self._running.append(running)
        return running

    async def _watch(self, running: _Running) -> None:
        """Pass on a child's output until it has ended; cancel the body if that is unexpected."""
        await running.until_ended(self._output, self._child_ended)
        if self._is_over() or await self._started_again(running):
            return
        self._failure = running.unexpected_end()
        self._cancel_body()

    def _is_over(self) -> bool:
        return self._left or self._failure is not None

    async def _started_again(self, ended: _Running) -> bool:
        """Start a child again that has failed, if it is one of those, and return whether it is."""
        child = ended.child
        restarts = self._restarts.get(child.name)  # None until it was ready
        if not child.restarts or restarts is None or not ended.has_failed:
            return False
        pause_s = min(FIRST_PAUSE_S * 2**restarts, LONGEST_PAUSE_S)
        self._restarts[child.name] = restarts + 1
        self._output(f"{child.name} | {ended.end()}; it is started again in {pause_s:g} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._leaving.wait()
        if self._is_over():
            return True
        self._running.remove(ended)
        again = await self._launch(child)
        if self._is_over():  # then nothing else stops it
            again.signal_group(signal.SIGKILL)
        return True

    def _cancel_body(self) -> None:
        if not self._left and not self._cancelled:
            self._cancelled = True
            self._body.cancel()

    async def _unexpected_end(self) -> ChildError | None:
        """Return the unexpected end that may have caused the body's error, if there is one.

        If several children have ended, it is the end of the one that was started first.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_NOTICE_S):
                await self._child_ended.wait()
        for running in self._running:
            if running.process.returncode is not None:
                await asyncio.wait({running.watcher})
                return running.unexpected_end()
        return None

    async def _stop_children(self) -> None:
        """Send SIGTERM to the children in reverse order, and wait for each to end.

        Each child gets an equal part of the time left. If it has not ended by then, the next one is
        signalled too. Whatever still runs after ``grace_s`` is killed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        try:
            for left, running in reversed(list(enumerate(self._running, start=1))):
                running.signal_group(signal.SIGTERM)
                await asyncio.wait({running.watcher}, timeout=(deadline - loop.time()) / left)
        finally:
            for running in self._running:
                running.signal_group(signal.SIGKILL)


class _Running:
    """A child process that was started.

    Attributes:
        child: as declared.
        process: of the child, and the leader of its process group.
        watcher: the task that ends when the process group and its output have ended.
    """

    def __init__(
        self,
        child: Child,
        process: Process,
        output: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        self.child = child
        self.process = process
        self.watcher: asyncio.Task[None]
        self._reader = output
        self._transport = transport
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    @classmethod
    async def launch(cls, child: Child) -> _Running:
        reader, transport, writing = await _pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *bound_to_this_process(child.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**os.environ, **child.env},
                start_new_session=True,
            )
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(writing)
        return cls(child, process, reader, transport)

    async def until_ended(self, output: Callable[[str], None], ended: asyncio.Event) -> None:
        """Wait until the child, its process group and its output have ended.

        Args:
            output: called with each line.
            ended: set as soon as the child itself has ended.
        """
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(output))
                await self._wait()
                ended.set()
                await asyncio.wait({reading}, timeout=_OUTPUT_END_S)
                reading.cancel()
        finally:
            self._transport.close()

    async def _wait(self) -> None:
        """Wait until the child has ended, and kill the processes that it leaves behind.

        If the wait is cancelled, for example because a line cannot be passed on, kill the child.
        """
        try:
            await self.process.wait()
        finally:
            self._send(signal.SIGKILL)
            await self.process.wait()

    async def until_ready(self) -> None:
        ready = self.child.ready
        while ready is not None and not await ready():  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(_POLL_S)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and the processes that it started, unless all have ended."""
        if not self.watcher.done():
            self._send(number)

    @property
    def has_failed(self) -> bool:
        """Whether it has ended in a way that another start can mend."""
        code = self.process.returncode
        return code is not None and (code == 1 or code < 0)

    def end(self) -> str:
        """Return how it has ended."""
        code = self.process.returncode or 0
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"ended unexpectedly ({how})"

    def unexpected_end(self) -> ChildError:
        return ChildError(self.describe(self.end()))

    def describe(self, what: str) -> str:
        """Return what happened to the child, with the last lines of its output."""
        lines = "".join(f"\n  {line}" for line in self._tail)
        return f"{self.child.name} {what}" + (f"; its last lines:{lines}" if lines else "")

    def _send(self, number: signal.Signals) -> None:
        # macOS raises PermissionError for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    async def _read(self, output: Callable[[str], None]) -> None:
        """Pass on each line; a line that is too long is passed on in pieces."""
        remainder = b""
        while chunk := await self._reader.read(_CHUNK):
            *lines, remainder = (remainder + chunk).split(b"\n")
            if len(remainder) > _CHUNK:
                lines, remainder = [*lines, remainder], b""
            for line in lines:
                self._emit(line, output)
        if remainder:
            self._emit(remainder, output)

    def _emit(self, line: bytes, output: Callable[[str], None]) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._tail.append(text)
        output(f"{self.child.name} | {text}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


async def _pipe() -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    """Return a reader, its transport, and the descriptor that a child writes to.

    This replaces asyncio's own pipes, with which ``process.wait()`` also waits until every process
    that has inherited the pipe closes it.
    """
    reading, writing = os.pipe()
    output = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
    )
    return output, transport, writing
