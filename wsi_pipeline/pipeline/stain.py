"""The stain of a slide: fitting it, and what it is normalized to."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from wsi_pipeline.classifier import DEFAULT_MODEL, ModelCard, find_model
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, ModelError, ReadError, SlideError, StainError
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.pipeline.plan import SlidePlan, plan_slide
from wsi_pipeline.results.status import StainFacts
from wsi_pipeline.slides import SlideSource, read_canvas
from wsi_pipeline.stain import StainHealth, StainNormalizer, StainReference, fit_with_fallback
from wsi_pipeline.tissue import estimate_glass

STAIN_PATCHES = 100
"""Patches whose pixels the stain is fitted on."""
STAIN_PIXELS = 100_000
REFERENCE_NAME = "stain_reference.json"
REFERENCE_SIDE_PX = 1024
"""A picture up to this size is a stain reference as a whole: it may state no µm/px."""
HEALTH_PIXELS = 40_000
"""Pixels that tell what a stain is like that is not normalized: some means, for the record."""

logger = logging.getLogger(__name__)


def fit_stain(
    plan: SlidePlan, method: str, reference: StainReference
) -> tuple[StainNormalizer, StainHealth]:
    """Fit stain normalization once for the slide, on pooled tissue pixels.

    Pixels are in balanced light, read at the model's µm/px from patches all over the slide:
    averaging mixes the stains. Where no normalization is asked for, the thumbnail's pixels are
    looked at instead: the record then says what the stain is like, at no cost.
    """
    if method == "none":
        places = np.flatnonzero(plan.tissue_mask.mask)
        pixels = plan.thumbnail.rgb.reshape(-1, 3)[places[:: len(places) // HEALTH_PIXELS + 1]]
        pixels = plan.white_balance.apply(pixels)
    else:
        pixels = _sample(plan)
    if len(pixels) > STAIN_PIXELS:
        chosen = np.random.default_rng(0).choice(len(pixels), STAIN_PIXELS, replace=False)
        pixels = pixels[np.sort(chosen)]
    return fit_with_fallback(pixels, method, reference, glass_rgb=plan.glass_rgb)


def normalizer_of(
    plan: SlidePlan, config: Config, card: ModelCard
) -> tuple[StainNormalizer | None, StainFacts | None]:
    """Return the slide's stain normalizer (None where none is in force) and its record."""
    if not plan.n_patches:
        return None, None
    method, saved = config.stain.method or card.stain, config.stain.reference
    reference = stain_reference(card, Path(saved) if saved else None)
    normalizer, health = fit_stain(plan, method, reference)
    source = {"source": reference.source, "file": saved}
    record = StainFacts.model_validate({**health.to_dict(), "reference": source})
    return (None if normalizer.method == "none" else normalizer), record


def stain_reference(card: ModelCard, saved: Path | None = None) -> StainReference:
    """Return what stains are normalized to: a saved reference, or the model's training set.

    A model without a reference of its own shares the bundled model's.

    Raises
    ------
    StainError
        Where the file is no stain reference.
    """
    path = saved or card.stain_reference_path or find_model(DEFAULT_MODEL).stain_reference_path
    if path is None:
        raise ModelError(
            f"model {card.name} brings no stain_reference.json", "Use --stain none with this model"
        )
    try:
        return StainReference.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StainError(
            f"stain reference {path} cannot be read ({error})",
            "Give a stain_reference.json, a slide or a picture",
        ) from error


def settle_reference(config: Config, card: ModelCard, out: Path) -> Config:
    """Return the configuration with its stain reference as a JSON file in `out`, for every worker.

    Raises
    ------
    ConfigError
        Where the reference cannot be one, or no method is in force that would use it.
    """
    wanted = config.stain.reference
    if wanted is None:
        return config
    if (config.stain.method or card.stain) == "none":
        raise ConfigError(
            f"stain reference {wanted} has no use: stains are not normalized",
            "Choose a method too, e.g. --stain macenko",
        )
    try:
        saved = save_reference(Path(wanted), config, card, out)
    except (StainError, SlideError) as error:
        raise ConfigError(f"--stain-reference: {error.problem}", error.advice) from error
    stain = config.stain.model_copy(update={"reference": str(saved)})
    return config.model_copy(update={"stain": stain})


def save_reference(path: Path, config: Config, card: ModelCard, folder: Path) -> Path:
    """Write the stain reference that a file is, or that is fitted to it, as JSON into a folder.

    Parameters
    ----------
    path : Path
        ``.json`` as a model folder has it; else a slide or picture, whose tissue is measured.
    config, card
        Of the run: where its patches would lie.
    folder : Path
        For ``stain_reference.json``; made where missing.

    Raises
    ------
    StainError
        Where the file is no reference, or the tissue does not show two stains.
    SlideError
        Where the slide cannot be opened.
    """
    is_saved = path.suffix.lower() == ".json"
    reference = stain_reference(card, path) if is_saved else _fitted_reference(path, config, card)
    target = folder.absolute() / REFERENCE_NAME
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(target, json.dumps(reference.to_dict(), indent=2).encode())
    return target


def _fitted_reference(path: Path, config: Config, card: ModelCard) -> StainReference:
    source = SlideSource(path.absolute(), config.slide.mpp, None, config.slide.apply_icc)
    pixels, glass_rgb = _reference_pixels(source, config, card)
    try:
        return StainReference.fit(pixels, glass_rgb=glass_rgb, source=path.name)
    except StainError as error:
        raise StainError(
            f"{path} cannot be a stain reference: {error.problem}",
            "Choose a well stained H&E slide",
        ) from error


def _reference_pixels(
    source: SlideSource, config: Config, card: ModelCard
) -> tuple[RgbArray, tuple[int, int, int]]:
    """Return the tissue of a slide, or all of a picture that states no scale or is but a patch."""
    with source.open() as reader:
        size = reader.pyramid.size_l0
        is_small = max(size.width, size.height) <= REFERENCE_SIDE_PX
        if is_small:
            rgb = reader.thumbnail(REFERENCE_SIDE_PX)
            return rgb.reshape(-1, 3), estimate_glass(rgb, reader.info.background_rgb)
    plan = plan_slide(source, config, card)
    return _sample(plan), plan.glass_rgb


def _sample(plan: SlidePlan) -> RgbArray:
    """Return the balanced pixels of some kept patches, spread evenly, uint8 (N, 3)."""
    reader, side = plan.source.open_shared(), plan.grid.patch_px
    rows, cols = np.nonzero(plan.keep)
    places = np.unique(np.linspace(0, len(rows) - 1, min(STAIN_PATCHES, len(rows))).astype(int))
    parts = []
    for place in places:
        stride = plan.grid.stride_px
        box = Box(int(cols[place]) * stride, int(rows[place]) * stride, side, side)
        try:
            parts.append(read_canvas(reader, plan.read_plan, box).reshape(-1, 3))
        except ReadError as error:
            logger.warning("left out of the stain fit: %s", error)
    return plan.white_balance.apply(np.concatenate(parts)) if parts else np.empty((0, 3), np.uint8)
