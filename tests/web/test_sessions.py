"""Sessions that end, tickets that open once, and a brake on guessing: with a clock of our own."""

import pytest

from wsi_pipeline.web.sessions import (
    FREE_ATTEMPTS,
    LONGEST_WAIT_SECONDS,
    MOST_SESSIONS,
    Brake,
    Person,
    Sessions,
    Tickets,
)

ANNA = Person("Anna")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_session_ends_when_nothing_is_asked_for_long(clock: Clock) -> None:
    sessions = Sessions(idle_seconds=60, longest_seconds=600, clock=clock)
    word = sessions.begin(ANNA)
    for _ in range(5):
        clock.now += 59
        assert sessions.person(word) == ANNA
    clock.now += 61
    assert sessions.person(word) is None
    clock.now -= 61
    assert sessions.person(word) is None


def test_a_session_ends_after_a_days_work_however_busy(clock: Clock) -> None:
    sessions = Sessions(idle_seconds=60, longest_seconds=600, clock=clock)
    word = sessions.begin(ANNA)
    for _ in range(12):
        assert sessions.person(word) == ANNA
        clock.now += 50
    clock.now += 50
    assert sessions.person(word) is None


def test_sessions_differ_and_one_that_is_ended_leaves_the_others(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    one, other = sessions.begin(ANNA), sessions.begin(ANNA)
    assert one != other
    assert sessions.end(one) == ANNA
    assert sessions.person(one) is None
    assert sessions.person(other) == ANNA
    assert sessions.end(one) is None


def test_there_is_a_most_of_sessions(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    first = sessions.begin(ANNA)
    last = [sessions.begin(ANNA) for _ in range(MOST_SESSIONS)][-1]
    assert sessions.person(first) is None
    assert sessions.person(last) == ANNA


def test_a_ticket_opens_once_and_for_minutes(clock: Clock) -> None:
    tickets = Tickets(seconds=600, clock=clock)
    used, late = tickets.new(), tickets.new()
    assert tickets.redeem(used)
    assert not tickets.redeem(used)
    clock.now += 601
    assert not tickets.redeem(late)
    assert not tickets.redeem("")


def test_who_guesses_waits_longer_each_time_and_nobody_else_does(clock: Clock) -> None:
    brake = Brake(clock)
    for _ in range(FREE_ATTEMPTS):
        assert brake.wait_seconds("10.0.0.9") == 0
        brake.was_wrong("10.0.0.9")
    waits = []
    for _ in range(12):
        waits.append(brake.wait_seconds("10.0.0.9"))
        brake.was_wrong("10.0.0.9")
    assert waits == sorted(waits)
    assert waits[0] == 2
    assert waits[-1] == LONGEST_WAIT_SECONDS
    assert brake.wait_seconds("10.0.0.8") == 0
    clock.now += LONGEST_WAIT_SECONDS
    assert brake.wait_seconds("10.0.0.9") == 0
    brake.was_right("10.0.0.9")
    brake.was_wrong("10.0.0.9")
    assert brake.wait_seconds("10.0.0.9") == 0
