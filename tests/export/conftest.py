"""A map with one hot square at a known place, on slides with and without scanned bounds."""

from dataclasses import dataclass

import numpy as np
import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, find_regions


@dataclass(frozen=True)
class Phantom:
    map_: ProbabilityMap
    regions: Regions
    square_l0: tuple[float, float, float, float]
    """Left, top, right, bottom of the hot square, level-0 px of the whole slide."""

    @property
    def offset_l0(self) -> tuple[int, int]:
        return self.map_.bounds_l0[:2]


@pytest.fixture(
    params=[
        ((0, 0), Mpp(0.25, 0.25)),
        ((30_011, 4_007), Mpp(0.2527, 0.2533)),
        ((0, 0), Mpp(8.0, 8.0)),
    ],
    ids=["no bounds", "bounds, odd µm/px", "8 µm/px"],
)
def phantom(request: pytest.FixtureRequest) -> Phantom:
    """Return a map of 20 x 30 cells of 400 µm; rows 6-8, columns 21-25 are hot."""
    origin_l0, mpp = request.param
    step_l0 = (400 / mpp.x, 400 / mpp.y)
    values = np.full((20, 30), 0.0625, np.float32)
    values[:, 0] = np.nan
    values[6:9, 21:26] = 0.9375
    attributes = {
        "version": "0.1.0",
        "slide": {"name": "phantom.svs", "bytes": 1, "quickhash": "ab"},
        "mpp_source": "test",
        "bounds_l0": [*origin_l0, round(29.5 * step_l0[0]), round(19.5 * step_l0[1])],
        "model": {"name": "rule", "sha256": "0" * 64, "mpp": 8.0},
        "threshold": 0.5,
    }
    tissue = np.full_like(values, 0.75)
    map_ = ProbabilityMap(values, tissue, origin_l0, step_l0, mpp, attributes)
    square_l0 = (
        origin_l0[0] + 21 * step_l0[0],
        origin_l0[1] + 6 * step_l0[1],
        origin_l0[0] + 26 * step_l0[0],
        origin_l0[1] + 9 * step_l0[1],
    )
    return Phantom(map_, find_regions(map_, threshold=0.5, low_threshold=0.4), square_l0)
