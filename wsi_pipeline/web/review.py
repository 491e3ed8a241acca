"""What a pathologist says about the regions: `review.json` beside the results of a slide.

The document carries a revision. Who saves names the revision that the change was made on; if
somebody else has saved since, nothing is written and the saver is told (optimistic concurrency).
Each item keeps its own outline and figures, so that a decision survives a later `render` with
another threshold. Nothing is ever dropped from the history, and its entries are chained by hashes
(`wsi_pipeline.web.history`).
"""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from wsi_pipeline.annotations.features import Feature, FeatureCollection
from wsi_pipeline.errors import StorageError
from wsi_pipeline.execution.locks import review_lock
from wsi_pipeline.files import read_json, write_atomic
from wsi_pipeline.results.layout import REVIEW_NAME
from wsi_pipeline.web.answers import (
    Decision,
    HistoryEntry,
    ItemRecord,
    NewItem,
    RegionsAnswer,
    Review,
    ReviewItem,
    ReviewProgress,
    Words,
)
from wsi_pipeline.web.errors import BusyError, ConflictError, TooLargeError, UnusableError
from wsi_pipeline.web.history import break_of, chained

LARGEST_CHANGE: Final = 500
"""Items in one save."""
MOST_CORNERS: Final = 5_000
"""Of one outline."""
MOST_CORNERS_OF_SAVE: Final = 20_000
MOST_THRESHOLDS_OF_SAVE: Final = 16
"""Each makes the regions of the slide anew."""
FARTHEST_PX: Final = 1e7
"""Of a corner from the image's origin; the largest slides have a million px a side."""
MOST_REVIEW_BYTES: Final = 64 * 2**20
TURN_SECONDS: Final = 10.0
"""A save takes milliseconds once its outlines are made valid."""
_RESTORE: Final = "Restore it from a backup, or move it away to begin anew"
CLASS_COLORS: Final = {"IDC": (200, 0, 0), "DCIS": (180, 90, 200), "ILC": (220, 120, 20)}
OTHER_COLOR: Final = (0, 120, 200)
REJECTED_CLASS: Final = ("Ignore*", (180, 180, 180))
"""QuPath's class for what is to be left out."""

ItemId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-FARTHEST_PX, le=FARTHEST_PX)]
Corner = tuple[Coordinate, Coordinate]


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
    """Corners of an outline drawn by hand, image px: a new one, whose id is a fresh UUID, or the
    new shape of one that is there. The former shape stays in the history."""
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

    @model_validator(mode="after")
    def _bounded(self) -> ReviewUpdate:
        if sum(len(change.outline or ()) for change in self.changes) > MOST_CORNERS_OF_SAVE:
            raise ValueError(f"a save has at most {MOST_CORNERS_OF_SAVE} corners of outlines")
        if len({change.threshold for change in self.changes}) > MOST_THRESHOLDS_OF_SAVE:
            raise ValueError(f"a save has at most {MOST_THRESHOLDS_OF_SAVE} thresholds")
        return self


class ReviewStore:
    """The review of one slide on the disk. One store a slide and process.

    Saves take turns by a lock between threads and one between processes: two servers may serve
    one output folder. What takes long is done before either is taken.
    """

    def __init__(self, folder: Path, fingerprint: str = "") -> None:
        self._path, self._out = folder / REVIEW_NAME, folder.parent.parent
        self.fingerprint = fingerprint
        """Of the slide's content; empty where the results are older than fingerprints."""
        self.turn = threading.Lock()
        """Held by the thread that saves."""

    def read(self) -> Review:
        """Return the review; revision 0 and no items where there is none yet.

        Raises
        ------
        StorageError
            Where the file is there but cannot be read or was changed by somebody else: it is not
            replaced by an empty one.
        """
        name = f"{self._path.name} of {self._path.parent.name}"
        try:
            review = read_json(self._path, root=self._out, most_bytes=MOST_REVIEW_BYTES)
        except FileNotFoundError:
            return {"version": 1, "revision": 0, "items": {}, "history": []}
        except (OSError, ValueError) as error:
            raise StorageError(f"{name} cannot be read", _RESTORE) from error
        if not _is_review(review):
            raise StorageError(f"{name} is no review", _RESTORE)
        if self.fingerprint and review.get("fingerprint", self.fingerprint) != self.fingerprint:
            raise StorageError(
                f"{name} belongs to another slide: its fingerprint is not that of the results",
                "Move it to the results that it belongs to",
            )
        fault = break_of(review)
        if fault:
            raise StorageError(f"{name} was changed by something else: {fault}", _RESTORE)
        return cast("Review", dict(review))

    def save(self, update: ReviewUpdate, new_item: Callable[[Change], NewItem]) -> Review:
        """Write the changes and return the new review.

        Parameters
        ----------
        new_item : callable
            Returns geometry and figures of a change's item that is not in the review yet, or that
            gets another outline. Called before the review is locked: it may take its time.

        Raises
        ------
        ConflictError
            Where the revision is not the latest; nothing was written.
        BusyError
            Where others have been saving this review for too long; nothing was written.
        TooLargeError
            Where the review would become too large to be read again; nothing was written.
        UnusableError
            Where a change names an item that is not there, or that may not be changed so.
        StorageError
            Where the review cannot be read or written.
        """
        seen = self.read()
        _check_revision(update, seen)
        made = {
            change.id: new_item(change)
            for change in update.changes
            if not change.removed and (change.outline or change.id not in seen["items"])
        }
        if not self.turn.acquire(timeout=TURN_SECONDS):
            raise BusyError("others are saving this review", "Try again in a few seconds")
        try:
            with review_lock(self._path.parent):
                review = self.read()
                _check_revision(update, review)
                review = _applied(review, update, made)
                if self.fingerprint:
                    review["fingerprint"] = self.fingerprint
                self._write(review)
                return review
        finally:
            self.turn.release()

    def _write(self, review: Review) -> None:
        text = json.dumps(review, indent=1, ensure_ascii=False, allow_nan=False)
        data = text.encode("utf-8", "surrogatepass")
        if len(data) > MOST_REVIEW_BYTES:
            raise TooLargeError(
                f"the review would have more than {MOST_REVIEW_BYTES // 2**20} MB",
                "Move review.json away to begin a new one",
            )
        write_atomic(self._path, data, root=self._out)


