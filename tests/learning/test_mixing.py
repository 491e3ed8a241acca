import numpy as np
import pytest

from wsi_pipeline.learning.training.mixing import Batch, cut_mix, mix_up, mixed

SIDE = 20


@pytest.fixture
def batch() -> Batch:
    """Black patches of label 0 and white ones of label 1, white ones of weight 3."""
    targets = (np.arange(64) % 2).astype(np.float32)[:, None]
    images = np.broadcast_to(255 * targets[:, :, None, None], (64, SIDE, SIDE, 3))
    return Batch(images.astype(np.float32), targets, 1 + 2 * targets)


def test_mixup_blends_targets_and_weights_as_it_blends_pixels(batch: Batch) -> None:
    after = mix_up(batch, 0.4, np.random.default_rng(0))
    assert after.images.dtype == after.targets.dtype == after.weights.dtype == np.float32
    np.testing.assert_allclose(after.images[:, 3, 7, :1] / 255, after.targets, atol=1e-5)
    np.testing.assert_allclose(after.weights, 1 + 2 * after.targets, atol=1e-5)
    assert ((after.targets > 0.02) & (after.targets < 0.98)).any()


def test_cutmix_pastes_one_rectangle_and_counts_its_area(batch: Batch) -> None:
    after = cut_mix(batch, 1.0, np.random.default_rng(0))
    white = after.images[..., 0] / 255
    assert set(np.unique(white)) == {0.0, 1.0}
    np.testing.assert_allclose(white.mean((1, 2)), after.targets[:, 0], atol=1e-5)
    pasted = white != batch.targets[:, :, None]
    for patch in pasted[pasted.any((1, 2))]:
        rows, cols = np.flatnonzero(patch.any(1)), np.flatnonzero(patch.any(0))
        assert patch[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()
    assert pasted.any()


def test_without_mixing_the_batch_is_the_same(batch: Batch) -> None:
    assert mixed(batch, 0.0, 0.0, np.random.default_rng(0)) is batch


def test_both_ways_of_mixing_take_turns(batch: Batch) -> None:
    blended = [
        bool(((after.images > 1) & (after.images < 254)).any())
        for seed in range(12)
        for after in [mixed(batch, 0.4, 1.0, np.random.default_rng(seed))]
    ]
    assert set(blended) == {True, False}
