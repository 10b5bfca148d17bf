"""Create the Redis client of a service from its settings, and watch whether Redis is available."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import structlog
from redis import AuthenticationError, RedisError, ResponseError
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError

from miningmap.redis_access import missing_commands
from miningmap.redis_cluster import RedisCluster, all_servers
from miningmap.redis_connection import pack_in_c
from miningmap.redis_errors import cause_of, described, fullest, memory_of, write_problem
from miningmap.settings import SettingsError
from miningmap.tasks import raise_if_cancelled
from miningmap.tls import context_of, key_password_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Histogram

    from miningmap.dependencies import Dependency
    from miningmap.redis_access import Access
    from miningmap.redis_errors import Cause, Memory
    from miningmap.settings import Redis as RedisSettings

PERIOD_S: Final = 5.0
"""How often Redis is asked whether it is available, in seconds."""
DEADLINE_S: Final = 2.0
"""How long its answer may take, in seconds."""
REPEATED_S: Final = 60.0
"""Within how many seconds a write that Redis refuses is tried again, if anybody waits for it."""

_URL: Final = "MININGMAP_REDIS__URL"
_CLUSTER: Final = "MININGMAP_REDIS__CLUSTER"
_USERNAME: Final = "MININGMAP_REDIS__USERNAME"
_CA_FILE: Final = "MININGMAP_REDIS__CA_FILE"
_PASSWORD: Final = "MININGMAP_REDIS__PASSWORD"  # noqa: S105 - the name of a setting

# Their time is that of the event that they wait for.
_WAITING: Final = frozenset({"XREAD"})

_log = structlog.get_logger(__name__)


def connect(
    settings: RedisSettings, *, patient: bool = True, durations: Histogram | None = None
) -> Redis:
    """A client that connects when it is first used.

    Args:
        settings: where Redis is.
        patient: retry with pauses while Redis is unavailable, as suits a writer in the background.
            Without, a command fails at once, as suits an HTTP request; it is retried only once,
            because a restart of Redis leaves closed connections in the pool.
        durations: where the time until Redis has answered is shown, by operation.

    Raises:
        SettingsError: the URL is not one of Redis, or a file of a certificate cannot be used.
    """
    redis = _single(settings, patient=patient, durations=durations)
    if settings.ca_file or settings.certificate_file:
        context_of(settings, "REDIS")  # only to say now what is wrong with the files
    if not settings.cluster:
        return redis
    arguments = redis.connection_pool.connection_kwargs
    if arguments.get("db") or "host" not in arguments:
        raise SettingsError(f"{_URL}: expected a host without a database, as for every cluster")

    def node(host: str, port: int) -> Redis:
        at = _single(settings, patient=patient, durations=durations)
        at.connection_pool.connection_kwargs |= {"host": host, "port": port}
        return at

    return RedisCluster(redis, node)


def _single(settings: RedisSettings, *, patient: bool, durations: Histogram | None) -> Redis:
    """A client of the server that the settings name."""
    client = Redis if durations is None else _TimedRedis
    try:
        redis = client.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=5
        )
    except ValueError:  # its text can contain the password
        text = f"{_URL}: expected a URL such as redis://127.0.0.1:6379/0"
        raise SettingsError(text) from None
    if isinstance(redis, _TimedRedis) and durations is not None:
        redis.durations = durations
    redis.connection_pool.connection_kwargs |= _security_of(settings)
    pack_in_c(redis.connection_pool)
    if not patient:
        redis.set_retry(Retry(NoBackoff(), retries=1))
    return redis


async def reconnect(redis: Redis) -> None:
    """Close all connections, so that the next command looks addresses up again.

    After a failover they are to a replica, and they never end by themselves.
    """
    if isinstance(redis, RedisCluster):
        redis.forget()
    for server in await all_servers(redis):
        await server.connection_pool.disconnect()


def _security_of(settings: RedisSettings) -> dict[str, str]:
    """Return the arguments of a connection that take precedence over those of the URL."""
    arguments: dict[str, str | Path | None] = {
        "username": settings.username,
        "password": settings.password.get_secret_value() if settings.password else None,
        "ssl_ca_certs": settings.ca_file,
        "ssl_certfile": settings.certificate_file,
        "ssl_keyfile": settings.key_file,
    }
    if settings.certificate_file:
        arguments["ssl_password"] = key_password_of(settings)
    return {name: str(value) for name, value in arguments.items() if value is not None}


class _TimedRedis(Redis):
    """A client that shows how long Redis takes to answer."""

    durations: Histogram

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        command = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if args[0] in _WAITING:
            return await command
        with self.durations.labels(args[0].lower()).time():
            return await command

    def pipeline(
        self,
        transaction: bool = True,  # noqa: FBT001, FBT002 - redis-py's signature
        shard_hint: str | None = None,
    ) -> Pipeline:
        pipeline = _TimedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.duration = self.durations.labels("transaction" if transaction else "pipeline")
        return pipeline


class _TimedPipeline(Pipeline):
    duration: Histogram

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        with self.duration.time():
            return await super().execute(raise_on_error)


async def watch(
    settings: RedisSettings,
    state: Dependency,
    memory: Callable[[Memory], None] = lambda _: None,
    *,
    access: Access | None = None,
) -> NoReturn:
    """Ask Redis every few seconds whether it takes writes, and record it in ``state``.

    A write that was refused stays the reason why it does not until one succeeds, unless Redis says
    of itself that the cause is over.

    Args:
        settings: where Redis is.
        state: shows whether it does, and why not.
        memory: called with what Redis says of its memory; of a cluster, the fullest node.
        access: what the service needs, asked for when Redis has first answered.

    Raises:
        SettingsError: Redis refuses the password, the database, the certificate or a command
            before it has ever accepted them. Later that only makes it unavailable.
    """
    accepted = False
    told: str | None = None
    async with connect(settings, patient=False) as redis:
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    infos = [await _info(server) for server in await all_servers(redis)]
                    if not accepted:
                        await _require(redis, settings, access, infos)
            except (RedisError, OSError) as error:  # a TimeoutError is an OSError
                if not accepted:
                    _raise_refusal(settings, error)
                record_loss(state, error)
            else:
                accepted = True
                found = fullest(map(memory_of, infos))
                memory(found)
                if found.evicts and found.policy != told:
                    told = found.policy
                    _log.warning("redis_evicts", policy=found.policy)
                problem = next(filter(None, map(write_problem, infos)), None)
                if problem is not None:
                    _record(state, *problem)
                elif not _may_last(state, infos):
                    record_answer(state)
                if problem and problem[0] == "read_only":
                    await reconnect(redis)  # the address may have moved
            raise_if_cancelled()
            await asyncio.sleep(PERIOD_S)


async def _info(redis: Redis) -> dict[str, object]:
    """Return what Redis says of itself; nothing where it cannot be asked for that.

    Raises:
        redis.RedisError: Redis is unavailable, or takes no writes because of its disk.
    """
    async with redis.pipeline(transaction=False) as pipe:
        pipe.ping()  # refused while it cannot write its files, which INFO does not tell
        pipe.info()
        pong, info = await pipe.execute(raise_on_error=False)
    if isinstance(pong, Exception):
        raise pong
    # It may not be permitted, or unknown to a server that only speaks the protocol.
    return {} if isinstance(info, Exception) else cast("dict[str, object]", info)


def _may_last(state: Dependency, infos: Sequence[Mapping[str, object]]) -> bool:
    """Return whether the cause of a refused write may last, by what each server says of itself.

    A write that nobody repeats tells nothing: its batch was taken away, or is stuck, which only the
    stall watchdog can find, and it takes a Redis that is unavailable for an excuse.
    """
    if state.since_lost_s() > REPEATED_S:
        return False
    match state.cause:
        case "full":
            return any("maxmemory" not in info for info in infos)
        case "read_only":
            return any("role" not in info for info in infos)
        case "refused" | "too_large":
            return True
        case _:  # PING would have been refused, too
            return False


def record_loss(state: Dependency, error: Exception) -> None:
    """Record an error of Redis, and log it unless it was logged just now."""
    cause = cause_of(error)
    problem = str(error) or type(error).__name__
    _record(state, cause, described(error), problem)


def _record(state: Dependency, cause: Cause, reason: str, error: str | None = None) -> None:
    if not state.lost(reason, cause):
        return
    error = error or reason
    match cause:
        case "full":
            _log.warning("redis_full", error=error)
        case "disk":
            _log.warning("redis_disk_failed", error=error)
        case "read_only":
            _log.warning("redis_read_only", error=error)
        case "refused" | "too_large":
            _log.warning("redis_refuses", error=error)
        case _:
            _log.warning("redis_unavailable", error=error)


def is_refusal(error: Exception) -> bool:
    """Return whether Redis is available and refuses a command, such as for a key's wrong type."""
    # While it loads its data it refuses everything, by an error that is not of this type.
    return isinstance(error, ResponseError)