def _is_review(review: Any) -> bool:
    kinds = {"revision": int, "items": dict, "history": list}
    return (
        isinstance(review, dict)
        and all(isinstance(review.get(name), kind) for name, kind in kinds.items())
        and all(isinstance(entry, dict) for entry in review["history"])
    )


def detected_item(change: Change, collection: RegionsAnswer) -> NewItem:
    """Return the item of a region of the map, with its outline and figures.

    Raises
    ------
    UnusableError
        Where no region has that id.
    """
    for feature in collection["features"]:
        if feature["id"] == change.id:
            return {
                "kind": "detected",
                "geometry": feature["geometry"],
                "measurements": feature["properties"]["measurements"],
                "threshold": change.threshold,
            }
    raise UnusableError(
        f"no region has the id {change.id}",
        "The slide may have been rendered again: reload the page",
    )


def review_geojson(review: Review, which: Literal["accepted", "all"]) -> FeatureCollection:
    """Return the reviewed regions as QuPath reads them, in image px.

    Parameters
    ----------
    which : {"accepted", "all"}
        "all" also gives the rejected ones, in QuPath's class "Ignore*", and those commented on.
    """
    features = [
        _feature(item_id, item)
        for item_id, item in review["items"].items()
        if which == "all" or item["decision"] == "accepted"
    ]
    return {"type": "FeatureCollection", "features": features}


def counts(review: Review) -> ReviewProgress:
    """Return how far the review of a slide is, for the archive page."""
    decisions = [item["decision"] for item in review["items"].values()]
    last = review["history"][-1] if review["history"] else None
    return {
        "accepted": decisions.count("accepted"),
        "rejected": decisions.count("rejected"),
        "reviewer": last.get("reviewer") if last else None,
        "time": last.get("time") if last else None,
    }


def _applied(review: Review, update: ReviewUpdate, made: dict[str, NewItem]) -> Review:
    entry: HistoryEntry = {
        "revision": review["revision"] + 1,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reviewer": update.reviewer,
        "changes": [],
    }
    items = dict(review["items"])
    for change in update.changes:
        before = items.get(change.id)
        if change.removed:
            _check_removable(change, before)
            del items[change.id]
            entry["changes"].append({"id": change.id, "before": before, "after": None})
            continue
        is_reshaped = before is not None and change.outline is not None
        if is_reshaped:
            _check_drawn(before, "given another shape")
        items[change.id] = {
            **(made[change.id] if before is None or is_reshaped else before),
            **_words(change.decision, change.label, change.comment),
            "reviewer": entry["reviewer"],
            "time": entry["time"],
        }
        after = _words_of(items[change.id])
        former = _words_of(before) if before else None
        record: ItemRecord = {"id": change.id, "before": former, "after": after}
        if before and is_reshaped:
            record["former_geometry"] = before["geometry"]
        entry["changes"].append(record)
    history = [*review["history"], chained(entry, review["history"], items)]
    return {**review, "revision": entry["revision"], "items": items, "history": history}


def _check_revision(update: ReviewUpdate, review: Review) -> None:
    if update.revision != review["revision"]:
        raise _conflict(review)


def _check_removable(change: Change, item: ReviewItem | None) -> None:
    if item is None:
        raise UnusableError(f"the review has no item {change.id}", "Reload the page")
    _check_drawn(item, "removed")


def _check_drawn(item: ReviewItem | None, done: str) -> None:
    if item is not None and item["kind"] != "drawn":
        raise UnusableError(
            f"a region that the program found cannot be {done}",
            "Reject it, it then stays on record",
        )


def _words_of(item: ReviewItem) -> Words:
    """Return what a reviewer said about an item."""
    return _words(item["decision"], item["label"], item["comment"])


def _words(decision: Decision, label: str, comment: str) -> Words:
    return {"decision": decision, "label": label, "comment": comment}


def _conflict(review: Review) -> ConflictError:
    last = review["history"][-1] if review["history"] else None
    who = last.get("reviewer", "somebody") if last else "somebody"
    time = str(last.get("time", "")) if last else ""
    return ConflictError(
        f"{who} has saved this review in between ({time[:16].replace('T', ' ')} UTC)",
        "Load their version; your changes stay on the page and can be saved on top of it",
    )


def _feature(item_id: str, item: ReviewItem) -> Feature:
    rejected = item["decision"] == "rejected"
    color = CLASS_COLORS.get(item["label"], OTHER_COLOR)
    name, rgb = REJECTED_CLASS if rejected else (item["label"], color)
    said = {"Decision": item["decision"], "Reviewer": item["reviewer"], "Time": item["time"]}
    return {
        "type": "Feature",
        "id": item_id,
        "geometry": item["geometry"],
        "properties": {
            "objectType": "annotation",
            "name": item["comment"][:60] or item["label"],
            "classification": {"name": name, "color": list(rgb)},
            "measurements": item["measurements"],
            "metadata": {**said, "Comment": item["comment"], "Origin": item["kind"]},
        },
    }
