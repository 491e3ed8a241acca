"""What the preview page says: facts of the slide in tables, and what speaks against it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np

from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.pipeline.plan import SlidePlan
from wsi_pipeline.preview.samples import PatchSamples
from wsi_pipeline.slides import SlideInfo, SlideReader
from wsi_pipeline.stain import StainHealth, StainReference
from wsi_pipeline.tissue import Glass, QualityFlag

Table = tuple[str, tuple[tuple[str, str], ...]]
"""A heading, and names with values."""

FLAG_WORDS: Final = {
    QualityFlag.OUT_OF_FOCUS: "out of focus",
    QualityFlag.PEN: "under pen or ink",
    QualityFlag.FOLD: "folded or very dense",
    QualityFlag.BLANK: "blank",
    QualityFlag.SATURATED: "too dark for color",
}
ALARMING_FLAG_SHARE: Final = 0.1
ALARMING_ARTIFACT_SHARE: Final = 0.01
MAX_LEVELS: Final = 6


def subtitle(info: SlideInfo, card: ModelCard) -> str:
    """Return the slide's scale and the model's in one line."""
    return f"{_resolution(info)}  ·  {info.vendor}  ·  patches of model {card.name}"


def problems(plan: SlidePlan) -> tuple[str, ...]:
    """Return why a run would classify nothing."""
    if plan.n_patches:
        return ()
    if plan.tissue_mask.is_empty:
        return (
            "No tissue is found: a run calls this slide empty. If there is some, draw it and give "
            "the outline with --mask",
        )
    share = "tissue.min_tissue_share"
    return (f"No patch holds enough tissue: a run calls this slide empty. Lower {share}",)


def cautions(plan: SlidePlan, samples: PatchSamples, health: StainHealth | None) -> tuple[str, ...]:
    """Return what a user should know before trusting a run of this slide."""
    found = list(plan.info.warnings)
    if health is not None:
        found += [f"Stain: {words}" for words in (*health.warnings, *health.reasons)]
    if samples.n_lost:
        found.append(f"{samples.n_lost} of the patches looked at cannot be read")
    lost = float(plan.thumbnail.lost.mean())
    found += [f"{lost:.1%} of the overview cannot be read"] if lost else []
    found += [
        f"{share:.0%} of the patches looked at are {FLAG_WORDS[flag]}"
        for flag, share in flag_shares(samples).items()
        if share >= ALARMING_FLAG_SHARE
    ]
    mask = plan.tissue_mask
    if mask.pen_share >= ALARMING_ARTIFACT_SHARE:
        found.append(f"{mask.pen_share:.1%} of the slide is under pen: tissue there is flagged")
    if mask.black_share >= ALARMING_ARTIFACT_SHARE:
        found.append(f"{mask.black_share:.1%} of the slide is black fill: it is left out")
    return tuple(dict.fromkeys(found))


def flag_shares(samples: PatchSamples) -> dict[QualityFlag, float]:
    """Return the share of the sampled patches that carry each flag."""
    if not len(samples):
        return {}
    return {flag: float(((samples.flags & np.uint8(flag)) > 0).mean()) for flag in FLAG_WORDS}


def slide_table(reader: SlideReader) -> Table:
    """Return what the file says of itself."""
    info, pyramid = reader.info, reader.pyramid
    size, bounds = pyramid.size_l0, pyramid.bounds_l0
    rows = [
        ("format", info.vendor),
        ("file", f"{info.n_bytes / 1e6:,.1f} MB"),
        ("size", f"{size.width:,} x {size.height:,} px"),
        ("µm/px", _resolution(info)),
    ]
    if info.mpp is not None:
        width_mm, height_mm = bounds.width * info.mpp.x / 1e3, bounds.height * info.mpp.y / 1e3
        rows.append(("scanned area", f"{width_mm:.1f} x {height_mm:.1f} mm"))
    if pyramid.has_bounds:
        rows.append(("starts at", f"{bounds.x:,}, {bounds.y:,} px"))
    if info.objective_power:
        rows.append(("objective", f"{info.objective_power:g}x"))
    rows.append(("ICC profile", info.icc))
    return ("Slide", tuple(rows))


def levels_table(reader: SlideReader, level_read: int | None) -> Table:
    """Return the pyramid's levels, with the one that patches are read from."""
    pyramid, mpp = reader.pyramid, reader.info.mpp
    rows = []
    for level, (size, (x, y)) in enumerate(
        zip(pyramid.level_sizes, pyramid.level_downsamples, strict=True)
    ):
        scale = f"  ·  {mpp.x * x:.3g} µm/px" if mpp else ""
        name = f"level {level}" + ("  ◂ read" if level == level_read else "")
        factor = f"{x:.4g}" if math.isclose(x, y, rel_tol=1e-3) else f"{x:.4g} x {y:.4g}"
        rows.append((name, f"{size.width:,} x {size.height:,} px  ·  1/{factor}{scale}"))
    if len(rows) > MAX_LEVELS:
        rows = [*rows[: MAX_LEVELS - 1], ("…", f"{len(rows) - MAX_LEVELS + 1} coarser ones")]
    return ("Levels", tuple(rows))


