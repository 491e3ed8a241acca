from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap

MakeMap = Callable[..., ProbabilityMap]


@pytest.fixture
def make_map() -> MakeMap:
    """Return a factory of maps with 100-px cells of 0.4 x 0.8 mm, scanned from (1000, 500) on."""

    def make(values: Any, **attributes: Any) -> ProbabilityMap:
        array = np.asarray(values, np.float32)
        rows, cols = array.shape
        known = {"bounds_l0": [1000, 500, cols * 100, rows * 100], "threshold": 0.5, **attributes}
        tissue = np.ones_like(array)
        return ProbabilityMap(array, tissue, (1000, 500), (100.0, 100.0), Mpp(4, 8), known)

    return make
