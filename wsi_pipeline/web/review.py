"""What a pathologist says about the regions: `review.json` beside the results of a slide.

The document carries a revision. Who saves names the revision that the change was made on; if
somebody else has saved since, nothing is written and the saver is told (optimistic concurrency).
Each item keeps its own outline and figures, so that a decision survives a later `render` with
another threshold. Nothing is ever dropped from the history.
"""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import shapely
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from wsi_pipeline.errors import StorageError
from wsi_pipeline.execution.locks import review_lock
from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.web.errors import ConflictError, UnusableError

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
    """The review of one slide on the disk. One store a slide and process.

    Saves take turns by a lock between threads and one between processes: two servers may serve
    one output folder.
    """

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
        with self._lock, review_lock(self._path.parent):
            review = self.read()
            if update.revision != review["revision"]:
                raise _conflict(review)
            review = _applied(review, update, new_item)
            data = json.dumps(review, indent=1, ensure_ascii=False, allow_nan=False)
            write_atomic(self._path, data.encode())
            return review


def detected_item(change: Change, collection: dict[str, Any]) -> dict[str, Any]:
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


def drawn_item(change: Change, map_: ProbabilityMap) -> dict[str, Any]:
    """Return the item of an outline drawn by hand, with area and figures from the map.

    Raises
    ------
    UnusableError
        Where the outline encloses nothing on the slide.
    """
    _, _, width, height = map_.bounds_l0
    drawn = shapely.make_valid(shapely.Polygon(change.outline))
    outline = polygons_of(shapely.intersection(drawn, shapely.box(0, 0, width, height)))
    if outline is None:
        raise UnusableError("the outline encloses nothing on the slide", "Draw it again")
    return {
        "kind": "drawn",
        "geometry": shapely.geometry.mapping(shapely.set_precision(outline, 0.001)),
        "measurements": _measurements(outline, map_),
    }


def polygons_of(shape: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Return the parts of a shape that have an area; None where none has."""
    # twice: `make_valid` may return a collection that holds a MultiPolygon
    flat = shapely.get_parts(shapely.get_parts(shape))
    parts = [part for part in flat if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def review_geojson(review: dict[str, Any], which: Literal["accepted", "all"]) -> dict[str, Any]:
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


def counts(review: dict[str, Any]) -> dict[str, Any]:
    """Return how far the review of a slide is, for the archive page."""
    decisions = [item["decision"] for item in review["items"].values()]
    last = review["history"][-1] if review["history"] else {}
    return {
        "accepted": decisions.count("accepted"),
        "rejected": decisions.count("rejected"),
        "reviewer": last.get("reviewer"),
        "time": last.get("time"),
    }


def _applied(
    review: dict[str, Any], update: ReviewUpdate, new_item: Callable[[Change], dict[str, Any]]
) -> dict[str, Any]:
    entry = {
        "revision": review["revision"] + 1,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reviewer": update.reviewer,
    }
    items, records = dict(review["items"]), []
    for change in update.changes:
        before = items.get(change.id)
        if change.removed:
            _check_removable(change, before)
            del items[change.id]
            records.append({"id": change.id, "before": before, "after": None})
            continue
        items[change.id] = {
            **(before or new_item(change)),
            **_said(change.model_dump()),
            "reviewer": entry["reviewer"],
            "time": entry["time"],
        }
        after = _said(items[change.id])
        records.append({"id": change.id, "before": before and _said(before), "after": after})
    history = [*review["history"], {**entry, "changes": records}]
    return {**review, "revision": entry["revision"], "items": items, "history": history}


def _check_removable(change: Change, item: dict[str, Any] | None) -> None:
    if item is None:
        raise UnusableError(f"the review has no item {change.id}", "Reload the page")
    if item["kind"] != "drawn":
        raise UnusableError(
            "a region that the program found cannot be removed",
            "Reject it, it then stays on record",
        )


def _said(item: dict[str, Any]) -> dict[str, Any]:
    """Return what a reviewer said about an item."""
    return {name: item[name] for name in ("decision", "label", "comment")}


def _conflict(review: dict[str, Any]) -> ConflictError:
    last = review["history"][-1] if review["history"] else {}
    who, time = last.get("reviewer", "somebody"), str(last.get("time", ""))
    return ConflictError(
        f"{who} has saved this review in between ({time[:16].replace('T', ' ')} UTC)",
        "Load their version; your changes stay on the page and can be saved on top of it",
    )


def _measurements(outline: shapely.Geometry, map_: ProbabilityMap) -> dict[str, Any]:
    """Return area, perimeter and, over the cells whose centers lie inside, the probability."""
    x_um, y_um = map_.mpp.x, map_.mpp.y
    in_um = shapely.transform(outline, lambda corners: corners * (x_um, y_um))
    rows, cols = map_.values.shape
    x = map_.origin_l0[0] - map_.bounds_l0[0] + (np.arange(cols) + 0.5) * map_.step_l0[0]
    y = map_.origin_l0[1] - map_.bounds_l0[1] + (np.arange(rows) + 0.5) * map_.step_l0[1]
    shapely.prepare(outline)
    inside = map_.values[shapely.contains_xy(outline, *np.meshgrid(x, y))]
    known = inside[~np.isnan(inside)].astype(np.float64)
    figures: dict[str, Any] = {
        "Area mm^2": round(in_um.area / 1e6, 6),
        "Perimeter mm": round(in_um.length / 1e3, 6),
        "Patches": known.size,
    }
    if known.size:
        figures["Mean probability"] = round(float(known.mean()), 6)
        figures["Max probability"] = round(float(known.max()), 6)
    return figures


def _feature(item_id: str, item: dict[str, Any]) -> dict[str, Any]:
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
