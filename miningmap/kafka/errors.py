"""The only error that this package raises, and the conversion of aiokafka's errors to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from aiokafka import errors
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_BROKER: Final = "start the broker, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
CREATE_TOPICS: Final = "run `miningmap topics`"
CHECK_ADDRESS: Final = (
    "check that the broker works and that MININGMAP_KAFKA__BOOTSTRAP_SERVERS is its address"
)
CHECK_REPLICAS: Final = "check that the broker is running and that its replicas are in sync"

CONNECT_S: Final = 8.0
"""How long connecting to the broker may take, in seconds."""
TIMEOUT_S: Final = 30.0
"""How long one exchange with a connected broker may take, in seconds."""

_GRANT: Final = "allow it in the broker's access rules, or use another account"
_TRY_AGAIN: Final = "try again in a few seconds"
_NOT_KAFKA: Final = (
    "set MININGMAP_KAFKA__BOOTSTRAP_SERVERS to the address of Apache Kafka 2.1 or newer"
)
_BROKER_LOG: Final = "the broker answers, but refuses this: its log has the details"

# The remedy for each kind of error; the first kind that fits counts.
_REMEDIES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (
            errors.GroupCoordinatorNotAvailableError,
            errors.GroupLoadInProgressError,
            errors.NotCoordinatorForGroupError,
            errors.LeaderNotAvailableError,
            errors.NotLeaderForPartitionError,
            errors.NotControllerError,
        ),
        _TRY_AGAIN,
    ),
    ((errors.UnknownTopicOrPartitionError,), CREATE_TOPICS),
    (
        (
            errors.NotEnoughReplicasError,
            errors.NotEnoughReplicasAfterAppendError,
            errors.RequestTimedOutError,
            errors.KafkaTimeoutError,
            errors.KafkaStorageError,
        ),
        CHECK_REPLICAS,
    ),
    (
        (
            errors.TopicAuthorizationFailedError,
            errors.GroupAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
            errors.TransactionalIdAuthorizationFailed,
        ),
        _GRANT,
    ),
    (
        (
            errors.IncompatibleBrokerVersion,
            errors.UnrecognizedBrokerVersion,
            errors.UnsupportedVersionError,
            errors.KafkaProtocolError,
        ),
        _NOT_KAFKA,
    ),
    ((errors.BrokerResponseError,), _BROKER_LOG),
    (
        (
            errors.KafkaConnectionError,
            errors.NodeNotReadyError,
            errors.NoBrokersAvailable,
            errors.KafkaUnavailableError,
            OSError,
        ),
        START_BROKER,
    ),
)


def remedy_for(error: BaseException) -> str:
    """Return what to do about an error of aiokafka or of the network."""
    fitting = (remedy for kinds, remedy in _REMEDIES if isinstance(error, kinds))
    return next(fitting, CHECK_ADDRESS)


class BrokerError(Exception):
    """Kafka could not do what was requested; the text is one line.

    Attributes:
        retriable: whether the same request can succeed later.
    """

    def __init__(self, text: str, *, retriable: bool = True) -> None:
        super().__init__(text)
        self.retriable = retriable

    @classmethod
    def at(
        cls, servers: str, problem: str | Exception, remedy: str = "", *, retriable: bool = True
    ) -> Self:
        """Return the error with a text that names the servers, the problem and the remedy.

        Without a remedy it is the one that fits the exception.
        """
        if isinstance(problem, Exception):
            remedy = remedy or remedy_for(problem)
        line = " ".join(str(problem).split()) or type(problem).__name__
        text = f"Kafka at {servers}: {line}; {remedy or CHECK_ADDRESS}"
        return cls(text, retriable=retriable)


@asynccontextmanager
async def broker_errors(servers: str, timeout_s: float | None = TIMEOUT_S) -> AsyncIterator[None]:
    """Convert aiokafka's errors inside the block to :class:`BrokerError`.

    Args:
        servers: of the broker, for the text.
        timeout_s: how long the block may take, in seconds; ``None`` for no limit.

    Raises:
        BrokerError: the broker failed, refused or did not answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        problem = "no answer" if timeout_s is None else f"no answer within {timeout_s:g} s"
        raise BrokerError.at(servers, problem) from None
    except (KafkaError, OSError) as error:
        raise BrokerError.at(servers, error) from error
