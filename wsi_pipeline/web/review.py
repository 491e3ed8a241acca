"""What a pathologist says about the regions: `review.json` beside the results of a slide.

The document carries a revision. Who saves names the revision that the change was made on; if
somebody else has saved since, nothing is written and the saver is told (optimistic concurrency).
Each item keeps its own outline and figures, so that a decision survives a later `render` with
another threshold. Nothing is ever dropped from the history.
"""

from __future__ import annotations

import datetime
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import shapely
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from wsi_pipeline.errors import StorageError
from wsi_pipeline.geometry import Size
from wsi_pipeline.probability import ProbabilityMap
from wsi_pipeline.probability.files import write_atomic
from wsi_pipeline.web.refusals import ConflictError, NotFoundError, UnusableError

REVIEW_NAME: Final = "review.json"
LARGEST_CHANGE: Final = 500
"""Items in one save."""
MOST_CORNERS: Final = 5_000
CLASS_COLORS: Final = {"IDC": (200, 0, 0), "DCIS": (180, 90, 200), "ILC": (220, 120, 20)}
OTHER_COLOR: Final = (0, 120, 200)
REJECTED_CLASS: Final = ("Ignore*", (180, 180, 180))
"""QuPath's class for what is to be left out."""

Decision = Literal["undecided", "accepted", "rejected"]
ItemId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Corner = tuple[
    Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Strict):
    """One item changed: a region of the run decided on, or an outline drawn by hand."""

    id: ItemId
    decision: Decision = "undecided"
    label: Name = "IDC"
    comment: Annotated[str, StringConstraints(max_length=4000)] = ""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """At which a region of the map was found; null: at the run's own."""
    outline: Annotated[list[Corner], Field(min_length=3, max_length=MOST_CORNERS)] | None = None
    """Corners of a new outline drawn by hand, image px; the id is then a fresh UUID."""
    removed: bool = False
    """True takes an outline drawn by hand away again."""


class ReviewUpdate(_Strict):
    """Changes to save, and what they were made on."""

    revision: Annotated[int, Field(ge=0, le=2**53)]
    """Of the review that the changes were made on."""
    reviewer: Name
    changes: Annotated[list[Change], Field(min_length=1, max_length=LARGEST_CHANGE)]

    @field_validator("reviewer")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("a name has printable characters only")
        return value


class ReviewStore:
    """The review of one slide on the disk. One store a slide and process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / REVIEW_NAME
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        """Return the review; revision 0 and no items where there is none yet.

        Raises
        ------
        StorageError
            Where the file is there but cannot be read: it is not replaced by an empty one.
        """
        try:
            review = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"version": 1, "revision": 0, "items": {}, "history": []}
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{self._path.name} of {self._path.parent.name} cannot be read",
                "Restore it from a backup, or move it away to begin anew",
            ) from error
        if not isinstance(review, dict) or not {"revision", "items", "history"} <= review.keys():
            raise StorageError(
                f"{self._path.name} of {self._path.parent.name} is no review",
                "Restore it from a backup, or move it away to begin anew",
            )
        return review

    def save(
        self, update: ReviewUpdate, new_item: Callable[[Change], dict[str, Any]]
    ) -> dict[str, Any]:
        """Write the changes and return the new review.

        Parameters
        ----------
        new_item : callable
            Returns geometry and figures of a change's item that is not in the review yet.

        Raises
        ------
        ConflictError
            Where the revision is not the latest; nothing was written.
        """
        with self._lock:
            review = self.read()
            if update.revision != review["revision"]:
                raise _conflict(review)
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            items, records = dict(review["items"]), []
            for change in update.changes:
                before = items.get(change.id)
                after = _changed(change, before or new_item(change), update.reviewer, time)
                if change.removed:
                    del_or_refuse(items, change)
                else:
                    items[change.id] = after
                records.append({"id": change.id, "before": _said(before), "after": _said(after)})
            revision = review["revision"] + 1
            entry = {"revision": revision, "time": time, "reviewer": update.reviewer}
            review = {
                **review,
                "revision": revision,
                "items": items,
                "history": [*review["history"], {**entry, "changes": records}],
            }
            data = json.dumps(review, indent=1, ensure_ascii=False, allow_nan=False)
            write_atomic(self._path, data.encode())
            return review
