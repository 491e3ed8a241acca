"""What slides suffer, as the scripts that measure robustness imitate it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conditions import CONDITIONS, stains_scaled

from wsi_pipeline.learning.training.changed_copies import jpeg


@pytest.fixture
def patches(paint_patch: Callable[..., Any]) -> Any:
    return np.stack([paint_patch(1, seed=i, side=50) for i in range(6)])


def test_jpeg_takes_color_detail_and_little_light(patches: Any) -> None:
    after = jpeg(80, "4:2:0", patches)
    assert 1 < np.abs(after.astype(float) - patches).mean() < 25
    chroma = [a.astype(float)[..., 0] - a.astype(float)[..., 2] for a in (patches, after)]
    assert chroma[1].std() < 0.7 * chroma[0].std()


def test_more_stain_is_darker_and_less_is_lighter(patches: Any) -> None:
    means = [stains_scaled(x, x, patches).mean() for x in (0.7, 1.0, 1.4)]
    assert means[0] > means[1] + 2 > means[2] + 4
    np.testing.assert_allclose(means[1], patches.mean(), atol=0.6)


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_keeps_shape_and_kind(name: str, patches: Any) -> None:
    after = CONDITIONS[name](patches)
    assert after.shape == patches.shape
    assert after.dtype == np.uint8
    assert np.array_equal(after, patches) == (name == "as stored")
