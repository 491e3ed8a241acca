"""The answers of the interface over HTTP and the document of a review: `types.d.ts` in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from wsi_pipeline.annotations.features import FeatureCollection, Geometry

Decision = Literal["undecided", "accepted", "rejected"]
ImageSource = Literal["slide", "thumbnail", "none"]
LayerName = Literal["probability", "tissue", "raw", "uncertainty", "mask"]
"""What can be drawn over the slide; "mask", the tissue at its own resolution, cuts a smooth map."""
Totals = dict[str, float | None]
"""Figures of a slide; None = not known, never zero."""


class Raster(TypedDict):
    """How the pixels of a raster lie on the image, image px."""

    rows: int
    cols: int
    origin: list[float]
    step: list[float]


class Grid(Raster):
    """How the cells lie on the image."""

    cell_mm2: float
    layers: list[LayerName]
    mask: Raster | None
    """How the tissue mask lies; None in results of before it was stored."""


class StoredRegions(FeatureCollection):
    """The regions as their file holds them."""

    wsi_pipeline: NotRequired[Mapping[str, object]]
    """Where they come from (see `export.geojson.Origin`), as a file of any version states it."""


class RegionsAnswer(StoredRegions):
    """The regions of a slide with its figures."""

    totals: Totals


class Words(TypedDict):
    """What a reviewer said about an outline."""

    decision: Decision
    label: str
    comment: str


class NewItem(TypedDict):
    """An outline, before anything was said about it."""

    kind: Literal["detected", "drawn"]
    geometry: Geometry
    measurements: dict[str, float]
    threshold: NotRequired[float | None]
    """At which a region was found; None: a file of old does not say."""


class ReviewItem(NewItem, Words):
    """An outline of a review."""

    reviewer: str
    time: str


class ItemRecord(TypedDict):
    """What a save changed about an outline; None where it was not there."""

    id: str
    before: Words | None
    after: Words | None
    former_geometry: NotRequired[Geometry]


class HistoryEntry(TypedDict):
    """A save; the hashes are missing in entries of before there was a chain."""

    revision: int
    time: str
    reviewer: str
    changes: list[ItemRecord]
    before_sha256: NotRequired[str]
    items_sha256: NotRequired[str]
    sha256: NotRequired[str]


class Review(TypedDict):
    """The document `review.json`."""

    version: int
    revision: int
    items: dict[str, ReviewItem]
    history: list[HistoryEntry]
    fingerprint: NotRequired[str]
    """Of the slide's content."""


class ReviewProgress(TypedDict, total=False):
    """How far the review of a slide is; `problem` alone where it cannot be read."""

    accepted: int
    rejected: int
    reviewer: str | None
    time: str | None
    problem: str


SlideRow = dict[str, str | float | bool | ReviewProgress | None]
"""A slide's row of the summary (`results.summary.COLUMNS`), and of the application's own:
`fingerprint`, `has_overlay`, `has_gallery`, `familiarity_caution`, `review`."""


class RunFacts(TypedDict):
    """What run.json says of the run; None where it does not."""

    name: str
    state: object
    started: object
    version: object
    model: object
    threshold: object


class Archive(TypedDict):
    """An output folder."""

    notice: str
    run: RunFacts
    slides: list[SlideRow]


class Session(TypedDict):
    """Who is signed in."""

    name: str | None
    role: str | None
    can_review: bool


class Image(TypedDict):
    """What there is to look at."""

    source: ImageSource
    width: int
    height: int
    mpp: tuple[float, float] | None
    tile_px: int
    max_level: int


class ModelThresholds(TypedDict):
    """Of the model that made a map, where that model is bundled."""

    operating_points: dict[str, float]
    """For a patch alone."""
    neighbor_threshold: float | None
    """For a map whose cells were refined by their neighbors; None: this map is not such a one."""


class Colors(TypedDict):
    """The color map of a slide's pictures."""

    colormap: str
    color_stops: str | None
    """33 colors in hex; None where the pages know it."""


class SlideFacts(TypedDict):
    """Where the results of a slide come from; what the map states is as it is stored."""

    vendor: str | None
    size_l0: tuple[int, int] | None
    mpp_source: str | None
    icc: str | None
    device: str | None
    version: object
    model: object
    patch_px: object
    stride_px: object
    tta: object
    config_sha256: object
    stain: str | None
    stain_warnings: tuple[str, ...]
    pen_share: float | None
    patches_lost: int
    seconds: dict[str, float]
    totals: Totals | None


class SlideDetail(ModelThresholds, Colors):
    """Everything the slide page needs but pixels, map and regions."""

    slide_id: str
    fingerprint: str
    notice: str
    row: SlideRow
    image: Image
    map: Grid | None
    threshold: float | None
    warnings: list[str]
    facts: SlideFacts
    viewer: bool


class ModelCardAnswer(TypedDict):
    """The card of the model that classifies uploads; the last four as the card has them."""

    name: str
    sha256: str
    patch_size_px: int
    spacing_um_px: float
    stain: str
    operating_points: dict[str, float]
    notice: str
    training_data: NotRequired[object]
    metrics: NotRequired[object]
    architecture: NotRequired[object]
    license: NotRequired[object]
