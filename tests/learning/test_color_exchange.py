"""Patches in the colors of other slides."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsi_pipeline.errors import StainError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.training.color_exchange import ColorExchange, Look

HE = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
HE_PURPLE = np.array([[0.55, 0.75, 0.37], [0.20, 0.93, 0.31]])


def _slide(name: str, vectors: NDArray[np.float64], glass: float, seed: int) -> PatchDataset:
    """Return patches of nuclei and stroma in these stains on this glass."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, 12, 48, 48))
    h = np.clip(4 * gaussian_filter(noise[0], (0, 2, 2)), 0, 1.5)
    e = np.clip(0.3 + 3 * gaussian_filter(noise[1], (0, 4, 4)), 0, 0.9)
    density = np.stack([h, e], -1) @ vectors
    density[:, :12, :12] = 0  # a corner of glass
    images = np.clip(glass * np.exp(-density), 0, 255).astype(np.uint8)
    n = len(images)
    return PatchDataset(
        images,
        np.zeros(n, np.int8),
        np.array([name] * n),
        tuple(f"{name}/{i}" for i in range(n)),
        np.full((n, 2), -1, np.int32),
    )


@pytest.fixture(scope="module")
def archive() -> PatchDataset:
    return _slide("violet", HE, 241.0, 0)


@pytest.fixture(scope="module")
def elsewhere() -> PatchDataset:
    other = HE + np.array([[-0.12, 0.1, 0.1], [0.05, -0.1, 0.25]])
    return _slide("brownish", other / np.linalg.norm(other, axis=1, keepdims=True), 190.0, 1)


def test_patches_take_on_the_stains_and_the_glass_of_the_other_slide(
    archive: PatchDataset, elsewhere: PatchDataset
) -> None:
    exchange = replace(ColorExchange.fit(archive, elsewhere), chances=np.array([0.0, 1.0]))
    images = archive.images.astype(np.float32)
    changed = exchange.apply(images, np.arange(len(images)), 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(changed[:, 2:10, 2:10].mean((0, 1, 2)), 190, atol=4)
    ours, theirs = (a.astype(float).mean((0, 1, 2)) for a in (changed, elsewhere.images))
    assert np.abs(ours - theirs).max() < 15 < np.abs(images.mean((0, 1, 2)) - theirs).max()


def test_a_patch_in_its_own_colors_stays_as_it_is(
    archive: PatchDataset, elsewhere: PatchDataset
) -> None:
    exchange = replace(ColorExchange.fit(archive, elsewhere), chances=np.array([1.0, 0.0]))
    images = archive.images.astype(np.float32)
    changed = exchange.apply(images, np.arange(len(images)), 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(changed, images, atol=0.05)


def test_a_share_is_changed_and_slides_of_both_sides_are_targets_alike(
    archive: PatchDataset, elsewhere: PatchDataset
) -> None:
    exchange = ColorExchange.fit(archive, elsewhere)
    np.testing.assert_allclose(exchange.chances, 0.5)
    images = np.repeat(archive.images[:1], 400, 0).astype(np.float32)
    changed = exchange.apply(images, np.zeros(400, np.intp), 0.6, np.random.default_rng(0))
    differs = np.abs(changed - images).max((1, 2, 3)) > 1
    assert 0.2 < differs.mean() < 0.4  # 0.6 are chosen, half of them for their own colors


def test_slides_of_one_color_are_left_out_and_refused_where_all_are(
    archive: PatchDataset,
) -> None:
    gray = replace(archive, images=np.full_like(archive.images, 128), patients=archive.patients)
    with pytest.raises(StainError, match="Train without color exchange"):
        ColorExchange.fit(archive, gray)


def test_a_slide_in_anothers_stains_keeps_its_glass_and_its_own_stains_change_nothing() -> None:
    first = _slide("a", HE, 240.0, 1).images
    second = _slide("b", HE_PURPLE, 200.0, 2).images
    own, other = Look.fit(first), Look.fit(second)
    np.testing.assert_allclose(own.recolored(first, own).astype(int), first, atol=1)
    changed = own.recolored(first, other)
    np.testing.assert_allclose(changed[:, :8, :8].mean((0, 1, 2)), 240, atol=4)
    assert np.abs(changed.astype(int) - first)[:, 12:].mean() > 3