def grid_table(plan: SlidePlan, card: ModelCard) -> Table:
    """Return how the slide is cut into patches."""
    grid = plan.grid
    side_um = grid.patch_px * grid.spacing_um_px
    places = plan.keep.size // plan.lattice_step**2
    rows = (
        ("patch", f"{grid.patch_px} px at {grid.spacing_um_px:g} µm/px = {side_um:g} µm"),
        ("grid", f"{grid.rows} rows x {grid.cols} columns"),
        ("patches to classify", f"{plan.n_patches:,} of {places:,}"),
        ("model", f"{card.name} ({card.sha256[:8]})"),
    )
    return ("Grid", rows)


def mask_table(plan: SlidePlan) -> Table:
    """Return how the tissue was found."""
    mask = plan.tissue_mask
    threshold = "–" if math.isnan(mask.threshold) else f"{mask.threshold:.3f}"
    rows = (
        ("tissue", f"{mask.area_mm2:.1f} mm²  ({mask.tissue_share:.1%} of the area)"),
        ("found by", f"{mask.method} at {mask.um_px[0]:.3g} µm/px"),
        ("color density from", threshold),
        ("glass", _glass(mask.glass)),
        ("light", plan.white_balance.words),
        ("pen  ·  black  ·  debris", _shares(mask.pen_share, mask.black_share, mask.debris_share)),
    )
    return ("Tissue mask", rows)


def quality_table(samples: PatchSamples) -> Table:
    """Return the quality flags of the patches looked at."""
    shares = flag_shares(samples)
    rows = [(FLAG_WORDS[flag], f"{share:.1%}") for flag, share in shares.items() if share]
    clean = float((samples.flags == 0).mean()) if len(samples) else math.nan
    good = "–" if math.isnan(clean) else f"{clean:.1%}"
    return (f"Quality of {len(samples)} patches", (("without a flag", good), *rows))


def stain_table(health: StainHealth, reference: StainReference) -> Table:
    """Return how far the slide is H&E."""
    verdict = {True: "yes", False: "no", None: "cannot be told"}[health.is_he]
    rows = (
        ("looks like H&E", verdict),
        ("pixels with stain", f"{_share(health.share_used)} of {health.n_pixels:,}"),
        ("colors that are not H&E", _share(health.foreign_share)),
        ("angle H to E", _number(health.angle_deg, ".1f", "°")),
        ("two halves apart", _number(health.halves_deg, ".1f", "°")),
        ("condition", _number(health.condition, ".1f")),
        ("reconstruction error", _share(health.reconstruction_error)),
        ("mean density", _number(health.mean_od, ".2f")),
        ("normalized to", textwrap.shorten(reference.source or "unnamed", 60, placeholder=" …")),
    )
    return ("Stain", rows)


def method_notes(health: StainHealth) -> tuple[str, ...]:
    """Return what a fit says of itself, a fallback first."""
    notes: Sequence[str] = ()
    if health.used != health.requested:
        notes = (f"falls back to {health.used}", *health.reasons)
    if health.used == "none":
        return tuple(notes) or ("colors as they are",)
    return (*notes, f"{_share(health.out_of_gamut_share)} of the stained pixels leave the gamut")


def _glass(glass: Glass) -> str:
    color = ", ".join(map(str, glass.rgb))
    return f"{color}  ({_share(glass.share)} of the area)" if glass.is_seen else "none is seen"


def _resolution(info: SlideInfo) -> str:
    if info.mpp is None:
        return "µm/px unknown"
    mpp = f"{info.mpp.x:.4g}"
    if info.mpp.anisotropy > 1.0005:
        mpp += f" x {info.mpp.y:.4g}"
    return f"{mpp} µm/px ({info.mpp_source})"


def _shares(*shares: float) -> str:
    return "  ·  ".join(_share(share) for share in shares)


def _share(value: float) -> str:
    return _number(value, ".1%")


def _number(value: float, form: str, unit: str = "") -> str:
    return "–" if math.isnan(value) else format(value, form) + unit
