"""Who asks, from where and by which way: what the guard found out about a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from wsi_pipeline.web.audit import AuditLog, Event
from wsi_pipeline.web.errors import ForbiddenError
from wsi_pipeline.web.sessions import Person


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that the guard has let through."""

    person: Person | None
    """None on the pages that everybody may see."""
    address: str
    up: str
    """From the page asked for to the application's first page: "./", "../" ..."""
    prefix: str
    """Of every address, where a proxy serves the application below one; "" where that is not known
    or there is none."""
    is_tls: bool
    """True where the browser speaks TLS, to this server or to a proxy before it."""
    audit: AuditLog | None = None

    def note(self, event: Event, **facts: Any) -> None:
        """Write a line into the audit log."""
        if self.audit is not None:
            person = self.person
            who = person.name or f"({person.way})" if person else None
            self.audit.note(event, who, self.address, **facts)

    def check_may_review(self) -> None:
        """Refuse who may only look.

        Raises
        ------
        ForbiddenError
        """
        if self.person is None or not self.person.can_review:
            raise ForbiddenError(
                "you may look at these results, but not review them",
                "Ask whoever runs this server to make you a reviewer",
            )


async def visit_of(request: Request) -> Visit:
    """Return what the guard found out about a request."""
    visit: Visit = request.state.visit
    return visit


TheVisit = Annotated[Visit, Depends(visit_of)]
