"""What stands in a slide's status.json: how it ended, and what is known of it.

The one contract between runs and whatever reads their results. Fields that a version does not know
are skipped, fields that an older version did not write hold their defaults; a record of a newer
schema is refused.
"""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from wsi_pipeline.config import Config
from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import read_json, write_json
from wsi_pipeline.maps.map import familiarity_caution
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.results.layout import REGIONS_NAME, STATUS_NAME

SCHEMA_VERSION: Final = 1
"""Of what this version writes; 0 are the records of before there was a number."""


Text = Annotated[str, PlainValidator(str)]
"""May hold the bytes of a file name that is no UTF-8, which a plain `str` field refuses."""


class StatusPart(BaseModel):
    """A part of the record: frozen, tolerant of fields of other versions."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def to_dict(self) -> dict[str, Any]:  # of any part, whose fields its class names
        """Return plain data, as it is stored; NaN stays NaN."""
        return self.model_dump(warnings=False)  # NaN stands for an unknown count too


class SlideFile(StatusPart):
    """The file that was done."""

    bytes: int | None = None
    mtime_ns: int | None = None
    quickhash: str | None = None


class TissueFacts(StatusPart):
    """How the tissue was found."""

    method: str = ""
    um_px: float | None = None
    threshold: float | None = None
    area_mm2: float | None = None
    tissue_share: float | None = None
    pen_share: float | None = None
    black_share: float | None = None
    debris_share: float | None = None


class StainFacts(StatusPart):
    """The slide's stain, see `wsi_pipeline.stain.StainHealth`; figures are null where unknown."""

    model_config = ConfigDict(extra="allow", frozen=True)

    requested: str = "none"
    used: str = "none"
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_he: bool | None = None
    vectors: dict[str, Any] | None = None
    mean_od: float | None = None
    lab_mean: tuple[float, float, float] | None = None


class FamiliarityFacts(StatusPart):
    """Whether the slide looks like the model's training data, in the network's own features."""

    familiar: bool
    score: float
    """1 is the border that 19 in 20 training slides keep; below it is unfamiliar."""
    reasons: tuple[str, ...] = ()
    logit_shift: float = 0.0
    """What was added to the logits of its patches, for what stain, light and focus cost them."""


class ThumbnailFacts(StatusPart):
    """The stored picture that overlays are drawn on."""

    file: str
    um_px: float


class ResultSettings(StatusPart):
    """How regions and pictures were made from the map: what `render` may change."""

    threshold: float | None = None
    """Probability from which a cell is called IDC; None: the map's own."""
    low_share: float | None = None
    smoothing_cells: float | None = None
    min_area_mm2: float | None = None
    outline: Literal["contour", "cells"] | None = None
    flagged: Literal["kept", "hatched", "dropped"] = "kept"
    colormap: str | None = None
    """Of the pictures; None: of before it was stored, the run's configuration has it."""

    @classmethod
    def of(cls, config: Config, threshold: float) -> Self:
        """Return what a configuration says, at the threshold in force."""
        regions = config.regions
        return cls(
            threshold=threshold,
            low_share=regions.low_share,
            smoothing_cells=regions.smoothing_cells,
            min_area_mm2=regions.min_area_mm2,
            outline=regions.outline,
            flagged=config.render.flagged,
            colormap=config.render.colormap,
        )

    def overrides(self, threshold: float | None = None) -> dict[str, dict[str, object]]:
        """Return the settings as they are laid over a configuration, at another threshold."""
        regions: dict[str, object] = self.model_dump(exclude={"flagged", "colormap"})
        if threshold is not None:
            regions["threshold"] = threshold
        render: dict[str, object] = {"flagged": self.flagged, "colormap": self.colormap}
        return {"regions": regions, "render": render}


def _totals(value: Any) -> Any:
    """Return stored totals, NaN where null stands or an older version had no such figure."""
    if not isinstance(value, dict):
        return value
    known = {field.name for field in fields(SlideTotals)}
    stored: dict[str, Any] = {n: math.nan if v is None else v for n, v in value.items()}
    return SlideTotals(**{name: stored.get(name, math.nan) for name in known})


class SlideStatus(StatusPart):
    """What every state has."""

    schema_version: int = SCHEMA_VERSION
    slide: Text = ""
    """Path of the slide's file."""


class Queued(SlideStatus):
    """Waits for its turn."""

    state: Literal["queued"] = "queued"
    attempt: int = 0


class Running(SlideStatus):
    """Some process is at it, or died over it."""

    state: Literal["running"] = "running"
    stage: str = "open"
    run_id: str = ""
    attempt: int = 1


