"""The declaration of a source, its readings, and its errors.

A source is one file, ``collector/pools/SLUG.py`` or ``collector/network/SLUG.py``, with a pure
``parse`` and one ``SOURCE``. It declares what to request, how often and why. Requests, retries,
limits and plausibility are handled elsewhere. ``docs/add-a-pool.md`` shows how to add a source: one
file and its recordings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from yarl import URL

from miningmap.messages import NETWORK_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from miningmap import messages
    from miningmap.messages import Located

SourceType: TypeAlias = Literal["pools", "network"]
Method: TypeAlias = Literal["GET", "POST"]
Confidence: TypeAlias = Literal["high", "medium", "low"]
Granularity: TypeAlias = Literal["country", "subdivision"]
Scope: TypeAlias = Literal["pool", "account", "market", "network"]
"""Whose hashrate a source gives: a whole pool's, one account's at a pool, a market's."""

LEAST: Final[Mapping[Scope, float]] = {
    "network": 1e20,
    "pool": 1e15,
    "account": 1e12,
    "market": 1e12,
}
"""The least hashrate (H/s) that is expected by default: the network has had more than 100 EH/s
since 2020, a pool of 1 PH/s has five machines, and an account of 1 TH/s has none of today's."""

ACCOUNT_TERMS: Final = (
    "for the holder of the account. The account's hashrate is also in the total of its pool, from"
    " which it is taken out if both count"
)
"""Terms of sources whose scope is an account."""
WEBSITE_TERMS: Final = "an undocumented API of the source's own website, without any guarantee"
"""Terms of sources that have no API for others."""
Secrets: TypeAlias = "Mapping[str, str]"
"""The credentials that the operator set for a source, by the names that it declares."""

Reason: TypeAlias = Literal[
    # transient
    "timeout",
    "connection",
    "rate_limited",  # 429, and 403 from hosts that block clients for a while
    "server_error",
    "breaker",  # the host failed so often that no request is sent to it for a while
    "not_json",  # HTML, a truncated body, an empty body
    "refused",  # the body reports an error, although the status is 200
    # credentials
    "unauthorized",
    # permanent
    "redirect",
    "client_error",
    "address",  # a private address, or not HTTPS
    "too_large",
    "shape",
    "unit",
    "implausible",
    "future",
    "new_pool",  # all pools of the response are new ones, too many for a day
    # a valid response that has no figure
    "unknown_value",
    # a fault of this software
    "unexpected",
]
"""Why a source gave no figure; the list is short because this is a label of a metric."""


class SourceError(Exception):
    """The source gave no figure: ``reason`` is for metrics, the text is for people.

    ``source`` is the slug; ``parse`` leaves it empty and its caller fills it in.
    """

    def __init__(self, text: str, *, reason: Reason, source: str = "") -> None:
        super().__init__(text)
        self.reason: Reason = reason
        self.source = source


class TransientError(SourceError):
    """A failure that is likely to end by itself.

    ``retry_after_s`` is the wait that the server asks for, in seconds.
    """

    def __init__(
        self, text: str, *, reason: Reason, source: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(text, reason=reason, source=source)
        self.retry_after_s = retry_after_s


class CredentialsError(SourceError):
    """A credential is missing or wrong. The operator has to correct it."""


class PermanentError(SourceError):
    """The response is not as the source declares. Somebody has to correct the source."""


class Rate(NamedTuple):
    """The limit of a host: at most ``requests`` in ``seconds``."""

    requests: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.requests:g} in {self.seconds:g} s"


POLITE: Final = Rate(1, 1)
"""The limit for hosts that state none: one request in a second."""


@dataclass(frozen=True, repr=False)
class Request:
    """One HTTP request.

    Its repr shows the method and the host only: any other part may contain a key.

    Attributes:
        url: the address, with its query.
        method: the HTTP method.
        headers: those that are not sent with every request.
        body: the content of a POST.
        optional: the poll goes on if the request fails; ``parse`` then gets an empty body for it.
            A poll that has no other body fails with the first of these errors.
    """

    url: str
    method: Method = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    optional: bool = False

    @cached_property
    def host(self) -> str:
        """The host of the address, as :func:`host_of` returns it; asked for several times a poll.

        Raises:
            PermanentError: the URL has no host.
        """
        return host_of(self.url)

    def __repr__(self) -> str:
        return f"<{self.method} to {urlsplit(self.url).hostname}>"


