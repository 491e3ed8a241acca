"""What the application works with: the run, its tiles, its reviews and the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import ModelCard, bundled_folders, find_model, operating_points
from wsi_pipeline.errors import ModelError, StorageError
from wsi_pipeline.files import finite
from wsi_pipeline.geometry import Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.results.layout import CARD_NAME, OVERLAY_NAME, THUMBNAIL_NAME
from wsi_pipeline.results.status import Done, Empty, StainFacts
from wsi_pipeline.web import vendor
from wsi_pipeline.web.answers import (
    Archive,
    Colors,
    ImageSource,
    ModelThresholds,
    NewItem,
    RegionsAnswer,
    Review,
    ReviewProgress,
    SlideDetail,
    SlideFacts,
    SlideRow,
)
from wsi_pipeline.web.catalog import Catalog, CatalogEntry
from wsi_pipeline.web.classify import UploadClassifier
from wsi_pipeline.web.drawn import drawn_item
from wsi_pipeline.web.history import HASH
from wsi_pipeline.web.lanes import Lanes
from wsi_pipeline.web.layers import grid_facts, regions_at, threshold_of
from wsi_pipeline.web.review import (
    Change,
    ReviewStore,
    ReviewUpdate,
    counts,
    detected_item,
)
from wsi_pipeline.web.tiles import TILE_PX, DeepZoom, TileServer
from wsi_pipeline.web.visits import Visit

PAGE_COLORMAPS: Final = ("inferno", "viridis", "magma", "cividis", "plasma")
"""What static/colormaps.js holds."""


@dataclass(frozen=True, slots=True)
class ReviewService:
    """One output folder, open for review."""

    catalog: Catalog
    tiles: TileServer
    uploads: UploadClassifier
    lanes: Lanes = field(default_factory=Lanes)
    _reviews: dict[str, ReviewStore] = field(default_factory=dict)

    def review(self, entry: CatalogEntry) -> ReviewStore:
        """Return the review of a slide; one object a slide, its lock is what keeps order."""
        content = entry.finished.fingerprint
        store = self._reviews.get(entry.slide_id)
        if store is None or store.fingerprint != content:
            store = self._reviews[entry.slide_id] = ReviewStore(entry.folder, content)
        return store

    def save_review(self, entry: CatalogEntry, update: ReviewUpdate, visit: Visit) -> Review:
        """Save changes to the review of a slide, under the visitor's name, and return it."""
        if visit.person is not None and visit.person.name is not None:
            update = update.model_copy(update={"reviewer": visit.person.name})

        @cache
        def regions(threshold: float | None) -> RegionsAnswer:
            return regions_at(self.catalog, entry, threshold)

        def new_item(change: Change) -> NewItem:
            if change.outline is not None:
                return drawn_item(change.outline, self.catalog.map(entry))
            found = regions(change.threshold)
            return {**detected_item(change, found), "threshold": threshold_of(found)}

        review = self.review(entry).save(update, new_item)
        last = review["history"][-1]
        visit.note(
            "save",
            slide=entry.slide_id,
            reviewer=last["reviewer"],
            revision=last["revision"],
            changes=len(last["changes"]),
            sha256=last[HASH],
        )
        return review

    def archive(self) -> Archive:
        """Return the run and a row a slide."""
        record = self.catalog.record
        model = record.get("model") or {}
        return {
            "notice": NOTICE,
            "run": {
                "name": self.catalog.out.resolve().name,
                "state": record.get("state"),
                "started": record.get("started"),
                "version": record.get("wsi_pipeline"),
                "model": model.get("name"),
                "threshold": model.get("threshold"),
            },
            "slides": [self._row(entry) for entry in self.catalog.entries()],
        }

    def slide(self, entry: CatalogEntry) -> SlideDetail:
        """Return everything the slide page needs but pixels, map and regions."""
        map_ = self.catalog.map(entry) if entry.has_map else None
        source, size, warnings = self._image(entry, map_)
        status = entry.finished
        return {
            "slide_id": entry.slide_id,
            "fingerprint": entry.fingerprint,
            "notice": NOTICE,
            "row": self._row(entry),
            "image": {
                "source": source,
                "width": size.width,
                "height": size.height,
                "mpp": status.mpp,
                "tile_px": TILE_PX,
                "max_level": DeepZoom(size).max_level if source != "none" else 0,
            },
            "map": grid_facts(map_) if map_ else None,
            "threshold": map_.threshold if map_ else None,
            **model_thresholds(map_),
            **self._colors(entry),
            "warnings": [*status.cautions, *warnings],
            "facts": _facts(status, map_),
            "viewer": vendor.is_installed(),
        }

    def _row(self, entry: CatalogEntry) -> SlideRow:
        return {
            **self.catalog.row(entry),
            "fingerprint": entry.fingerprint,
            "has_overlay": (entry.folder / OVERLAY_NAME).is_file(),
            "has_gallery": (entry.folder / CARD_NAME).is_file(),
            "familiarity_caution": entry.finished.familiarity_caution,
            "review": self._review_row(entry),
        }

    def _review_row(self, entry: CatalogEntry) -> ReviewProgress:
        """Return how far the review is; a damaged one must not take the archive page away."""
        try:
            return counts(self.review(entry).read())
        except StorageError as error:
            return {"problem": str(error)}

    def _colors(self, entry: CatalogEntry) -> Colors:
        """Return the color map of the slide's pictures: the viewer has the same."""
        settings = entry.finished.settings
        name = (settings and settings.colormap) or self.catalog.config.render.colormap
        return {"colormap": name, "color_stops": color_stops(name)}

    def _image(
        self, entry: CatalogEntry, map_: ProbabilityMap | None
    ) -> tuple[ImageSource, Size, list[str]]:
        """Return what there is to look at, its size in image px and what is amiss with it."""
        reader = self.tiles.reader(entry)
        if reader is not None:
            bounds = reader.pyramid.bounds_l0
            found = (bounds.x, bounds.y, bounds.width, bounds.height)
            if map_ is None or found == map_.bounds_l0:
                return "slide", Size(bounds.width, bounds.height), []
        if map_ is None:
            return "none", Size(1, 1), []
        if reader is not None or self.catalog.holds_other_content(entry):
            words = "The file found is not the slide that was run"
        else:
            words = "The slide's file was not found"
        warnings = [
            f"{words}; the stored thumbnail is shown. "
            "Start the server with --slides DIR to zoom in: slides are told by their content."
        ]
        _, _, width, height = map_.bounds_l0
        has_thumbnail = (entry.folder / THUMBNAIL_NAME).is_file()
        return ("thumbnail" if has_thumbnail else "none"), Size(width, height), warnings


