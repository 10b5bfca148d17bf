"""The only error that this package raises, and the conversion of aiokafka's errors to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_BROKER: Final = "start the broker, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
CREATE_TOPICS: Final = "run `miningmap topics`"

TIMEOUT_S: Final = 30.0
"""How long one exchange with the broker may take, in seconds."""


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
        cls, servers: str, problem: object, remedy: str = START_BROKER, *, retriable: bool = True
    ) -> Self:
        """Return the error with a text that names the servers, the problem and the remedy."""
        line = " ".join(str(problem).split())
        return cls(f"Kafka at {servers}: {line}; {remedy}", retriable=retriable)


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
