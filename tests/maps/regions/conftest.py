from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap

MapOf = Callable[..., ProbabilityMap]


@pytest.fixture
def map_of() -> MapOf:
    """Return a factory of maps from values, with cells of 400 µm and an anisotropic level 0."""

    def make(values: Any, mpp: Mpp | None = None) -> ProbabilityMap:
        mpp = mpp or Mpp(0.5, 0.25)
        array = np.asarray(values, np.float32)
        step_l0 = (400 / mpp.x, 400 / mpp.y)
        attributes = {"bounds_l0": [100, 200, 8000, 8000]}
        tissue = np.ones_like(array)
        return ProbabilityMap(array, tissue, (100, 200), step_l0, mpp, attributes)

    return make