def model_thresholds(map_: ProbabilityMap | None) -> ModelThresholds:
    """Return the thresholds of the model that made a map, where that model is bundled."""
    card = _card_of(map_)
    is_refined = map_ is not None and map_.raw is not None
    context = (card.record.get("context") or {}) if card and is_refined else {}
    return {
        "operating_points": operating_points(card) if card else {},
        "neighbor_threshold": context.get("threshold"),
    }


def _card_of(map_: ProbabilityMap | None) -> ModelCard | None:
    model = map_.attributes.get("model", {}) if map_ else {}
    if model.get("name") not in bundled_folders():
        return None
    try:
        card = find_model(model["name"])
    except ModelError:  # the results stay readable, whatever became of the model since
        return None
    return card if card.sha256 == model.get("sha256") else None


@lru_cache
def color_stops(colormap: str) -> str | None:
    """Return a color map as the pages take it, 33 colors in hex; None where they know it."""
    if colormap in PAGE_COLORMAPS:
        return None
    from wsi_pipeline.render.blend import Blend

    colors = Blend(colormap).opaque(np.linspace(0, 1, 33, dtype=np.float32))
    return bytes(colors[:, :3].tobytes()).hex()


def _facts(status: Done | Empty, map_: ProbabilityMap | None) -> SlideFacts:
    attributes = map_.attributes if map_ else {}
    stain = status.stain or StainFacts()
    return {
        "vendor": status.vendor,
        "size_l0": status.size_l0,
        "mpp_source": status.mpp_source,
        "icc": status.icc,
        "device": status.device or None,
        "version": attributes.get("version"),
        "model": attributes.get("model"),
        "patch_px": attributes.get("patch_px"),
        "stride_px": attributes.get("stride_px"),
        "tta": attributes.get("tta"),
        "config_sha256": attributes.get("config_sha256"),
        "stain": stain.used if status.stain else None,
        "stain_warnings": stain.warnings,
        "pen_share": status.tissue_mask.pen_share,
        "patches_lost": status.patches_lost,
        "seconds": status.seconds,
        "totals": finite(asdict(status.totals)) if status.totals else None,
    }


def open_service(out: Path, slides_dir: Path | None, uploads: UploadClassifier) -> ReviewService:
    """Open an output folder.

    Raises
    ------
    IncompleteRunError
        Where `out` is not the output of a run.
    """
    catalog = Catalog(out, slides_dir)
    return ReviewService(catalog, TileServer(catalog), uploads)
