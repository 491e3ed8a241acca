"""Slides of tissue that holds no IDC at all: other organs, benign breast, other laboratories."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np

from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.config import load_config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.slides import SLIDE_SUFFIXES, SlideSource, read_canvas

logger = logging.getLogger(__name__)

PER_SLIDE: Final = 1000
"""Patches of a slide at most: those of one slide are much alike."""
MIN_TISSUE: Final = 0.4
"""Share of a patch."""


def negative_slides(folder: Path) -> list[Path]:
    """Return the slides of a folder, searched recursively, sorted."""
    return [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SLIDE_SUFFIXES]


def read_negatives(
    folder: Path,
    patch_px: int,
    spacing_um_px: float,
    seed: int,
    glass_rgb: tuple[int, int, int] | None = None,
) -> PatchDataset:
    """Read patches of tissue from every slide of a folder, half a patch apart, drawn at random.

    They are as `run` gives them to the network: balanced to the glass of the training data.

    Parameters
    ----------
    folder : Path
        Slides without any IDC; searched recursively.
    patch_px : int
    spacing_um_px : float
        µm/px of the patches.
    seed : int
        Of the draw.
    glass_rgb : (int, int, int), optional
        Glass of the training data; None = the colors stay.

    Returns
    -------
    PatchDataset
        Labels 0; a "patient" is a slide, by its path below the folder without suffix.

    Raises
    ------
    DatasetError
        Where the folder holds no slide with tissue.
    SlideError
        Where one cannot be read or states no µm/px.
    """
    paths = negative_slides(folder)
    names, parts = list[str](), list[RgbArray]()
    for number, path in enumerate(paths):
        patches = _patches(
            path, patch_px, spacing_um_px, glass_rgb, np.random.default_rng([seed, number])
        )
        logger.info("%s: %d patches of other tissue", path.name, len(patches))
        parts.append(patches)
        names += [path.relative_to(folder).with_suffix("").as_posix()] * len(patches)
    if not names:
        raise DatasetError(
            f"{folder} holds no slide with tissue", "Give a folder of slides without IDC"
        )
    return PatchDataset(
        np.concatenate(parts),
        np.zeros(len(names), np.int8),
        np.array(names),
        tuple(f"{name}/{i}" for i, name in enumerate(names)),
        np.full((len(names), 2), -1, np.int32),
    )


def _patches(
    path: Path,
    patch_px: int,
    spacing_um_px: float,
    glass_rgb: tuple[int, int, int] | None,
    rng: np.random.Generator,
) -> RgbArray:
    """Return patches of one slide, uint8 (n, side, side, 3)."""
    scale = ModelCard(
        path.parent,
        "",
        patch_px,
        spacing_um_px,
        ("IDC",),
        (0.0, 255.0),
        sha256="",
        threshold=0.5,
        glass_rgb=glass_rgb,
    )
    stride = patch_px // 2 if patch_px % 2 == 0 else patch_px
    config = load_config(
        None, {"tiling": {"stride_px": stride}, "tissue": {"min_tissue_share": MIN_TISSUE}}
    )
    plan = plan_slide(SlideSource(path), config, scale)
    rows, cols = np.nonzero(plan.keep)
    drawn = rng.permutation(len(rows))[:PER_SLIDE]
    reader = plan.source.open_shared()
    patches = [
        plan.white_balance.apply(
            read_canvas(
                reader,
                plan.read_plan,
                Box(int(cols[i]) * stride, int(rows[i]) * stride, patch_px, patch_px),
            )
        )
        for i in np.sort(drawn)
    ]
    return np.stack(patches) if patches else np.empty((0, patch_px, patch_px, 3), np.uint8)
