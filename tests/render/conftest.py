from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap

MakeMap = Callable[..., ProbabilityMap]


@pytest.fixture
def make_map() -> MakeMap:
    """Return a factory of an 8 x 10 map of 50-px cells; the last row and column overhang."""

    def make(offset_l0: tuple[int, int] = (0, 0), **attributes: Any) -> ProbabilityMap:
        values = np.full((8, 10), 0.0, np.float32)
        values[:, 9] = np.nan
        values[2:4, 5:8] = 1.0
        tissue = np.where(np.isnan(values), 0.0, 1.0).astype(np.float32)
        known = {
            "bounds_l0": [*offset_l0, 480, 390],
            "slide": {"name": "phantom.svs"},
            "mpp_source": "aperio.MPP",
            "model": {"name": "rule", "sha256": "0123456789"},
            **attributes,
        }
        return ProbabilityMap(values, tissue, offset_l0, (50.0, 50.0), Mpp(8, 8), known)

    return make
