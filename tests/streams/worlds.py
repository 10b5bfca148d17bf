"""Random small worlds: messages of several pools and sources around midnight, and a query.

Times and hashrates are few, so that claims collide: covered on held, daily on monthly rows, one end
from two fetches. What is rare in production is common here: half of a window's minutes, one minute
less, empty minutes, zeros, a microsecond beside a whole hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
from hypothesis import strategies as st

from miningmap.messages import BASES, KINDS, Located, Message, Network, Report
from streams.method.cells import MemoryCells
from streams.queries.parameters import SharesParameters, SharesQuery
from streams.queries.shares import answer_from
from tests.streams import golden, model
from tests.streams.model import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from miningmap.api.models import Answer
    from miningmap.messages import Basis
    from streams.method.beliefs import Beliefs

Json: TypeAlias = dict[str, Any]
Times: TypeAlias = tuple[datetime, datetime]

# The second day of a month: its own window is a day long, the month before lies in the profile.
MIDNIGHT = datetime(2026, 12, 2, tzinfo=UTC)
CODES = ("US", "US-TX", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER")
WINDOWS = (
    *("now", "1h", "24h", "7d", "30d", "2026-12"),
    *("2026-12-01", "2026-12-02", "2026-12-01T23", "2026-12-02T00"),
)
RULES: tuple[Json, ...] = (
    {"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"},
    {"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": ["a", "b"]},
    {"id": "cn-sichuan", "place": "CN-SC", "applies_to": ["a"]},
)
# A chain, two parts of one whole, and a whole that no message is about.
PARTS: tuple[dict[str, str], ...] = (
    *({}, {}, {"a": "b"}, {"b": "c", "a": "b"}),
    *({"a": "c", "b": "c"}, {"a": "elsewhere", "elsewhere": "b"}),
)


class Query(NamedTuple):
    """A query."""

    window: str
    as_of: datetime
    country: str | None = None
    adjust: str = "published"
    prior: str = "default"


class Scene(NamedTuple):
    """A world, and a query that many of its messages matter for."""

    world: World
    query: Query


# --- times ----------------------------------------------------------------------------------------


def _around(at: datetime, unit: timedelta, low: int, high: int) -> st.SearchStrategy[datetime]:
    return st.integers(low, high).map(lambda n: at + n * unit)


def _seconds(*choice: float) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(seconds=s) for s in choice])


_DAY = timedelta(days=1)
_beside = _seconds(0, 0, 1e-6, -1e-6, 20, 59.999999)
instants = st.builds(datetime.__add__, _around(MIDNIGHT, model.MINUTE, -90, 150), _beside)
short_times = st.tuples(instants, _seconds(1, 60, 61, 300, 1800, 3599))
hour_times = st.tuples(
    _around(MIDNIGHT, model.HOUR, -30, 3), _seconds(3600, 7200, 5 * 3600, 24 * 3600)
)
day_times = st.tuples(_around(MIDNIGHT, _DAY, -4, 1), st.sampled_from([_DAY, 2 * _DAY, 4 * _DAY]))
month_times = st.just((MIDNIGHT - 31 * _DAY, 30 * _DAY))
any_times: st.SearchStrategy[Times] = st.one_of(
    *(short_times, hour_times, day_times) * 3, month_times
).map(lambda found: (found[0], found[0] + found[1]))


def fitting_times(minutes: range) -> st.SearchStrategy[Times]:
    """Times that begin and end where a window does or in its middle, or one unit beside that."""
    unit = 60 if len(minutes) > 60 else 1
    middle = minutes.start + len(minutes) // 2 // unit * unit
    pairs = [(minutes.start, minutes.stop), (minutes.start, middle), (middle, minutes.stop)]
    beside = st.sampled_from([0, 0, 0, -unit, unit])
    return st.builds(
        lambda pair, a, b: _claimable(pair[0] + a, pair[1] + b),
        st.sampled_from(pairs),
        beside,
        beside,
    )


def _claimable(first: int, last: int) -> Times:
    """The times of a valid report: at least a minute, and whole hours from an hour on."""
    last = max(last, first + 1)
    if last - first >= 60 and (first % 60 or last % 60):
        last = first + 59
    return model.EPOCH + first * model.MINUTE, model.EPOCH + last * model.MINUTE


# --- messages -------------------------------------------------------------------------------------

# Thirds and sevenths, so that floats round.
hashrates = st.sampled_from([0.0, 1e18, 2e18, 1e18 / 3, 1e19 / 7])
network_hashrates = st.sampled_from([4e18, 1e19 / 3, 1e20, 1e18, 0.0])
pools = st.sampled_from("aabbc")
names = st.sampled_from("xy")
bases = st.sampled_from(BASES)
holds = st.sampled_from([0, 1, 60, 61, 300, 1800, 7200])
prompt = _seconds(0, 0, 5, 86_400)
late = _seconds(0, 3600, 7200, 30 * 86_400, 32 * 86_400)


def places_at(*codes: str) -> st.SearchStrategy[tuple[Located, ...]]:
    """The places of a report; three of four reports have some."""
    located = st.builds(Located, st.sampled_from(codes), hashrates, st.sampled_from(KINDS))
    named = st.lists(located, min_size=1, max_size=4, unique_by=lambda p: (p.code, p.kind))
    return st.one_of(named, named, named, st.just([])).map(tuple)


def _report(
    pool: str,
    source: str,
    times: Times,
    hold_s: int,
    delay: timedelta,
    places: tuple[Located, ...],
    unlocated: float,
    basis: Basis = "reported",
) -> Report:
    return Report(
        pool=pool,
        basis=basis,
        hashrate=sum(p.hashrate for p in places) + unlocated,
        places=places,
        **_claim(source, times, hold_s, delay),
    )


def _network(source: str, times: Times, hold_s: int, delay: timedelta, hashrate: float) -> Network:
    return Network(hashrate=hashrate, **_claim(source, times, hold_s, delay))


def _claim(source: str, times: Times, hold_s: int, delay: timedelta) -> Any:
    start, end = times
    return {
        "source": source,
        "start": start,
        "end": end,
        "hold_s": hold_s if end - start < model.HOUR else 0,
        "fetched_at": end + delay,
        "simulated": False,
    }


def messages_about(
    window: model.Window, delays: st.SearchStrategy[timedelta]
) -> st.SearchStrategy[Message]:
    """Reports of all lengths, most of them fitted to the window."""
    times = any_times
    if window.minutes:
        fitting = fitting_times(window.minutes)
        times = st.one_of(fitting, fitting, any_times)
    reports = st.builds(
        _report, pools, names, times, holds, delays, places_at(*CODES), hashrates, bases
    )
    networks = st.builds(_network, names, times, holds, delays, network_hashrates)
    return st.one_of(reports, reports, reports, networks)


def _decider(message: Message) -> tuple[object, ...]:
    """The criteria that decide between claims; if all are equal, the method leaves it open."""
    pool = None if isinstance(message, Network) else message.pool
    length = message.end - message.start
    long = length if length >= model.HOUR else None
    return pool, message.source, long, message.end, message.fetched_at, message.hashrate


# --- beliefs --------------------------------------------------------------------------------------

_days = st.sampled_from(["2026-01-01", "2026-11-01", "2026-12-01", "2026-12-02"])
_ends = st.sampled_from(["2026-12-01", "2026-12-02", "2027-01-01", "2027-01-01"])


def weights_at(*codes: str) -> st.SearchStrategy[dict[str, float]]:
    """A distribution of any scale."""
    some = st.dictionaries(st.sampled_from(codes), st.sampled_from([0.0, 1.0, 2.5]), max_size=5)
    return some.filter(lambda weights: any(weights.values()))


def _series(*codes: str) -> st.SearchStrategy[list[Json]]:
    entry = st.fixed_dictionaries(
        {"from": _days, "weights": weights_at(*codes)}, optional={"until": _ends}
    )
    return st.lists(entry, min_size=1, max_size=2, unique_by=lambda entry: str(entry["from"]))


def _numbered(documents: list[Json], kind: str) -> list[Json]:
    return [{"id": f"{kind}/{n}", **document} for n, document in enumerate(documents)]


@st.composite
def _claims(draw: st.DrawFn, codes: Sequence[str]) -> list[Json]:
    named = [code for code in codes if not code.endswith("OTHER")]
    amounts = st.sampled_from([0.0, 1e18 / 3, 1e18, 5e18])
    yes_or_no = st.sampled_from([False, True])
    claims: list[Json] = []
    for n in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from(named))
        claim: Json = {
            "id": f"claims/{n}",
            "place": place,
            "at_least": draw(amounts),
            "from": draw(_days),
            "until": draw(_ends),
        }
        around = [c["id"] for c in claims if c["place"] in {place, model.country_of(place)}]
        if draw(yes_or_no) and around:
            claim["within"] = draw(st.sampled_from(around))
        if draw(yes_or_no):
            claim["pools"] = sorted(draw(st.sets(pools, min_size=1)))
        claims.append(claim)
    return claims


@st.composite
def beliefs_about(draw: st.DrawFn, codes: Sequence[str] = CODES) -> Json:
    """One document of beliefs, as a file has it."""
    series = _series(*codes)
    network = st.fixed_dictionaries({"series": series})
    own = st.fixed_dictionaries(
        {"pool": pools, "kind": st.sampled_from(["declared", "prior"]), "series": series}
    )
    rules = st.lists(st.sampled_from(RULES), max_size=2, unique_by=lambda rule: str(rule["id"]))
    return {
        "network": _numbered(draw(st.lists(network, max_size=3)), "network"),
        "pools": _numbered(draw(st.lists(own, max_size=4)), "pools"),
        "claims": draw(_claims(codes)),
        "part_of": draw(st.sampled_from(PARTS)),
        "rules": draw(rules),
    }


# --- worlds and queries -------------------------------------------------------------------------

as_ofs = st.builds(datetime.__add__, _around(MIDNIGHT, model.MINUTE, -5, 150), _beside)


def _queries(*windows: str) -> st.SearchStrategy[Query]:
    countries = st.sampled_from([None, None, None, "CN", "CN", "US"])
    adjusts = st.sampled_from(["published", "published", "none"])
    return st.builds(Query, st.sampled_from(windows), as_ofs, countries, adjusts)


@st.composite
def _scenes(
    draw: st.DrawFn, queries: st.SearchStrategy[Query], delays: st.SearchStrategy[timedelta]
) -> Scene:
    query = draw(queries)
    about = messages_about(model.window_of(query.window, query.as_of), delays)
    messages = draw(st.lists(about, min_size=4, max_size=14, unique_by=_decider))
    beliefs = draw(beliefs_about())
    priors = [*["default"] * 3, "none", *(document["id"] for document in beliefs["network"])]
    return Scene(World(messages, beliefs), query._replace(prior=draw(st.sampled_from(priors))))


def scenes() -> st.SearchStrategy[Scene]:
    """A query, and a world that it concerns."""
    return _scenes(_queries(*WINDOWS), prompt)


def old_scenes() -> st.SearchStrategy[Scene]:
    """A query about days, and a world whose messages arrive late."""
    return _scenes(_queries("2026-12", "2026-11"), late)


@st.composite
def crowded_minutes(draw: st.DrawFn, codes: Sequence[str] = CODES) -> World:
    """One report of each of some pools for the minute from midnight on, and of some for a day."""
    minute, day = (MIDNIGHT, MIDNIGHT + model.MINUTE), (MIDNIGHT - _DAY, MIDNIGHT)
    places = places_at(*codes)
    messages: list[Message] = [
        _report(pool, "x", times, 0, timedelta(0), draw(places), draw(hashrates))
        for pool in draw(st.sampled_from(["a", "ab", "abc", "abcd"]))
        for times in draw(st.sampled_from([[minute], [minute], [minute, day]]))
    ]
    if network := draw(st.sampled_from([None, 4e18, 1e19, 2e19, 1e20])):
        messages.append(_network("x", minute, 0, timedelta(0), network))
    return World(messages, draw(beliefs_about(codes)))


@st.composite
def repeated(draw: st.DrawFn, messages: Iterable[Message]) -> list[Message]:
    """The same messages in another order, some of them more than once."""
    once = list(messages)
    again = draw(st.lists(st.sampled_from(once), max_size=4)) if once else []
    return draw(st.permutations([*once, *again]))


# --- the answers of streams -----------------------------------------------------------------------


def beliefs_of(world: World) -> Beliefs:
    """The beliefs of a world, as the functions of ``streams`` take them."""
    return golden.loaded(dict(world.beliefs))


def query_of(query: Query) -> SharesQuery:
    """A query, as the functions of ``streams`` take it."""
    parameters = {"window": query.window, "adjust": query.adjust, "prior": query.prior}
    if query.country is not None:
        parameters |= {"level": "subdivision", "country": query.country}
    return SharesParameters.parse(parameters).query(query.as_of)


def cells_of(messages: Iterable[Message]) -> MemoryCells:
    """The cells of messages that arrive in this order."""
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    return cells


def recomputed(messages: Iterable[Message], scene: Scene) -> Json:
    """The answer of ``streams`` to a query, from messages alone."""
    return as_json(answer_from(cells_of(messages), query_of(scene.query), beliefs_of(scene.world)))


def as_json(answer: Answer) -> Json:
    """An answer as clients receive it."""
    decoded: Json = msgspec.json.decode(msgspec.json.encode(answer))
    return decoded
