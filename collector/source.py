"""What a source is: a declaration, a pure ``parse``, what it reads, and the ways it can fail.

A source is one file, ``collector/pools/SLUG.py`` or ``collector/network/SLUG.py``, that holds a
``parse`` and one ``SOURCE``. It says what to ask, how often and why; asking, retrying, limits and
plausibility are not its business. Adding one is adding that file and its recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from miningmap.messages import Located

Kind: TypeAlias = Literal["pools", "network"]
Auth: TypeAlias = Literal["none"]
Confidence: TypeAlias = Literal["high", "medium", "low"]

Reason: TypeAlias = Literal[
    # transient
    "timeout",
    "connection",
    "rate_limited",  # 429, and the 403 of hosts that block for a while
    "server_error",
    "not_json",  # HTML, a body cut short, nothing at all
    "refused",  # an error that came as a 200
    # credentials
    "unauthorized",
    # permanent
    "redirect",
    "client_error",
    "address",  # private, or not HTTPS
    "too_large",
    "shape",
    "unit",
    "implausible",
    # no error, but no figure either
    "unknown_value",
]
"""Why a source gave no figure: from a short list, so that it can be a metric's label."""


class SourceError(Exception):
    """No figure, and why: ``reason`` from a short list, the text for people.

    ``source`` is the slug, empty until the one who called the adapter fills it in.
    """

    def __init__(self, text: str, *, reason: Reason, source: str = "") -> None:
        super().__init__(text)
        self.reason: Reason = reason
        self.source = source


class TransientError(SourceError):
    """Try again: after ``retry_after_s`` seconds, where the server said so."""

    def __init__(
        self, text: str, *, reason: Reason, source: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(text, reason=reason, source=source)
        self.retry_after_s = retry_after_s


class CredentialsError(SourceError):
    """The key is missing or wrong: someone has to put it right."""


class PermanentError(SourceError):
    """The answer is not what the adapter knows: someone has to look at it."""


@dataclass(frozen=True)
class Request:
    """One HTTP GET. Its host is the only one that is asked for it."""

    url: str


@dataclass(frozen=True)
class Reading:
    """What a source says of one pool.

    Attributes:
        pool: the slug, mempool's where mempool knows the pool.
        hashrate: of the whole pool, in H/s.
        places: where it is, as far as the source says; may add up to less.
        observed_at: the source's own time of the figure, ``None`` where it gives none.
    """

    pool: str
    hashrate: float
    places: tuple[Located, ...] = ()
    observed_at: datetime | None = None


@dataclass(frozen=True)
class NetworkReading:
    """What a source says of the network's hashrate (H/s)."""

    hashrate: float
    observed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """The declaration that both kinds of source share.

    Attributes:
        slug: the file's name, and ``source`` in messages.
        name: for people.
        home: URL of whoever runs it.
        docs: URL of the API's documentation, ``None`` where there is none.
        terms: URL or text of what its use is bound to.
        auth: what it needs to be asked.
        requests: what is asked at each poll, in the order in which ``parse`` gets the bodies.
        poll_s: seconds between polls, less than an hour (method.md 2: longer reports are hourly).
        poll_reason: why not more often, and not less.
        averaging_s: the time over which the source averages its figure, in seconds.
        hold_s: how long a figure stands in for the next, in seconds.
        locates: what places it can give, in words.
        confidence: that shape, unit and address are as declared.
        default: polled unless the settings name other sources.
        parse: bodies and the time at which they were fetched to readings. Pure. What the source
            does not know is left out. Raises a :class:`SourceError`.
    """

    kind: ClassVar[Kind]

    slug: str
    name: str
    home: str
    docs: str | None
    terms: str
    auth: Auth = "none"
    requests: tuple[Request, ...]
    poll_s: int
    poll_reason: str
    averaging_s: int
    hold_s: int
    locates: str = "nothing"
    confidence: Confidence
    default: bool
    parse: Callable[[Sequence[bytes], datetime], Sequence[Reading | NetworkReading]]

    @property
    def path(self) -> str:
        """``pools/mempool``: unlike the slug alone, one source only."""
        return f"{self.kind}/{self.slug}"


@dataclass(frozen=True, kw_only=True)
class PoolSource(Source):
    """A source of pools' hashrates.

    Attributes:
        pool: the slug of the one pool that it speaks of, ``None`` if it speaks of many.
    """

    kind = "pools"

    pool: str | None
    parse: Callable[[Sequence[bytes], datetime], Sequence[Reading]]


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Source):
    """A source of the whole network's hashrate."""

    kind = "network"

    parse: Callable[[Sequence[bytes], datetime], Sequence[NetworkReading]]
