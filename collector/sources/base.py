"""What a source is: a declaration, a pure ``parse``, what it reads, and the ways it can fail.

A source is one file, ``collector/pools/SLUG.py`` or ``collector/network/SLUG.py``, that holds a
``parse`` and one ``SOURCE``. It says what to ask, how often and why; asking, retrying, limits and
plausibility are not its business. Adding one is adding that file and its recordings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from yarl import URL

from miningmap.messages import NETWORK_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from miningmap import messages
    from miningmap.messages import Located

Kind: TypeAlias = Literal["pools", "network"]
Method: TypeAlias = Literal["GET", "POST"]
Confidence: TypeAlias = Literal["high", "medium", "low"]
Granularity: TypeAlias = Literal["country", "subdivision"]
Scope: TypeAlias = Literal["pool", "account", "market", "network"]
"""Whose hashrate a source tells of: a whole pool's, one account's with it, what a market trades."""

ACCOUNT_TERMS: Final = (
    "for the account's holder; the account's hashrate is in its pool's total too, so coverage"
    " counts it twice"
)
"""Of sources whose scope is an account."""
Secrets: TypeAlias = "Mapping[str, str]"
"""What the operator set for a source, by the names that it declares."""

Reason: TypeAlias = Literal[
    # transient
    "timeout",
    "connection",
    "rate_limited",  # 429, and the 403 of hosts that block for a while
    "server_error",
    "breaker",  # the host failed so often that it is left alone for a while
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


class Rate(NamedTuple):
    """How often one host may be asked: so many requests in so many seconds."""

    requests: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.requests:g} in {self.seconds:g} s"


POLITE: Final = Rate(1, 1)
"""Where a host states no limit: once a second hurts nobody."""


@dataclass(frozen=True, repr=False)
class Request:
    """One HTTP request. Its host is the only one that is asked for it.

    A repr shows nothing else of it: there may be a key in any part.
    """

    url: str
    method: Method = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"<{self.method} to {urlsplit(self.url).hostname}>"


def host_of(url: str) -> str:
    """The host, with the port where it is not the usual one; nothing else of the URL.

    Raises:
        PermanentError: there is none.
    """
    try:
        host = URL(url).host_port_subcomponent
    except ValueError:  # whose text may quote the URL
        host = None
    if not host:
        raise PermanentError("no address like https://HOST/PATH", reason="address")
    return host


@dataclass(frozen=True)
class Credential:
    """One thing that the operator has to set for a source: ``MININGMAP_CREDENTIALS__SLUG__NAME``.

    ``NAME_FILE`` instead names a file that holds it, read anew at each poll.
    """

    name: str
    meaning: str
    required: bool = True


@dataclass(frozen=True)
class Locating:
    """What places a source can give: of which kind, how fine, and how it knows."""

    kind: messages.Kind
    granularity: Granularity
    how: str

    def __str__(self) -> str:
        return f"{self.kind} by {self.granularity}: {self.how}"


@dataclass(frozen=True)
class Reading:
    """What a source says of one pool.

    Attributes:
        pool: the slug, mempool's where mempool knows the pool.
        hashrate: of the whole pool, in H/s.
        places: where it is, as far as the source says; may add up to less.
        observed_at: the source's own time of the figure, ``None`` where it gives none.
        blocks: how many blocks the figure follows from; ``None`` where the pool reports it itself.
    """

    pool: str
    hashrate: float
    places: tuple[Located, ...] = ()
    observed_at: datetime | None = None
    blocks: int | None = None


@dataclass(frozen=True)
class NetworkReading:
    """What a source says of the network's hashrate (H/s)."""

    hashrate: float
    observed_at: datetime | None = None


def subject_of(reading: Reading | NetworkReading) -> str:
    """What a reading is about, as its message is keyed: the pool, or the network."""
    return reading.pool if isinstance(reading, Reading) else NETWORK_KEY


@dataclass(frozen=True, kw_only=True)
class Source:
    """The declaration that both kinds of source share.

    Attributes:
        slug: the file's name, and ``source`` in messages.
        name: for people.
        home: URL of whoever runs it.
        docs: URL of the API's documentation, ``None`` where there is none.
        terms: URL or text of what its use is bound to.
        credentials: what the operator has to set before it can be asked; empty for most.
        requests: what is asked at each poll, in the order in which ``parse`` gets the bodies.
        authorise: puts the credentials into a request, just before it is sent. Pure.
        configure: the source as it is asked with these credentials, where they change more than the
            requests' dress: whose sites there are, say. Pure. What is wrong with them is a
            ``SettingsError`` that names the setting. Neither leads to a host that ``requests`` does
            not name, unless it is an ``own_server``.
        own_server: at an address that the operator set, so it may be private and plain HTTP.
        rate: how often its host may be asked; of several sources of a host the strictest counts.
        poll_s: seconds between polls, less than an hour (method.md 2: longer reports are hourly).
        poll_reason: why not more often, and not less.
        averaging_s: the time over which the source averages its figure, in seconds.
        hold_s: how long a figure stands in for the next, in seconds.
        locates: what places it can give; ``None`` for none.
        confidence: that shape, unit and address are as declared.
        unsure: what could not be made sure of, in words.
        default: polled unless the settings name other sources. One with credentials is polled once
            they are set.
        parse: bodies and the time at which they were fetched to readings. Pure. What the source
            does not know is left out. Raises a :class:`SourceError`.
    """

    kind: ClassVar[Kind]

    slug: str
    name: str
    home: str
    docs: str | None
    terms: str
    scope: Scope
    credentials: tuple[Credential, ...] = ()
    requests: tuple[Request, ...]
    authorise: Callable[[Request, Secrets, datetime], Request] | None = None
    configure: Callable[[Secrets], Source] | None = None
    own_server: bool = False
    rate: Rate = POLITE
    poll_s: int
    poll_reason: str
    averaging_s: int
    hold_s: int
    locates: Locating | None = None
    confidence: Confidence
    unsure: str = ""
    default: bool
    parse: Callable[[Sequence[bytes]], Sequence[Reading | NetworkReading]]

    @property
    def path(self) -> str:
        """``pools/mempool``: unlike the slug alone, one source only."""
        return f"{self.kind}/{self.slug}"

    @property
    def auth(self) -> str:
        """The names of what it cannot be asked without; ``none`` where that is nothing."""
        return ", ".join(c.name for c in self.credentials if c.required) or "none"


@dataclass(frozen=True, kw_only=True)
class PoolSource(Source):
    """A source of pools' hashrates.

    Attributes:
        pool: the slug of the one pool that it speaks of, ``None`` if it speaks of many.
    """

    kind = "pools"

    scope: Scope = "pool"
    pool: str | None
    parse: Callable[[Sequence[bytes]], Sequence[Reading]]


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Source):
    """A source of the whole network's hashrate."""

    kind = "network"

    scope: Scope = "network"
    parse: Callable[[Sequence[bytes]], Sequence[NetworkReading]]
