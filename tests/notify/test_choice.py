"""Which events are sent: by subject, driver and mute, and ends of what was told."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from miningmap.notify.choice import MAX_TOLD, Choice, Told
from miningmap.notify.events import Event, InvalidEventError, event_of
from tests.examples import examples
from tests.notify.events import place, pool

OWN = event_of(place())
OTHERS = event_of(place("RU", driver="others"))
POOL = event_of(pool())
MUTED = event_of(place("KZ", annotations=("annotations/a",), muted=True))
END = event_of(place(state="resolved", minute=30, driver="others"))
LOST = event_of(place(state="lost", minute=30, driver=None, delta=None))


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (Choice(), {OWN, POOL}),
        (Choice(driver="others"), {OTHERS, POOL}),
        (Choice(driver=None), {OWN, OTHERS, POOL}),
        (Choice(subject="place"), {OWN}),
        (Choice(subject="pool"), {POOL}),
        (Choice(muted=True), {OWN, POOL, MUTED}),
    ],
)
def test_events_are_chosen_by_subject_driver_and_mute(choice: Choice, chosen: set[Event]) -> None:
    assert {e for e in (OWN, OTHERS, POOL, MUTED) if Told().wants(e, choice)} == chosen


def test_the_end_of_a_swing_is_sent_if_it_was_told_whatever_its_driver_is() -> None:
    told = Told().after(OWN)
    for end in (END, LOST):
        assert told.wants(end, Choice())
        assert not Told().wants(end, Choice(driver=None))
    assert not told.after(END).wants(END, Choice())


def test_the_end_of_a_swing_is_sent_after_a_change_of_the_choice() -> None:
    assert Told().after(OWN).wants(END, Choice(subject="pool"))


def test_a_position_that_somebody_else_set_has_no_open_alerts_for_ever() -> None:
    unknown = Told.decoded("")
    assert unknown.wants(END, Choice())
    assert not unknown.wants(END, Choice(subject="pool"))
    assert not unknown.wants(END._replace(is_muted=True), Choice())
    assert not unknown.wants(OTHERS, Choice())


def test_what_was_told_is_stored_as_a_short_text() -> None:
    told = Told()
    for number in range(MAX_TOLD):
        told = told.after(OWN._replace(swing=f"{number}"))
        assert Told.decoded(told.encoded()) == told
    assert len(told.marks) == MAX_TOLD
    assert len(told.encoded()) < 4096
    assert told.is_complete
    # Of a swing that there is no room for, the end is sent in any case.
    full = told.after(OWN)
    assert Told.decoded(full.encoded()) == full
    assert not full.is_complete
    assert full.after(OWN._replace(swing="0")) == full
    assert full.wants(END, Choice())


@examples(200)
@hypothesis.given(st.text())
def test_any_other_text_says_nothing(text: str) -> None:
    told = Told.decoded(text)
    assert told == Told.decoded(told.encoded())


def test_an_id_names_one_event_of_one_swing() -> None:
    events = [
        place(),
        place("US-GA"),
        place(pair="24h/7d"),
        place(minute=1),
        place(state="resolved"),
        pool(),
        pool("antpool"),
        pool("US-TX"),
    ]
    assert len({event_of(each).id for each in events}) == len(events)
    assert event_of(place()).id == event_of(place(severity=3, delta=-0.04)).id
    assert all(char.isalnum() or char == "_" for char in OWN.id)


def test_all_events_of_a_swing_name_the_same_swing() -> None:
    assert OWN.swing == END.swing == LOST.swing != OTHERS.swing


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'"a"', b'{"schema":"report/1"}', place().replace(b"swing/1", b"2")]
)
def test_what_is_no_event_is_told(value: bytes) -> None:
    with pytest.raises(InvalidEventError):
        event_of(value)
