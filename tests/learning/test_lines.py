"""Pen lines and the edge of tissue, drawn over patches."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.tensorflow

PINK = np.array([200.0, 140.0, 180.0], np.float32)
LAYERS = ("RandomInk", "RandomGlass")


@pytest.fixture(scope="module")
def lines() -> Any:
    """The module, imported once keras is wanted."""
    from wsi_pipeline.learning.training import lines

    return lines


@pytest.fixture(scope="module")
def patches() -> NDArray[np.float32]:
    """Plain pink patches, float32 (64, 50, 50, 3)."""
    return np.broadcast_to(PINK, (64, 50, 50, 3)).copy()


def _changed(after: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(after - before).max(-1) > 0.5)


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_is_drawn_outside_training(
    name: str, lines: Any, patches: NDArray[np.float32]
) -> None:
    layer = getattr(lines, name)(1.0, seed=0)
    np.testing.assert_array_equal(np.asarray(layer(patches, training=False)), patches)


@pytest.mark.parametrize("name", LAYERS)
def test_a_share_of_the_patches_is_drawn_on(
    name: str, lines: Any, patches: NDArray[np.float32]
) -> None:
    after = np.asarray(getattr(lines, name)(0.25, seed=0)(patches, training=True))
    assert after.shape == patches.shape
    assert after.dtype == np.float32
    assert after.min() >= 0
    assert after.max() <= 255
    touched = _changed(after, patches).any((1, 2))
    assert 0.1 < touched.mean() < 0.4


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_rebuilt_from_its_config_is_the_same(name: str, lines: Any) -> None:
    import keras

    layer = getattr(lines, name)(0.3, name="layer", seed=4)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()


def test_a_line_is_as_wide_as_asked_for_and_crosses_the_patch(
    lines: Any, patches: NDArray[np.float32]
) -> None:
    after = np.asarray(lines.RandomInk(1.0, width=(4.0, 4.0), seed=0)(patches, training=True))
    touched = _changed(after, patches)
    assert 30 < np.median(touched.sum((1, 2)) / 4) < 75  # px along the line
    assert (after[touched].mean(-1) < PINK.mean()).mean() > 0.9  # pale ink can be opaque


def test_inks_differ_in_color(lines: Any, patches: NDArray[np.float32]) -> None:
    after = np.asarray(lines.RandomInk(1.0, width=(6.0, 6.0), seed=1)(patches, training=True))
    darkest = after.reshape(len(after), -1, 3).min(1)
    assert (np.ptp(darkest, axis=0) > 60).all()


def test_glass_takes_the_smaller_side_and_the_middle_keeps_its_tissue(
    lines: Any, patches: NDArray[np.float32]
) -> None:
    after = np.asarray(lines.RandomGlass(1.0, seed=0)(patches, training=True))
    glass = after.min(-1) > 225
    assert not glass[:, 25, 25].any()
    assert glass.mean((1, 2)).max() < 0.65
    assert 0.1 < glass.mean() < 0.45
