"""From what the passes left on the patch positions to the slide's probability map."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

import wsi_pipeline
from wsi_pipeline.classifier import ContextRefinement, ModelCard
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.maps import ProbabilityMap, TissueRaster
from wsi_pipeline.maps.border import border_cells, with_between
from wsi_pipeline.maps.cells import cells_from_patches, flags_from_patches
from wsi_pipeline.maps.coarse import estimates
from wsi_pipeline.maps.grid import TileGrid
from wsi_pipeline.names import shown
from wsi_pipeline.pipeline.blocks import BlockOutcome
from wsi_pipeline.pipeline.familiarity import (
    cell_familiarity,
    recalibrated,
    slide_familiarity,
    why_unknown,
)
from wsi_pipeline.pipeline.plan import SlidePlan, pen_flags
from wsi_pipeline.pipeline.resolved import ResolvedRun
from wsi_pipeline.stain import StainNormalizer
from wsi_pipeline.tissue import QualityFlag

logger = logging.getLogger(__name__)


def count_losses(
    plan: SlidePlan, quality: NDArray[np.uint8], config: Config, outcomes: list[BlockOutcome]
) -> int:
    """Return the number of unreadable patches; fail the slide where they are too many.

    Raises
    ------
    ReadError
        Where a larger share than `slide.max_lost_share` is lost.
    """
    n_lost = int(((quality & np.uint8(QualityFlag.UNREADABLE)) > 0).sum())
    if n_lost > config.slide.max_lost_share * plan.n_patches:
        problem = next((o.problem for o in outcomes if o.problem), "in an earlier run")
        raise ReadError(
            f"{n_lost} of {plan.n_patches} patches cannot be read ({problem})",
            "The file is damaged: copy it again; or accept more with slide.max_lost_share",
        )
    if n_lost:
        logger.warning("%s: %d patches cannot be read", plan.source.path.name, n_lost)
    return n_lost


def assemble_map(
    run: ResolvedRun,
    plan: SlidePlan,
    layers: dict[str, NDArray[Any]],
    normalizer: StainNormalizer | None,
    fingerprint: str,
) -> ProbabilityMap:
    """Return the map on the cells from the layers on the patch positions."""
    grid, config, card = plan.grid, run.config, run.card
    known = slide_familiarity(card, plan, layers)
    layers = {**layers, "probability": recalibrated(layers["probability"], known)}
    patches = with_estimates(plan, layers, config)
    values, marks = on_cells(patches, layers["probability"], grid)
    raw = None
    context = context_of(config, card)
    if context is not None:
        # Patches, not their means, are what it was fitted on: means are less sure of themselves.
        refined = context.refine(patches, grid.cells_per_patch, plan.patch_tissue)
        values, raw = on_cells(refined, layers["probability"], grid)[0], values
    spread = layers.get("uncertainty")
    quality = flags_from_patches(layers["quality"], grid)
    quality[~np.isnan(values)] |= pen_flags(plan)[~np.isnan(values)]
    return ProbabilityMap(
        values=values,
        raw=raw,
        tissue=plan.tissue,
        origin_l0=grid.origin_l0,
        step_l0=grid.step_l0,
        mpp=plan.mpp,
        attributes={
            **map_attributes(run, plan, normalizer, fingerprint),
            "familiarity": known.to_dict() if known else None,
            "familiarity_unknown": "" if known else why_unknown(card, plan, layers),
        },
        uncertainty=None if spread is None else cells_from_patches(spread, grid),
        quality=quality,
        **marks,
        familiarity=cell_familiarity(card, layers, grid),
        mask=raster_of(plan),
    )


def map_attributes(
    run: ResolvedRun,
    plan: SlidePlan,
    normalizer: StainNormalizer | None,
    fingerprint: str,
) -> dict[str, Any]:  # of many kinds: as the interface has it
    """Return what stands beside the numbers of a map, see the interface of `probability.zarr`."""
    grid, config, info, bounds = plan.grid, run.config, plan.info, plan.bounds_l0
    card = run.card
    return {
        "version": wsi_pipeline.__version__,
        "slide": {
            "name": shown(info.path.name),
            "bytes": info.n_bytes,
            "quickhash": info.quickhash,
        },
        "fingerprint": fingerprint,
        "mpp_source": info.mpp_source,
        "unread": list(info.unread),
        "patch_px": grid.patch_px,
        "stride_px": grid.stride_px,
        "coarse_step": config.tiling.coarse_step or 1,
        "border_step": plan.lattice_step,
        "bounds_l0": [bounds.x, bounds.y, bounds.width, bounds.height],
        "model": {"name": card.name, "sha256": card.sha256, "mpp": card.spacing_um_px},
        "stain": normalizer.method if normalizer else "none",
        "white_balance": plan.white_balance.to_dict(),
        "threshold": threshold_of(config, card),
        "context": context_of(config, card) is not None,
        "tta": config.inference.tta,
        "config_sha256": config.map_sha256(card.sha256),
        "notice": wsi_pipeline.NOTICE,
    }


def raster_of(plan: SlidePlan) -> TissueRaster:
    """Return the tissue mask as the map keeps it."""
    um_px, bounds = plan.tissue_mask.um_px, plan.bounds_l0
    step_l0 = (um_px[0] / plan.mpp.x, um_px[1] / plan.mpp.y)
    return TissueRaster(plan.tissue_mask.mask, (bounds.x, bounds.y), step_l0)


def with_estimates(plan: SlidePlan, layers: dict[str, NDArray[Any]], config: Config) -> FloatArray:
    """Return the probability of every patch, with estimates for those that no pass had to try."""
    probability = layers["probability"]
    lost = (layers["quality"] & np.uint8(QualityFlag.UNREADABLE)) > 0
    not_tried = (plan.keep | plan.between) & np.isnan(probability) & ~lost
    if plan.grid.whole_patches:
        return with_between(probability, plan.keep, not_tried, plan.grid.cells_per_patch)
    if config.tiling.coarse_step is None:
        return probability
    guesses = estimates(not_tried, probability, config.tiling.coarse_step)
    return np.where(np.isnan(probability), guesses, probability)


def on_cells(
    values: FloatArray, probability: FloatArray, grid: TileGrid
) -> tuple[FloatArray, dict[str, NDArray[np.uint8]]]:
    """Return the values of patches on the cells, and the layer that marks estimates if any are.

    Parameters
    ----------
    values : ndarray of float32, shape of the patch positions
        Classified or estimated, refined or not.
    probability : ndarray of float32, same shape
        NaN = not classified.
    """
    if grid.whole_patches:
        cells, n_classified = border_cells(values, probability, grid)
        return cells, {"patches": n_classified}
    is_classified = ~np.isnan(probability)
    cells = cells_from_patches(np.where(is_classified, values, np.float32(np.nan)), grid)
    if (is_classified == ~np.isnan(values)).all():
        return cells, {}
    filled = cells_from_patches(np.where(is_classified, np.float32(np.nan), values), grid)
    estimated = np.isnan(cells) & ~np.isnan(filled)
    return np.where(estimated, filled, cells), {"estimated": estimated.astype(np.uint8)}


def context_of(config: Config, card: ModelCard) -> ContextRefinement | None:
    """Return the refinement by neighbors that is in force, None where there is none."""
    return card.context if config.inference.context else None


def threshold_of(config: Config, card: ModelCard) -> float:
    """Return the probability from which a cell is called IDC: asked for, or of the map's kind."""
    if config.regions.threshold is not None:
        return config.regions.threshold
    return (context_of(config, card) or card).threshold
