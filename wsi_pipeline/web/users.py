"""Named reviewers: a file of names, password hashes and roles, as `htpasswd -B` writes it.

A line is ``name:hash`` or ``name:hash:role``; the hash is bcrypt's (``htpasswd -nB NAME``, or
``python -m wsi_pipeline.web.users NAME``), the role "reviewer" (the default) or "viewer". The hash
"*" lets nobody in by password: for users whose name a trusted proxy passes.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import bcrypt

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.web.sessions import Person, Role

ROLES: Final[tuple[Role, ...]] = ("reviewer", "viewer")
LONGEST_NAME: Final = 80
LONGEST_PASSWORD_BYTES: Final = 72
"""What bcrypt reads of a password; a longer one is refused, not cut."""
SHORTEST_PASSWORD: Final = 10
NO_PASSWORD: Final = "*"  # noqa: S105 - stands for "none"
ROUNDS: Final = 12


@dataclass(frozen=True, slots=True)
class Users:
    """Who may come in, by name."""

    hashes: Mapping[str, str]
    roles: Mapping[str, Role]

    def check(self, name: str, password: str) -> Person | None:
        """Return the person where name and password fit. Takes a fraction of a second of work."""
        word = password.encode()
        stored = self.hashes.get(name, NO_PASSWORD)
        if stored == NO_PASSWORD or len(word) > LONGEST_PASSWORD_BYTES:
            bcrypt.checkpw(b"", _nobody())  # the time taken does not tell who is known
            return None
        fits = bcrypt.checkpw(word, stored.encode())
        return Person(name, self.roles[name], "password") if fits else None

    def known_by_proxy(self, name: str) -> Person | None:
        """Return the person that a proxy has signed in; None where the file does not name them."""
        return Person(name, self.roles[name], "proxy") if name in self.roles else None


def read_users(path: Path) -> Users:
    """Read a file of users.

    Raises
    ------
    ConfigError
        Where it cannot be read, names nobody, or a line is not as described above.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--users {path} cannot be read ({error})") from error
    hashes: dict[str, str] = {}
    roles: dict[str, Role] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            name, stored, role = _user(path, number, line.strip())
            hashes[name], roles[name] = stored, role
    if not hashes:
        raise ConfigError(f"--users {path} names nobody", "Add lines NAME:HASH:ROLE")
    return Users(hashes, roles)


def check_name(name: str) -> str:
    """Return a user's name where it can stand in a review and in a log.

    Raises
    ------
    ValueError
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"a name has 1 to {LONGEST_NAME} printable characters, received {name!r}")
    return name


def _user(path: Path, number: int, line: str) -> tuple[str, str, Role]:
    name, _, rest = line.partition(":")
    stored, _, word = rest.partition(":")
    role: Role = "viewer" if word == "viewer" else "reviewer"
    try:
        check_name(name)
        _check_role(word)
        if stored != NO_PASSWORD:
            bcrypt.checkpw(b"", stored.encode())
    except ValueError as error:
        raise ConfigError(
            f"--users {path}, line {number}: {error}",
            "A line is NAME:HASH:ROLE; make the hash with `htpasswd -nB NAME`",
        ) from error
    return name, stored, role


def _check_role(word: str) -> None:
    if word not in ("", *ROLES):
        raise ValueError(f"the role is {word!r}, not one of {', '.join(ROLES)}")


@cache
def _nobody() -> bytes:
    """Return a hash to compare with for names that are not there."""
    return bcrypt.hashpw(b"nobody", bcrypt.gensalt(ROUNDS))


def main(words: list[str]) -> int:
    """Ask for a password and print the line of a user."""
    parser = argparse.ArgumentParser(
        prog="python -m wsi_pipeline.web.users",
        description="Print a line for the file that `wsi-pipeline serve --users` reads. The "
        "password is asked for, or read from standard input.",
        epilog="example: %(prog)s anna viewer >> users",
    )
    parser.add_argument("name", metavar="NAME", help="stands beside what the user decides")
    parser.add_argument("role", nargs="?", choices=ROLES, help="default: reviewer")
    options = parser.parse_args(words)
    try:
        _check_new_name(options.name)
        line = _line_of(options.name, _asked_password(), options.role)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(line)  # noqa: T201
    return 0


def _check_new_name(name: str) -> None:
    if ":" in check_name(name):
        raise ValueError("a name holds no colon: one ends it in the file")


def _asked_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise ValueError("the two passwords differ")
    return password


def _line_of(name: str, password: str, role: Role | None) -> str:
    word = password.encode()
    if not SHORTEST_PASSWORD <= len(word) <= LONGEST_PASSWORD_BYTES:
        raise ValueError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD_BYTES} bytes, "
            f"received {len(word)}"
        )
    stored = bcrypt.hashpw(word, bcrypt.gensalt(ROUNDS)).decode()
    return ":".join([name, stored, *([role] if role else [])])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
