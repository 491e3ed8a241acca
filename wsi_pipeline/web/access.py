"""Who is let in: by the token, by name and password, by a proxy that has asked already."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.web.errors import ForbiddenError, TooManyAttemptsError
from wsi_pipeline.web.sessions import Brake, Person, Sessions, Tickets
from wsi_pipeline.web.users import Users, check_name

COOKIE: Final = "wsi_pipeline_session"
SHORTEST_TOKEN: Final = 12
UNGUESSABLE: Final = 32
"""Characters of a token that nobody guesses: those that this program makes. Programs that have it
are not kept out by others of their address that guess."""


@dataclass(slots=True)
class Access:
    """What lets in, and who is in.

    A session's cookie never holds the token, differs from every other one, and ends: idle, after a
    day's work, by signing out, with the process.
    """

    token: str
    """What a user types in, or a program sends as ``Authorization: Bearer``."""
    users: Users | None = None
    """Where given, people come in by name and password; the token is for programs."""
    user_header: str | None = None
    """In which a proxy passes the user's name; believed only beside the token."""
    sessions: Sessions = field(default_factory=Sessions)
    tickets: Tickets = field(default_factory=Tickets)
    brake: Brake = field(default_factory=Brake)
    cookie: str = COOKIE
    """The cookie's name; browsers keep one jar for all ports of a machine."""

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"a token of {len(self.token)} characters is too easily guessed",
                f"Take {SHORTEST_TOKEN} or more, or leave it out: one is made",
            )

    def new_ticket(self) -> str:
        """Return a word that lets in once: it may stand in an address, the token must not."""
        return self.tickets.new()

    def enter_by_ticket(self, ticket: str) -> str | None:
        """Return the word of a new session; None where the ticket is used up, old or none."""
        if self.users is not None or not self.tickets.redeem(ticket):
            return None
        return self.sessions.begin(Person(None, "reviewer", "token"))

    def enter_by_token(self, token: str, address: str) -> str | None:
        """Return the word of a new session; None where that was not the token.

        Raises
        ------
        TooManyAttemptsError
            Where the address has to wait.
        """
        if self.users is not None or not self._is_token(token, address):
            return None
        return self.sessions.begin(Person(None, "reviewer", "token"))

    def enter_by_password(self, name: str, password: str, address: str) -> str | None:
        """Return the word of a new session; None where name and password do not fit.

        Raises
        ------
        TooManyAttemptsError
            Where the address has to wait.
        """
        self._check_brake(address)
        person = self.users.check(name, password) if self.users else None
        if person is None:
            self.brake.was_wrong(address)
            return None
        self.brake.was_right(address)
        return self.sessions.begin(person)

    def leave(self, headers: Headers) -> Person | None:
        """End the session of a request; return whose it was."""
        return self.sessions.end(_cookie(headers, self.cookie))

    def who(self, headers: Headers, address: str) -> Person | None:
        """Return who asks; None where nobody is signed in.

        Raises
        ------
        TooManyAttemptsError
            Where the address has sent wrong tokens and has to wait.
        WrongTokenError
            Where it sends one now.
        ForbiddenError
            Where the proxy passes a name that nobody here has.
        """
        scheme, _, word = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if not self._is_token(word.strip(), address):
                raise WrongTokenError("that was not the token", "Check it, or open /enter")
            return self._by_token(headers)
        return self.sessions.person(_cookie(headers, self.cookie))

    def _by_token(self, headers: Headers) -> Person:
        """Return whom the token speaks for: a program, or whoever the proxy has signed in."""
        if self.user_header is None:
            return Person(None, "reviewer", "token")
        name = headers.get(self.user_header, "")
        try:
            check_name(name)
        except ValueError as error:
            raise ForbiddenError(
                f"the proxy passes no name of a user in {self.user_header}",
                "Tell whoever runs the proxy in front of this server",
            ) from error
        person = self.users.known_by_proxy(name) if self.users else Person(name, way="proxy")
        if person is None:
            raise ForbiddenError(
                "you are signed in, but may not look at these results",
                "Ask whoever runs this server to add you to its users",
            )
        return person

    def _is_token(self, word: str, address: str) -> bool:
        is_right = _equal(self.token, word)
        if not (is_right and len(self.token) >= UNGUESSABLE):
            # Of a token that can be guessed even the right word waits, else it would be told.
            self._check_brake(address)
        if is_right:
            self.brake.was_right(address)
            return True
        self.brake.was_wrong(address)
        return False

    def _check_brake(self, address: str) -> None:
        wait = math.ceil(self.brake.wait_seconds(address))
        if wait:
            raise TooManyAttemptsError(
                "too many wrong attempts came from here", f"Try again in {wait} s", wait
            )


class WrongTokenError(ForbiddenError):
    """A token was sent and it was not ours."""


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _equal(secret: str, word: str) -> bool:
    """Compare in a time that does not tell how much was right."""
    encoded = (text.encode("utf-8", "surrogateescape") for text in (secret, word))
    return secrets.compare_digest(*encoded)