class FinishedSlideStatus(SlideStatus):
    """A slide with results. Null and empty: not known."""

    stage: str = "finished"
    error: Text = ""
    advice: Text = ""
    run_id: str = ""
    attempt: int = 1
    file: SlideFile = SlideFile()
    fingerprint: str = ""
    """Of all files of the slide, see `wsi_pipeline.slides.identity`; empty: of before there was
    one."""
    duplicate_of: str = ""
    """Id of the slide of equal content whose results these are; empty: it was done by itself."""
    vendor: str | None = None
    scan_date: str | None = None
    scan_date_source: str | None = None
    size_l0: tuple[int, int] | None = None
    mpp: tuple[float, float] | None = None
    mpp_source: str | None = None
    icc: str | None = None
    warnings: tuple[str, ...] = ()
    level_read: int | None = None
    white_balance: dict[str, Any] | None = None
    """See `wsi_pipeline.tissue.WhiteBalance`; None: of before there was one."""
    tissue_mask: TissueFacts = TissueFacts()
    map_sha256: str = ""
    """Of all that the numbers of the map depend on."""
    patches: int = 0
    """Classified patches."""
    patches_lost: int = 0
    """Patches whose pixels could not be read."""
    device: str = ""
    """What classified the slide, in the order of use."""
    devices_of_blocks: dict[str, tuple[tuple[int, int], ...]] = Field(default_factory=dict)
    """Row and column of the first patch of each block that a device made; empty where one made
    all. Blocks of an interrupted run of before are not listed."""
    stain: StainFacts | None = None
    threshold: float | None = None
    """Probability from which a cell is called IDC."""
    familiarity: FamiliarityFacts | None = None
    """None: it cannot be known, which is not "familiar"."""
    familiarity_unknown: str = ""
    """Why it cannot be known; empty where it is, and in records of before this was said."""
    settings: ResultSettings | None = None
    totals: Annotated[SlideTotals | None, BeforeValidator(_totals)] = None
    """None where nothing was classified."""
    uncertainty: float | None = None
    flagged_share: float | None = None
    quality_shares: dict[str, float] = Field(default_factory=dict)
    thumbnail: ThumbnailFacts | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    """By stage."""
    bytes_read: int | None = None

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader has to know before the figures are believed: in each picture and table."""
        said, known = self.familiarity_caution, self.familiarity
        if said and known is not None and known.reasons:
            said += f" ({'; '.join(known.reasons)})"
        return (*self.warnings, said) if said else self.warnings

    @property
    def familiarity_caution(self) -> str:
        """The same of familiarity alone, in few words; "" where nothing was classified, too."""
        known = self.familiarity
        if known is None and self.totals is None:
            return ""
        return familiarity_caution(known.familiar if known else None, self.familiarity_unknown)


class Done(FinishedSlideStatus):
    """Classified: there is a map, and what was made from it."""

    state: Literal["done"] = "done"


class Empty(FinishedSlideStatus):
    """No tissue was found: a result too."""

    state: Literal["empty"] = "empty"


class FailureFingerprint(StatusPart):
    """What a failure depends on; a slide that failed is tried again where one of it changed."""

    bytes: int
    mtime_ns: int
    map_sha256: str
    version: str


class Failed(SlideStatus):
    """Could not be done."""

    state: Literal["failed"] = "failed"
    stage: str = "open"
    error: Text = ""
    advice: Text = ""
    traceback: Text = ""
    run_id: str = ""
    attempt: int = 1
    seconds: dict[str, float] = Field(default_factory=dict)
    failure_fingerprint: FailureFingerprint | None = None
    """None: the file was out of reach or changed meanwhile, the next run tries again."""


AnyStatus = Queued | Running | Done | Empty | Failed
_ADAPTER: Final = TypeAdapter[AnyStatus](Annotated[AnyStatus, Field(discriminator="state")])


def status_from_dict(data: dict[str, Any]) -> AnyStatus | None:
    """Return the record that stands in a status.json; None where it is damaged.

    Raises
    ------
    StorageError
        Where it was written by a newer version whose schema is not known here.
    """
    version = data.get("schema_version", 0)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StorageError(
            f"status.json has schema version {version}; this program knows {SCHEMA_VERSION}",
            "It was written by a newer wsi_pipeline: update this one",
        )
    if "circumstances" in data:  # the name of before there was a schema
        data = {**data, "failure_fingerprint": data["circumstances"] or None}
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError:
        return None


def read_status(folder: Path) -> AnyStatus | None:
    """Return a slide's status.json, None where there is none or it is not readable.

    Raises
    ------
    StorageError
        Where the folder cannot be read, or the record is of a newer schema.
    """
    path = folder / STATUS_NAME
    try:
        data = read_json(path, root=folder)
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(data, dict):
        return None
    if data.get("state") in ("done", "empty") and "settings" not in data:
        data["settings"] = _settings_of_before(folder, data)
    return status_from_dict(data)


def write_status(folder: Path, status: AnyStatus, *, flush: bool = True) -> None:
    """Write status.json in one step; without `flush` a power cut may take it."""
    record = status.to_dict()
    first = {"state": record.pop("state")}  # what people look for
    write_json(folder / STATUS_NAME, first | record, flush=flush)


def _settings_of_before(folder: Path, data: dict[str, Any]) -> dict[str, object]:
    """Return the settings that versions without a schema left in regions.geojson, unchecked."""
    try:
        own = read_json(folder / REGIONS_NAME, root=folder)["wsi_pipeline"]
        stated = own if isinstance(own, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        stated = {}
    threshold, low = stated.get("threshold") or data.get("threshold"), stated.get("low_threshold")
    return {
        "threshold": threshold,
        "low_share": min(1.0, low / threshold) if low is not None and threshold else None,
        "smoothing_cells": stated.get("smoothing_cells"),
        "min_area_mm2": stated.get("min_area_mm2"),
        "outline": stated.get("outline") or "cells",
        "flagged": data.get("flagged") or "kept",
    }