def host_of(url: str) -> str:
    """Return the host of a URL, with the port if it is not the default one.

    Raises:
        PermanentError: the URL has no host.
    """
    try:
        host = URL(url).host_port_subcomponent
    except ValueError:  # whose text may quote the URL
        host = None
    if not host:
        raise PermanentError("not an address like https://HOST/PATH", reason="address")
    return host


@dataclass(frozen=True)
class Credential:
    """A credential that the operator sets for a source: ``MININGMAP_CREDENTIALS__SLUG__NAME``.

    ``NAME_FILE`` may be set instead: the path of a file that holds it, read at each poll.
    """

    name: str
    meaning: str
    required: bool = True


@dataclass(frozen=True)
class Locating:
    """The places that a source gives: their kind and granularity, and how the source knows them."""

    kind: messages.Kind
    granularity: Granularity
    how: str

    def __str__(self) -> str:
        return f"{self.kind} by {self.granularity}: {self.how}"


@dataclass(frozen=True)
class Reading:
    """A source's figure for one pool.

    Attributes:
        pool: the slug; the same as at mempool.space, if the pool is listed there.
        hashrate: of the whole pool, in H/s.
        places: the parts that the source locates; together they may be less than the whole.
        observed_at: the source's own time of the figure, or ``None`` if it gives no time. A time
            before Bitcoin's first block is one that the server left unset, and counts as ``None``.
        blocks: the number of blocks from which the figure is computed, or ``None`` if it is not
            computed from blocks.
    """

    pool: str
    hashrate: float
    places: tuple[Located, ...] = ()
    observed_at: datetime | None = None
    blocks: int | None = None


@dataclass(frozen=True)
class NetworkReading:
    """A source's figure for the network's hashrate (H/s)."""

    hashrate: float
    observed_at: datetime | None = None


def subject_of(reading: Reading | NetworkReading) -> str:
    """Return the key of a reading's message: the pool's slug, or the network's key."""
    return reading.pool if isinstance(reading, Reading) else NETWORK_KEY


