"""Run several processes as one: start, watch and stop them together, and leave nothing behind.

::

    async with Supervisor() as supervisor:
        await supervisor.start(broker, redis)  # both at once, until both are ready
        await supervisor.start(streams, endpoint)
        await supervisor.run_for(None)

The body is cancelled when the user asks for the end (Ctrl-C, SIGTERM, a closed terminal), which
ends the block normally, or when a child dies, which raises a :class:`ChildError` with the last
lines of its output.
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
# For all children together. It keeps the whole shutdown well under the promised 10 s.
GRACE_S: Final = 8.0

_POLL_S: Final = 0.05
# The output of a child that has ended is read to its end, unless another process keeps the pipe
# open for longer than this.
_OUTPUT_END_S: Final = 1.0
# The event loop may hear of a child's end only after the body has failed because of it.
_DEATH_NOTICE_S: Final = 0.25
_TAIL_LINES: Final = 20
_CHUNK: Final = 65_536

# Runs in the child before the real program. It asks the kernel to kill the child when its parent
# dies, even if the parent was killed. A preexec_fn would do the same, but is unsafe (and warned
# of) when other threads run. Python ignores SIGPIPE and SIGXFSZ; the program should not inherit it.
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
    """Wrap a command so that it is killed when this process dies, however that happens.

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
        name: stands before each line of its output.
        argv: the command.
        env: added to the environment of this process.
        ready: polled until it returns true; ``None`` if the child is ready once started.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[bool]] | None = None


class ChildError(Exception):
    """A child died or did not become ready; the text names it and ends with its last lines."""


def _to_stderr(line: str) -> None:
    # If the terminal has gone, the output of the children must still be read.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the children's own output


class Supervisor:
    """An asynchronous context manager; use it in the main thread, which receives the signals."""

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
        self._failure: ChildError | None = None
        self._cancelled = False
        self._ending = False
        self._died = asyncio.Event()
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
        # Left in reverse order: the children end, so that their watchers end by themselves.
        self._watchers = await self._exit.enter_async_context(asyncio.TaskGroup())
        loop = asyncio.get_running_loop()
        for stop_signal in self._stop_signals:
            loop.add_signal_handler(stop_signal, self._cancel_body)
            self._exit.callback(loop.remove_signal_handler, stop_signal)
        self._exit.push_async_callback(self._end_children)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._ending = True
        if exc is not None and not self._cancelled:
            # The body may have failed because of a death that was not noticed yet.
            self._failure = await self._first_death()
        await self._exit.aclose()
        cancelled_by_others = self._cancelled and self._body.uncancel() > 0
        if self._failure is not None:
            # Its cause is the body's own error, if there was one beside the cancellation.
            raise self._failure from None if isinstance(exc, asyncio.CancelledError) else exc
        return (
            isinstance(exc, asyncio.CancelledError) and self._cancelled and not cancelled_by_others
        )

    async def start(self, *children: Child, within_s: float = READY_S) -> None:
        """Start ``children`` at once, in this order, and wait until all of them are ready.

        Raises:
            ChildError: one cannot be started, or is not ready after ``within_s`` seconds.
        """
        started = [await self._launch(child) for child in children]
        deadline = asyncio.get_running_loop().time() + within_s
        for running in started:
            try:
                async with asyncio.timeout_at(deadline):
                    await running.until_ready()
            except TimeoutError:
                raise ChildError(running.described(f"was not ready after {within_s:g} s")) from None

    async def run_for(self, seconds: float | None) -> None:
        """Wait for ``seconds``, or with ``None`` until the end is asked for."""
        await asyncio.sleep(float("inf") if seconds is None else seconds)

    async def _launch(self, child: Child) -> _Running:
        try:
            running = await _Running.launch(child)
        except OSError as error:
            raise ChildError(f"{child.name} cannot be started: {error}") from None
        # No await between the start of the process and this: it must not get lost.
        running.watcher = self._watchers.create_task(self._watch(running))
        self._running.append(running)
        return running

    async def _watch(self, running: _Running) -> None:
        """Pass on a child's output until it has ended; its death ends the body."""
        await running.until_gone(self._output, self._died)
        if not self._ending and self._failure is None:
            self._failure = running.death()
            self._cancel_body()

    def _cancel_body(self) -> None:
        if not self._ending and not self._cancelled:
            self._cancelled = True
            self._body.cancel()

    async def _first_death(self) -> ChildError | None:
        """Return the death that explains an error of the body, if there is one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DEATH_NOTICE_S):
                await self._died.wait()
        for running in self._running:
            if running.process.returncode is not None:
                await asyncio.wait({running.watcher})
                return running.death()
        return None

    async def _end_children(self) -> None:
        """Send SIGTERM in reverse order, to each child once the one before has ended.

        A child that does not end has its share of the grace to itself; then the next one gets the
        signal too. Unused time goes to the others, and only after the whole grace is a child
        killed.
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
    """A started child. ``watcher`` ends when its process group and its output have ended."""

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

    async def until_gone(self, output: Callable[[str], None], died: asyncio.Event) -> None:
        """Wait until the child, its process group and its output have ended.

        Args:
            output: called with each line.
            died: set as soon as the child has ended.
        """
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(output))
                await self._wait()
                died.set()
                await asyncio.wait({reading}, timeout=_OUTPUT_END_S)
                reading.cancel()
        finally:
            self._transport.close()

    async def _wait(self) -> None:
        """Wait for the child's end, and kill the processes that it leaves behind.

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

    def death(self) -> ChildError:
        code = self.process.returncode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ChildError(self.described(f"ended unexpectedly ({how})"))

    def described(self, what: str) -> str:
        lines = "".join(f"\n  {line}" for line in self._tail)
        return f"{self.child.name} {what}" + (f"; its last lines:{lines}" if lines else "")

    def _send(self, number: signal.Signals) -> None:
        # macOS raises PermissionError for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    async def _read(self, output: Callable[[str], None]) -> None:
        """Pass on each line, and the pieces of lines that are too long."""
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


async def _pipe() -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    """Return a reader, its transport, and the descriptor that a child writes to.

    With asyncio's own pipes, waiting for a child could mean waiting for its children too.
    """
    reading, writing = os.pipe()
    output = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
    )
    return output, transport, writing