def record_answer(state: Dependency) -> None:
    """Record that Redis has answered."""
    if state.found():
        _log.info("redis_available")


async def _require(
    redis: Redis,
    settings: RedisSettings,
    access: Access | None,
    infos: Sequence[Mapping[str, object]],
) -> None:
    """Check that each server is what the settings say, and lets the service do its work."""
    if not settings.cluster and any(info.get("redis_mode") == "cluster" for info in infos):
        raise SettingsError(f"{_CLUSTER}: Redis is a cluster; expected true")
    if access is None:
        return
    servers = await all_servers(redis)
    of_all = [await missing_commands(server, access) for server in servers]
    if missing := dict.fromkeys(chain.from_iterable(of_all)):
        raise SettingsError(
            f"{_user_setting(settings)}: Redis does not allow this user {', '.join(missing)}; "
            "docs/deploy.md lists what each service needs"
        )


def _user_setting(settings: RedisSettings) -> str:
    return _USERNAME if settings.username else _URL


def _raise_refusal(settings: RedisSettings, error: Exception) -> None:
    """Raise the error of the setting that Redis refuses, if it does.

    The errors of Redis contain no password.
    """
    if "cluster support disabled" in str(error):
        raise SettingsError(f"{_CLUSTER}: Redis is not a cluster; expected false") from None
    if isinstance(error, NoPermissionError):
        raise SettingsError(
            f"{_user_setting(settings)}: {error}; docs/deploy.md lists what each service needs"
        ) from None
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise SettingsError(f"{_CA_FILE}: Redis's certificate is not trusted: {error}") from None
    if "[SSL" in str(error):
        raise SettingsError(f"{_URL}: {error}") from None
    if isinstance(error, AuthenticationError):
        has_password = "@" in settings.url.get_secret_value() and not settings.password
        raise SettingsError(
            f"{_URL if has_password else _PASSWORD}: Redis refuses it: {error}"
        ) from None
    if isinstance(error, ResponseError) and "DB index" in str(error):
        raise SettingsError(f"{_URL}: Redis has no such database: {error}") from None