@dataclass(frozen=True, kw_only=True)
class Source:
    """The declaration that both types of source share.

    Attributes:
        slug: the file's name, and ``source`` in messages.
        name: for people.
        home: URL of the operator's website.
        docs: URL of the API's documentation, or ``None`` if there is none.
        terms: URL or text of the terms of use.
        credentials: what the operator has to set before the source can be polled.
        requests: the requests of each poll, in the order in which ``parse`` gets the bodies.
        more: gets the bodies of all requests so far and returns those that follow from them, such
            as the further pages of a list, or none; called again when their bodies are there. Pure.
            Raises what ``parse`` would raise, and leads to no host that ``requests`` does not name.
        authorise: puts the credentials into a request, just before it is sent. Pure.
        configure: returns the source as configured by its credentials, if they change more than
            the look of its requests (for example, add a request for each site). Pure. Raises a
            ``SettingsError`` that names the setting. Neither this nor ``authorise`` may lead to a
            host that ``requests`` does not name, unless ``own_server`` is set.
        own_server: the address is the operator's own, so it may be private and plain HTTP.
        rate: the limit of its host; if several sources share a host, the strictest limit counts.
        poll_s: seconds between polls, less than an hour (method.md 2: longer reports are hourly).
        poll_reason: why the interval is neither shorter nor longer.
        averaging_s: the time over which the source averages its figure, in seconds.
        hold_s: how long a figure stays valid if none follows, in seconds.
        locates: the places that it gives, or ``None`` if it gives none.
        least: the least hashrate (H/s) that is expected of one pool, or of the network; a first
            reading below it is confirmed by further polls. ``None``: that of its scope.
        confidence: how sure it is that address, shape and unit are as declared.
        unsure: what is not certain, in words.
        default: polled unless the settings name other sources. A source with credentials is polled
            once they are set and must set this to ``False``.
        parse: bodies to readings. Pure. Figures that the source does not know are left out. Raises
            a :class:`SourceError`.
        parse_at: like ``parse``, and gets the time of the fetch, too; called in its place where the
            time is known. For a source of several servers, to leave out one with a wrong clock.
        example: readings and the server's time to the bodies that the real server would send, in
            the order of ``requests``: the inverse of ``parse``. Nothing of ``more`` may follow from
            them. A reading without a time is as of the server's time. The simulation serves it, so
            a ``default`` source must have one.
    """

    kind: ClassVar[SourceType]

    slug: str
    name: str
    home: str
    docs: str | None
    terms: str
    scope: Scope
    credentials: tuple[Credential, ...] = ()
    requests: tuple[Request, ...]
    more: Callable[[Sequence[bytes]], Sequence[Request]] | None = None
    authorise: Callable[[Request, Secrets, datetime], Request] | None = None
    configure: Callable[[Secrets], Source] | None = None
    own_server: bool = False
    rate: Rate = POLITE
    poll_s: int
    poll_reason: str
    averaging_s: int
    hold_s: int
    locates: Locating | None = None
    least: float | None = None
    confidence: Confidence
    unsure: str = ""
    default: bool
    parse: Callable[[Sequence[bytes]], Sequence[Reading | NetworkReading]]
    parse_at: Callable[[Sequence[bytes], datetime], Sequence[Reading | NetworkReading]] | None = (
        None
    )
    # Each type of source narrows this to its own readings.
    example: Callable[..., Sequence[bytes]] | None = None

    @property
    def path(self) -> str:
        """``pools/mempool``; the slug alone may be that of two sources, one of each type."""
        return f"{self.kind}/{self.slug}"

    def further_requests(self, bodies: Sequence[bytes]) -> Sequence[Request]:
        """Return the requests that follow from the bodies of all requests so far.

        Raises:
            SourceError: nothing follows from these bodies.
        """
        return () if self.more is None else self.more(bodies)

    def requests_for(self, bodies: Sequence[bytes]) -> Sequence[Request]:
        """Return the requests of a poll whose first responses have these bodies.

        If they are not the responses to all of them, more requests may follow from the others.

        Raises:
            SourceError: a body is one from which nothing follows.
        """
        requests = list(self.requests)
        while len(requests) <= len(bodies):
            further = self.further_requests(bodies[: len(requests)])
            if not further:
                break
            requests += further
        return requests

    @property
    def min_hashrate(self) -> float:
        """The least hashrate (H/s) that is expected of one pool, or of the network."""
        return LEAST[self.scope] if self.least is None else self.least

    @property
    def auth(self) -> str:
        """The names of the required credentials; ``none`` if there are none."""
        return ", ".join(c.name for c in self.credentials if c.required) or "none"


@dataclass(frozen=True, kw_only=True)
class PoolSource(Source):
    """A source of pools' hashrates.

    Attributes:
        pool: the slug of the pool, or ``None`` if the source has figures for many pools.
        basis: who the hashrates are from: the pool itself (``reported``), somebody who repeats what
            pools say (``relayed``), or a count of blocks (``mined``; the readings have ``blocks``).
        part_of: the slug of the pool whose total contains the hashrates. Required if the scope is
            an account, else left out. ``make docs`` writes it to ``beliefs/part_of.toml``.
    """

    kind = "pools"

    scope: Scope = "pool"
    pool: str | None
    basis: messages.Basis = "reported"
    part_of: str | None = None
    parse: Callable[[Sequence[bytes]], Sequence[Reading]]
    example: Callable[[Sequence[Reading], datetime], Sequence[bytes]] | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Source):
    """A source of the whole network's hashrate."""

    kind = "network"

    scope: Scope = "network"
    parse: Callable[[Sequence[bytes]], Sequence[NetworkReading]]
    example: Callable[[Sequence[NetworkReading], datetime], Sequence[bytes]] | None = None
