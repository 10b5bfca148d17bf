from __future__ import annotations

import pytest

from collector.http.conditional import Answer, Answers
from collector.sources.base import Request

REQUEST = Request("https://pool.example/stats")


def answer(body: bytes, tag: str = '"1"') -> Answer:
    return Answer.made_of(body, {"ETag": tag})


@pytest.mark.parametrize(
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
        # As aiohttp gives bytes that are no UTF-8: it could not send them.
        ({"ETag": '"\udcff"'}, {}),
        ({"ETag": '"a\tb"'}, {}),
    ],
)
def test_validators_become_conditions(headers: dict[str, str], conditions: dict[str, str]) -> None:
    assert Answer.made_of(b"", headers) == Answer(b"", conditions)


def test_the_last_answer_is_remembered() -> None:
    answers = Answers()
    assert answers.of(REQUEST) is None
    answers.keep(REQUEST, answer(b"one"))
    answers.keep(REQUEST, answer(b"two"))
    assert answers.of(REQUEST) == answer(b"two")


def test_an_answer_that_cannot_be_asked_about_ends_what_was_remembered() -> None:
    answers = Answers()
    answers.keep(REQUEST, answer(b"one"))
    answers.keep(REQUEST, Answer(b"two", {}))
    assert answers.of(REQUEST) is None


def test_other_headers_are_another_request() -> None:
    answers = Answers()
    answers.keep(REQUEST, answer(b"one"))
    assert answers.of(Request(REQUEST.url, headers={"Accept-Language": "en"})) is None


def test_what_does_not_fit_goes_the_oldest_first() -> None:
    answers = Answers(max_bytes=10)
    requests = [Request(f"https://pool.example/{n}") for n in range(4)]

    def remembered() -> list[int]:
        return [n for n, request in enumerate(requests) if answers.of(request)]

    for request in requests[:3]:
        answers.keep(request, answer(b"four"))
    assert remembered() == [1, 2]
    answers.keep(requests[1], answer(b"4444"))  # asked again: now 2 is the oldest
    answers.keep(requests[3], answer(b"four"))
    assert remembered() == [1, 3]
    answers.keep(requests[0], answer(b"more than fits"))
    assert remembered() == []
