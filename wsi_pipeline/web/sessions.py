"""Who is signed in: sessions that end, tickets that open once, and a brake on guessing."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Clock = Callable[[], float]
Role = Literal["reviewer", "viewer"]

IDLE_SECONDS: Final = 4 * 3600.0
"""A session ends when nothing was asked for so long."""
LONGEST_SECONDS: Final = 12 * 3600.0
"""It ends after so long in any case: a day's work."""
TICKET_SECONDS: Final = 600.0
"""A ticket stands in an address: it opens once, within minutes."""
MOST_SESSIONS: Final = 1000
FREE_ATTEMPTS: Final = 5
"""Wrong words from one address before it has to wait."""
FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 300.0
FORGET_SECONDS: Final = 900.0
"""Without another wrong word an address begins anew."""
MOST_ADDRESSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str | None
    """None where the server knows nobody by name: reviewers then write their own."""
    role: Role = "reviewer"
    way: str = "open"
    """How they came in: "open", "token", "password", "proxy"."""

    @property
    def can_review(self) -> bool:
        """True where they may save."""
        return self.role == "reviewer"


@dataclass(slots=True)
class _Session:
    person: Person
    opened: float
    seen: float


class Sessions:
    """Sessions by the word in the cookie. Safe between threads; all end with the process."""

    def __init__(
        self,
        idle_seconds: float = IDLE_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self.longest_seconds = longest_seconds
        self._idle_seconds, self._clock = idle_seconds, clock
        self._open: OrderedDict[str, _Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, person: Person) -> str:
        """Return the word of a new session; beyond `MOST_SESSIONS` the oldest ends."""
        word, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._open[word] = _Session(person, now, now)
            while len(self._open) > MOST_SESSIONS:
                self._open.popitem(last=False)
        return word

    def person(self, word: str) -> Person | None:
        """Return whose session a word is; None where it is none, or has ended."""
        now = self._clock()
        with self._lock:
            session = self._open.get(word)
            if session is None:
                return None
            is_over = (
                now - session.opened > self.longest_seconds
                or now - session.seen > self._idle_seconds
            )
            if is_over:
                del self._open[word]
                return None
            session.seen = now
            return session.person

    def end(self, word: str) -> Person | None:
        """End a session; return whose it was."""
        with self._lock:
            session = self._open.pop(word, None)
        return session.person if session else None


class Tickets:
    """Words that open once, within minutes: they may stand in an address."""

    def __init__(self, seconds: float = TICKET_SECONDS, clock: Clock = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._good_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def new(self) -> str:
        """Return a ticket."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._good_until[ticket] = self._clock() + self._seconds
        return ticket

    def redeem(self, word: str) -> bool:
        """Use a ticket up; tell whether it was good."""
        with self._lock:
            until = self._good_until.pop(word, None)
        return until is not None and self._clock() <= until


class Brake:
    """Makes an address wait after wrong words, twice as long after each."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_seconds(self, address: str) -> float:
        """Return how long an address has to wait before it may try again; 0: not at all."""
        with self._lock:
            count, last = self._wrong.get(address, (0, 0.0))
        if count < FREE_ATTEMPTS:
            return 0.0
        wait = FIRST_WAIT_SECONDS * 2.0 ** min(count - FREE_ATTEMPTS, 20)
        return max(0.0, last + min(wait, LONGEST_WAIT_SECONDS) - self._clock())

    def was_wrong(self, address: str) -> None:
        """Note a wrong word."""
        now = self._clock()
        with self._lock:
            count, last = self._wrong.pop(address, (0, now))
            self._wrong[address] = (1 if now - last > FORGET_SECONDS else count + 1, now)
            while len(self._wrong) > MOST_ADDRESSES:
                self._wrong.popitem(last=False)

    def was_right(self, address: str) -> None:
        """Forget what was wrong before."""
        with self._lock:
            self._wrong.pop(address, None)
