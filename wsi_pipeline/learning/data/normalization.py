"""Stain normalization of labelled patches: fitted once a patient, as `run` fits it once a slide."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Final

import numpy as np

from wsi_pipeline.errors import StainError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.stain import StainReference, fit_with_fallback
from wsi_pipeline.tissue import estimate_glass

logger = logging.getLogger(__name__)

REFERENCE_PATCHES: Final = 400
"""Training patches whose pixels make the stain reference."""
PATIENT_PATCHES: Final = 80
"""Patches of a patient that the stain is fitted on: 200,000 pixels of 50 px patches, as `run`."""
TISSUE_LEVEL: Final = 220
"""Pixels of the reference are darker than this in their darkest channel."""


def stain_reference_of(training: PatchDataset) -> StainReference | None:
    """Return the stains of the training set, None where it does not show two."""
    rng = np.random.default_rng(0)
    n = min(REFERENCE_PATCHES, len(training))
    pixels = training.images[np.sort(rng.choice(len(training), n, replace=False))].reshape(-1, 3)
    try:
        return StainReference.fit(
            pixels[pixels.min(1) < TISSUE_LEVEL],
            glass_rgb=estimate_glass(pixels[None]),
            source="training patches of the model",
        )
    except StainError as error:
        logger.warning("no stain reference: %s", error)
        return None


def normalize_patches(
    data: PatchDataset, method: str, reference: StainReference | None
) -> PatchDataset:
    """Return the patches with each patient's stains brought to those of the reference.

    Parameters
    ----------
    data : PatchDataset
        The pixels of each patient are pooled, however many patches there are.
    method : str
        A key of `wsi_pipeline.stain.METHODS`. A patient whose pixels cannot carry it falls back as
        a slide does; that is counted in the log.
    reference : StainReference, optional
        What to normalize to; needed for any method but "none".

    Raises
    ------
    StainError
        Where there is no reference.
    """
    if method == "none":
        return data
    if reference is None:
        raise StainError(
            f"the training patches show no two stains to normalize to by {method}",
            "Train with --stain-normalization none",
        )
    images, used = np.empty_like(data.images), Counter[str]()
    for patient in np.unique(data.patients):
        members = np.flatnonzero(data.patients == patient)
        shown = members[np.linspace(0, len(members) - 1, PATIENT_PATCHES).astype(int)]
        pixels = data.images[np.unique(shown)].reshape(-1, 3)
        glass = estimate_glass(pixels[None])
        normalizer, _ = fit_with_fallback(pixels, method, reference, glass_rgb=glass)
        images[members] = normalizer.transform(data.images[members])
        used[normalizer.method] += 1
    logger.info("stains normalized by patient: %s", dict(used))
    return replace(data, images=images)
