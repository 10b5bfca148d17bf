"""A client of a Redis Cluster, which is used like the one of a single Redis.

Each command goes to the node that has the slot of its key. docs/adr/0017-redis-cluster.md says what
a pipeline over several nodes promises, and why this is not redis-py's own client of a cluster.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's
    MovedError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - redis-py's
    TryAgainError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

Address: TypeAlias = tuple[str, int]
"""The host and the port of a node."""
Command: TypeAlias = "tuple[tuple[Any, ...], Mapping[str, Any]]"
"""The words of a command, and redis-py's options for its reply."""

WAIT_S: Final = 5.0
"""How long a command waits while its slot is being moved, or while no node has it, in seconds."""

_PAUSE_S: Final = 0.05
_LOST: Final = (ConnectionError, TimeoutError, OSError)
_REDIRECTED: Final = (AskError, TryAgainError, ClusterDownError)  # a MovedError is an AskError
_OF_ALL_NODES: Final = frozenset({"SCRIPT LOAD", "SCRIPT FLUSH", "FLUSHALL", "FLUSHDB"})
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA", "EVAL_RO"})
_WITHOUT_KEY: Final = frozenset({"PING", "INFO", "TIME", "SCAN"})


class SlotUnavailableError(ConnectionError):
    """The slot of a key is being moved, or no node has it; later the same command succeeds."""


