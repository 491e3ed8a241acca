"""What a slide's own features say of it, and of how far its probabilities can be believed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard, logit, sigmoid
from wsi_pipeline.classifier.familiarity import MIN_PATCHES, SlideFamiliarity
from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.cells import cells_from_patches
from wsi_pipeline.maps.grid import TileGrid
from wsi_pipeline.pipeline.blocks import feature_layers
from wsi_pipeline.pipeline.plan import SlidePlan

MIN_TISSUE: Final = 0.9
"""Share of a patch on tissue from which it says how familiar the slide is."""

Layers = dict[str, NDArray[Any]]
"""By name, each of the shape of the patch positions, see `BlockStore.read_all`."""


def features_of(card: ModelCard, layers: Layers) -> FloatArray | None:
    """Return the network's features at the patch positions, (rows, cols, n); None without any."""
    if card.familiarity is None:
        return None
    names = feature_layers(card.familiarity.n_features)
    features = np.stack([layers[name] for name in names], axis=-1)
    return None if np.isnan(features).all() else features


def cell_familiarity(card: ModelCard, layers: Layers, grid: TileGrid) -> FloatArray | None:
    """Return for each cell the share of the archive's patches that look as strange or stranger."""
    features = features_of(card, layers)
    if features is None or card.familiarity is None:
        return None
    return cells_from_patches(card.familiarity.cells(features), grid)


def slide_familiarity(card: ModelCard, plan: SlidePlan, layers: Layers) -> SlideFamiliarity | None:
    """Return whether the slide looks like the training data; None where it cannot be known.

    Patches mostly on tissue say so: glass beside it would make every core of a tissue microarray
    look strange.
    """
    features = features_of(card, layers)
    if features is None or card.familiarity is None:
        return None
    return card.familiarity.judge(features[_tells(features, plan)])


def why_unknown(card: ModelCard, plan: SlidePlan, layers: Layers) -> str:
    """Return why `slide_familiarity` cannot say anything of a slide that was classified."""
    if card.familiarity is None:
        return "the model's card does not say what is familiar"
    features = features_of(card, layers)
    if features is None:
        return "the network gave no features"
    n_told = int(_tells(features, plan).sum())
    return f"too few patches on tissue ({n_told} of the {MIN_PATCHES} needed)"


def _tells(features: FloatArray, plan: SlidePlan) -> BoolMask:
    """Return which patches say how familiar the slide is."""
    told: BoolMask = ~np.isnan(features).any(-1) & (plan.patch_tissue >= MIN_TISSUE)
    return told


def recalibrated(probability: FloatArray, known: SlideFamiliarity | None) -> FloatArray:
    """Return the probabilities with what another stain, light or focus took off their logits.

    Parameters
    ----------
    probability : ndarray of float32
        NaN = not classified, and stays.
    known : SlideFamiliarity or None
        None, or a familiar slide: the probabilities as they are.
    """
    if known is None or not known.logit_shift:
        return probability
    raised = sigmoid(logit(probability) + np.float32(known.logit_shift))
    return np.where(np.isnan(probability), np.float32(np.nan), raised)
