from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap

MakeMap = Callable[..., ProbabilityMap]


@pytest.fixture
def make_map() -> MakeMap:
    """Return a factory of a small map: one hot cell at (2, 3), the first row unclassified."""

    def make(**changes: Any) -> ProbabilityMap:
        values = np.full((5, 7), 0.125, np.float32)
        values[0] = np.nan
        values[2, 3] = 0.875
        tissue = np.ones_like(values)
        attributes = {"bounds_l0": [0, 0, 1400, 1000], "threshold": 0.5, "slide": {"name": "a.svs"}}
        map_ = ProbabilityMap(
            values, tissue, (300, 100), (200.0, 200.5), Mpp(0.25, 0.5), attributes
        )
        return replace(map_, **changes)

    return make
