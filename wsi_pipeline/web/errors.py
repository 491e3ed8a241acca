"""What a request may be told instead of an answer: a status and a sentence, never a stack trace."""

from __future__ import annotations

from typing import ClassVar

from wsi_pipeline.errors import WsiPipelineError


class RefusedError(WsiPipelineError):
    """A request that gets a 4xx."""

    status: ClassVar[int] = 400


class ForbiddenError(RefusedError):
    """The request does not come from where it may come from, or lacks the token."""

    status = 403


class NotFoundError(RefusedError):
    """There is no such thing in this run."""

    status = 404


class ConflictError(RefusedError):
    """Somebody else has saved in between."""

    status = 409


class TooLargeError(RefusedError):
    """More bytes or pixels than are taken."""

    status = 413


class UnusableError(RefusedError):
    """Well-formed, but nothing can be done with it."""

    status = 422


class TimeoutRefusedError(RefusedError):
    """The body of a request did not come in time."""

    status = 408


class BusyError(RefusedError):
    """Too many others want the same at this moment."""

    status = 429


class TooManyAttemptsError(RefusedError):
    """Wrong tokens or passwords came from an address; its next attempt has to wait."""

    status = 429

    def __init__(self, problem: str, advice: str = "", wait_seconds: int = 1) -> None:
        super().__init__(problem, advice)
        self.args = (problem, advice, wait_seconds)

    @property
    def wait_seconds(self) -> int:
        """How long to wait."""
        return int(self.args[2])
