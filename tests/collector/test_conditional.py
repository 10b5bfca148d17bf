from __future__ import annotations

from collector.http.conditional import CachedResponse, ResponseCache
from collector.sources.base import Request
from tests.cases import all_cases

REQUEST = Request("https://pool.example/stats")


def response(body: bytes, tag: str = '"1"') -> CachedResponse:
    return CachedResponse.of(body, {"ETag": tag})


@all_cases(
    ("headers", "conditions"),
    [
        ({}, {}),
        ({"ETag": ""}, {}),
        ({"ETag": 'W/"a1"'}, {"If-None-Match": 'W/"a1"'}),
        (
            {"Last-Modified": "Sun, 22 Nov 2026 15:05:00 GMT"},
            {"If-Modified-Since": "Sun, 22 Nov 2026 15:05:00 GMT"},
        ),
        (
            {"ETag": '"a1"', "Last-Modified": "yesterday"},
            {"If-None-Match": '"a1"', "If-Modified-Since": "yesterday"},
        ),
        # How aiohttp returns bytes that are not UTF-8; it could not send them back.
        ({"ETag": '"\udcff"'}, {}),
        ({"ETag": '"a\tb"'}, {}),
    ],
)
def test_validators_become_conditions(headers: dict[str, str], conditions: dict[str, str]) -> None:
    assert CachedResponse.of(b"", headers) == CachedResponse(b"", conditions)


def test_the_last_response_is_cached() -> None:
    cache = ResponseCache()
    assert cache.get(REQUEST) is None
    cache.store(REQUEST, response(b"one"))
    cache.store(REQUEST, response(b"two"))
    assert cache.get(REQUEST) == response(b"two")


def test_a_response_without_a_validator_evicts_the_cached_one() -> None:
    cache = ResponseCache()
    cache.store(REQUEST, response(b"one"))
    cache.store(REQUEST, CachedResponse(b"two", {}))
    assert cache.get(REQUEST) is None


def test_requests_with_other_headers_are_cached_separately() -> None:
    cache = ResponseCache()
    cache.store(REQUEST, response(b"one"))
    assert cache.get(Request(REQUEST.url, headers={"Accept-Language": "en"})) is None


def test_the_oldest_responses_are_evicted_first() -> None:
    cache = ResponseCache(max_bytes=10)
    requests = [Request(f"https://pool.example/{n}") for n in range(4)]

    def cached() -> list[int]:
        return [n for n, request in enumerate(requests) if cache.get(request)]

    for request in requests[:3]:
        cache.store(request, response(b"four"))
    assert cached() == [1, 2]
    cache.store(requests[1], response(b"4444"))  # stored again, so 2 is the oldest now
    cache.store(requests[3], response(b"four"))
    assert cached() == [1, 3]
    cache.store(requests[0], response(b"more than fits"))
    assert cached() == []
