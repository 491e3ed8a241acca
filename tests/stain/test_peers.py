"""Against independent implementations: torchstain and tiatoolbox, where they are installed.

They are no dependency. An environment that has them: ``pip install torchstain tiatoolbox`` beside
this package's own needs. Both sides are given the same pixels, those that carry stain, since the
peers differ in that choice by more than in all else (torchstain: every channel denser than 0.15
below a white of 240; tiatoolbox: lightness after a contrast stretch; blank pixels then count into
the strengths of both). They also drop what two stains do not explain, so that a slide normalized to
itself changes; here it is kept, and left out for this comparison alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain import StainNormalizer, StainReference, fit_normalizer
from wsi_pipeline.stain.optical_density import optical_density, rgb_from_od, select_stained
from wsi_pipeline.stain.separation import SeparationNormalizer

pytestmark = [
    pytest.mark.slide_data,
    # the peers' own: torch and numba announce what they will change
    pytest.mark.filterwarnings("ignore"),
]
Peer = Callable[[RgbArray, RgbArray], NDArray[Any]]


def torchstain_macenko(target: RgbArray, source: RgbArray) -> NDArray[Any]:
    module = pytest.importorskip("torchstain.numpy.normalizers.macenko", exc_type=ImportError)
    normalizer = module.NumpyMacenkoNormalizer()
    every_pixel = {"Io": 255, "beta": -np.inf}
    normalizer.fit(target, **every_pixel)
    return np.asarray(normalizer.normalize(source, **every_pixel)[0])


def torchstain_reinhard(target: RgbArray, source: RgbArray) -> NDArray[Any]:
    module = pytest.importorskip("torchstain.numpy.normalizers.reinhard", exc_type=ImportError)
    normalizer = module.NumpyReinhardNormalizer()
    normalizer.fit(target)
    return np.asarray(normalizer.normalize(source))


def tiatoolbox(name: str) -> Peer:
    def run(target: RgbArray, source: RgbArray) -> NDArray[Any]:
        module = pytest.importorskip("tiatoolbox.tools.stainnorm", exc_type=ImportError)
        normalizer = module.get_normalizer(name)
        normalizer.fit(target)
        return np.asarray(normalizer.transform(source))

    return run


@pytest.mark.parametrize(
    ("method", "peer", "limit"),
    [
        ("macenko", torchstain_macenko, 0.01),
        ("macenko", tiatoolbox("macenko"), 0.01),
        ("reinhard", torchstain_reinhard, 0.01),
        ("reinhard", tiatoolbox("reinhard"), 0.01),
        ("vahadane", tiatoolbox("vahadane"), 0.1),
    ],
    ids=[
        "Macenko, torchstain",
        "Macenko, tiatoolbox",
        "Reinhard, torchstain",
        "Reinhard, tiatoolbox",
        "Vahadane, tiatoolbox",
    ],
)
def test_the_same_pixels_come_out_as_a_peer_s(
    real_tissue: RgbArray, other_tissue: RgbArray, method: str, peer: Peer, limit: float
) -> None:
    source, target = (
        select_stained(tissue).rgb[None, ::7] for tissue in (real_tissue, other_tissue)
    )
    expected = peer(target.copy(), source.copy())
    found = explained(fit_normalizer(source, method, StainReference.fit(target)), source)
    difference = float(np.abs(found - expected).mean() / 255)
    assert difference < limit


def explained(normalizer: StainNormalizer, rgb: RgbArray) -> NDArray[np.float64]:
    """Return the normalized pixels without what the two stains do not explain."""
    if not isinstance(normalizer, SeparationNormalizer):
        return normalizer.transform(rgb).astype(np.float64)
    amounts = normalizer.amounts(optical_density(rgb)) * normalizer.strength
    return np.clip(rgb_from_od(amounts @ normalizer.target.matrix), 0, 255)