class RedisCluster(Redis):
    """All nodes of a Redis Cluster that have slots, as one client.

    A pipeline without a transaction may touch any keys. Its commands on keys of **one slot** run in
    their order; those of different slots run in any, some perhaps before others fail. Each command
    can run twice, as with any Redis if a connection is lost, so what it does must be repeatable.

    A transaction is in one slot: that of the key that ``pipeline`` gets as its ``shard_hint``.

    Args:
        seed: a client of any node, which knows the others.
        connect: makes the client of the node at a host and a port.
    """

    def __init__(self, seed: Redis, connect: Callable[[str, int], Redis]) -> None:
        super().__init__(connection_pool=seed.connection_pool)
        self._seed = seed
        self._connect = connect
        self._nodes: dict[Address, Redis] = {}
        self._slots: dict[int, Address] = {}
        self._is_known = False  # which node has which slot
        self._lost: set[Address] = set()  # the nodes to which a connection failed since then
        self._asking = asyncio.Lock()

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        """Run a command at the node that has its key; a few without one are for all nodes."""
        if args[0] in _OF_ALL_NODES:
            for node in await self.primaries():
                reply = await _execute(node, args, options)
            return reply
        (reply,) = await self.run([(args, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(
        self,
        transaction: bool = True,  # noqa: FBT001, FBT002 - redis-py's signature
        shard_hint: str | None = None,
    ) -> Pipeline:
        """Return a pipeline; as a transaction it is in the slot of the key ``shard_hint``."""
        if not transaction:
            return _Pipeline(self)
        if shard_hint is None:
            raise ValueError("a transaction on a Redis Cluster needs a key of its slot")
        return _Transaction(self, shard_hint)

    async def scan_iter(  # type: ignore[override] # as redis-py's own asyncio clients
        self,
        match: Any = None,  # noqa: ANN401 - redis-py's
        count: int | None = None,
        _type: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> AsyncIterator[Any]:
        """Yield the keys of all nodes; one that moves meanwhile can be missed, or come twice."""
        for node in await self.primaries():
            async for key in node.scan_iter(match, count, _type, **options):
                yield key

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001
        """Close the connections to all nodes."""
        for node in (*self._nodes.values(), self._seed):
            await node.aclose(close_connection_pool)

    # --- nodes ---

    async def primaries(self) -> list[Redis]:
        """Return a client of each node that has slots.

        Raises:
            redis.RedisError: no node that is known can be asked, or a slot has none.
        """
        await self._know()
        if lacking := REDIS_CLUSTER_HASH_SLOTS - len(self._slots):
            self.forget()
            raise SlotUnavailableError(f"{lacking} slots of the Redis Cluster have no node")
        return [self._node(address) for address in sorted(set(self._slots.values()))]

    async def node_of(self, key: str) -> Redis:
        """Return a client of the node that has the slot of a key."""
        return self._node(await self._address(_slot(key)))

    def forget(self) -> None:
        """Ask again which node has which slot, before the next command."""
        self._is_known = False

    def _node(self, address: Address) -> Redis:
        if address not in self._nodes:
            self._nodes[address] = self._connect(*address)
        return self._nodes[address]

    async def _address(self, slot: int) -> Address:
        """Return the node that has a slot; wait a little while there is none."""
        until = time.monotonic() + WAIT_S
        while True:
            await self._know()
            if slot in self._slots:
                return self._slots[slot]
            self.forget()
            if time.monotonic() > until:
                raise SlotUnavailableError(f"no node of the Redis Cluster has the slot {slot}")
            await asyncio.sleep(_PAUSE_S)

    async def _know(self) -> None:
        if self._is_known:
            return
        async with self._asking:
            if not self._is_known:
                await self._ask()

    async def _ask(self) -> None:
        """Ask a node which one has which slot; those that were lost come last."""
        reachable = [node for address, node in self._nodes.items() if address not in self._lost]
        lost = [node for address, node in self._nodes.items() if address in self._lost]
        problems: list[Exception] = []
        for node in (*reachable, self._seed, *lost):
            try:
                ranges = await _execute(node, ("CLUSTER SLOTS",), {})
            except (RedisError, OSError) as error:
                problems.append(error)
                continue
            asked = node.connection_pool.connection_kwargs["host"]
            self._slots = {
                slot: (host.decode() if host else asked, port)
                for first, last, (host, port, *_), *_ in ranges
                for slot in range(first, last + 1)
            }
            self._lost.clear()
            self._is_known = True
            return
        raise problems[0]

    # --- commands ---

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands; return their replies, of which errors can be some.

        What was redirected runs once more, and so does what comes after it in the same slot: the
        order in a slot is kept.

        Raises:
            redis.RedisError: a node was lost, or a slot was unavailable for too long; some of the
                commands may have run.
        """
        slots = [_slot(_key_of(args)) for args, _ in commands]
        replies = await self._run_at_once(commands, slots)
        redirected: set[int] = set()
        until = time.monotonic() + WAIT_S
        for number, slot in enumerate(slots):
            if slot in redirected or isinstance(replies[number], _REDIRECTED):
                redirected.add(slot)
                replies[number] = await self._run_alone(commands[number], slot, until)
        return replies

    async def _run_at_once(self, commands: Sequence[Command], slots: Sequence[int]) -> list[Any]:
        """Run commands in one round trip to each node, to all nodes at the same time."""
        await self._know()
        numbers_at: dict[Address, list[int]] = {}
        for number, slot in enumerate(slots):
            address = self._slots.get(slot) or await self._address(slot)
            numbers_at.setdefault(address, []).append(number)
        answered = await asyncio.gather(
            *(
                self._run_at(address, [commands[number] for number in numbers])
                for address, numbers in numbers_at.items()
            ),
            return_exceptions=True,  # so that nothing is left running when this ends
        )
        replies: list[Any] = [None] * len(commands)
        for numbers, found in zip(numbers_at.values(), answered, strict=True):
            if isinstance(found, BaseException):
                raise found
            for number, reply in zip(numbers, found, strict=True):
                replies[number] = reply
        return replies

    async def _run_at(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        """Run commands at a node; return their replies, of which errors can be some."""
        node = self._node(address)
        try:
            if len(commands) > 1:
                return await _run_all(node, commands)
            return [await _execute(node, *commands[0])]
        except _LOST:
            self._lost.add(address)
            self.forget()
            raise
        except ResponseError as error:
            return [error] * len(commands)

    async def _run_alone(self, command: Command, slot: int, until: float) -> Any:  # noqa: ANN401
        """Run one command and follow where it is redirected to; return its reply."""
        while True:
            (reply,) = await self._run_at(await self._address(slot), [command])
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                # The slot is being moved, and the key is not there any more, or not yet anywhere.
                # ASKING is for the next command on the same connection.
                asked = (reply.host, reply.port)
                _, reply = await self._run_at(asked, [(("ASKING",), {}), command])
            if not isinstance(reply, _REDIRECTED):
                return reply
            if time.monotonic() > until:
                raise _unavailable(reply)
            if isinstance(reply, MovedError) and self._is_news(slot, reply):
                self._slots[slot] = (reply.host, reply.port)  # other nodes may not know it yet
            else:
                self.forget()
                await asyncio.sleep(_PAUSE_S)

    def _is_news(self, slot: int, moved: MovedError) -> bool:
        return bool(moved.host) and self._slots.get(slot) != (moved.host, moved.port)

    @contextmanager
    def redirections_are_losses(self) -> Iterator[None]:
        """Raise what redirects a transaction as a lost connection: it has to begin anew."""
        try:
            yield
        except _REDIRECTED as error:
            self.forget()
            raise _unavailable(error) from None
        except _LOST:
            self.forget()
            raise


async def all_servers(redis: Redis) -> list[Redis]:
    """Return a client of each server on which there are keys: each node of a cluster, or itself."""
    return await redis.primaries() if isinstance(redis, RedisCluster) else [redis]


async def server_of(redis: Redis, key: str) -> Redis:
    """Return a client of the server that has a key."""
    return await redis.node_of(key) if isinstance(redis, RedisCluster) else redis


def keeps_order(redis: Redis) -> bool:
    """Return whether all commands of a pipeline run in their order, on whatever keys."""
    return not isinstance(redis, RedisCluster)


async def _execute(node: Redis, words: Sequence[Any], options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return await node.execute_command(*words, **options)  # type: ignore[no-untyped-call]


async def _run_all(node: Redis, commands: Iterable[Command]) -> list[Any]:
    async with node.pipeline(transaction=False) as pipe:
        for args, options in commands:
            pipe.execute_command(*args, **options)
        return await pipe.execute(raise_on_error=False)


def _unavailable(error: Exception) -> SlotUnavailableError:
    is_down = isinstance(error, ClusterDownError)
    return SlotUnavailableError(str(error) if is_down else "a slot of the Redis Cluster is moving")


def _slot(key: str | bytes) -> int:
    return key_slot(key if isinstance(key, bytes) else key.encode())


def _key_of(words: Sequence[Any]) -> str | bytes:
    """Return the first key of a command.

    Raises:
        ValueError: it is none that this project uses on a cluster.
    """
    name = words[0]
    if name in _SCRIPTS:
        if words[2]:
            return cast("str | bytes", words[3])
    elif name == "XREAD":
        return cast("str | bytes", words[words.index(b"STREAMS") + 1])
    elif len(words) > 1 and name not in _WITHOUT_KEY:
        return cast("str | bytes", words[1])
    raise ValueError(f"{name} has no key by which a node of a Redis Cluster could be found")


class _Pipeline(Pipeline):
    """Commands for any nodes."""

    def __init__(self, cluster: RedisCluster) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)  # noqa: FBT003
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        commands, self.command_stack = self.command_stack, []
        if not commands:
            return []
        replies = await self._cluster.run(commands)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


class _Transaction(Pipeline):
    """Commands for the node that has the slot of a key, all or none of which are run."""

    def __init__(self, cluster: RedisCluster, key: str) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, True, key)  # noqa: FBT003
        self._cluster = cluster
        self._key = key
        self._watching: Pipeline | None = None

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Run a command before the transaction begins, on the connection that watches the keys."""
        with self._cluster.redirections_are_losses():
            if self._watching is None:
                node = await self._cluster.node_of(self._key)
                self._watching = node.pipeline(transaction=True)
            watched = self._watching.immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
            reply = await watched
            self.watching = self._watching.watching
        return reply

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        try:
            if self._watching is not None:
                with self._cluster.redirections_are_losses():
                    return await self._execute(self._watching, raise_on_error)
            until = time.monotonic() + WAIT_S
            while True:
                try:
                    with self._cluster.redirections_are_losses():
                        node = await self._cluster.node_of(self._key)
                        async with node.pipeline(transaction=True) as pipe:
                            return await self._execute(pipe, raise_on_error)
                except SlotUnavailableError:
                    if time.monotonic() > until:
                        raise
                await asyncio.sleep(_PAUSE_S)
        finally:
            await self.reset()

    async def _execute(self, pipe: Pipeline, raise_on_error: bool) -> list[Any]:  # noqa: FBT001
        if self.explicit_transaction:
            pipe.multi()  # type: ignore[no-untyped-call]
        for args, options in self.command_stack:
            pipe.execute_command(*args, **options)
        return await pipe.execute(raise_on_error)

    async def reset(self) -> None:  # type: ignore[override] # as redis-py's own pipeline
        watching, self._watching = self._watching, None
        if watching is not None:
            await watching.reset()  # type: ignore[no-untyped-call]
        await super().reset()  # type: ignore[no-untyped-call]
