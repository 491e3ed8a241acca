from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def augmentation() -> Any:
    """The module, imported once keras is wanted."""
    from wsi_pipeline.learning.training import augmentation

    return augmentation


@pytest.fixture(scope="module")
def chain() -> Callable[..., Any]:
    """The whole chain, by options."""
    from wsi_pipeline.learning.training.augmentation_chain import histology_augmentation
    from wsi_pipeline.learning.training.options import TrainingOptions

    return lambda **options: histology_augmentation(TrainingOptions(**options))


@pytest.fixture(scope="module")
def tissue() -> NDArray[np.float32]:
    """Patches with nuclei-sized detail in the colors of H&E, float32 (48, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    # Nuclei (hematoxylin) are a few pixels wide, the stroma (eosin) is smoother.
    noise = rng.normal(size=(2, 48, 64, 64))
    fields = [
        sum(gaussian_filter(plane, (0, sigma, sigma)) * sigma for sigma in sigmas)
        for plane, sigmas in zip(noise, ((1.2, 2.0, 5.0), (3.0, 5.0)), strict=True)
    ]
    density = np.clip(0.35 + 0.45 * np.stack(fields, -1), 0, 2)
    vectors = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
    return np.round(255 * np.exp(-density @ vectors)).astype(np.float32)


LAYERS = ("RandomDihedral", "RandomScale", "RandomStain", "RandomFocus", "RandomJpeg")
"""`test_lines.py` has the others."""


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_changes_outside_training(
    name: str, augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    layer = getattr(augmentation, name)(seed=0)
    np.testing.assert_array_equal(np.asarray(layer(tissue, training=False)), tissue)


@pytest.mark.parametrize("name", LAYERS)
def test_training_changes_images_and_keeps_shape_range_and_type(
    name: str, augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    changed = np.asarray(getattr(augmentation, name)(seed=0)(tissue, training=True))
    assert changed.shape == tissue.shape
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert not np.array_equal(changed, tissue)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_rebuilt_from_its_config_is_the_same(name: str, augmentation: Any) -> None:
    import keras

    layer = getattr(augmentation, name)(name="layer")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(twin) is type(layer)
    assert twin.get_config() == layer.get_config()


EVERYTHING = {
    "scale": 0.1, "stain_turn": 0.06, "light": 0.25, "ink": 0.5, "glass": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_odd_sides_pass_through_the_whole_chain(
    options: dict[str, float], chain: Callable[..., Any]
) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (4, 50, 50, 3)).astype(np.float32)
    changed = np.asarray(chain(seed=1, **options)(images, training=True))
    assert changed.shape == images.shape
    assert np.isfinite(changed).all()


def test_a_dihedral_view_is_one_of_the_eight(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    from wsi_pipeline.classifier.classifier import dihedral_views

    views = np.asarray(augmentation.RandomDihedral(seed=3)(tissue, training=True))
    eight = np.stack(dihedral_views(tissue))  # type: ignore[arg-type]
    which = [
        [k for k in range(8) if np.array_equal(eight[k, i], views[i])] for i in range(len(views))
    ]
    assert all(len(matches) == 1 for matches in which)
    assert {matches[0] for matches in which} == set(range(8))


def test_stain_of_no_strength_is_identity_within_rounding(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    layer = augmentation.RandomStain(strength=0.0, offset=0.0, seed=0)
    np.testing.assert_allclose(np.asarray(layer(tissue, training=True)), tissue, atol=0.05)


def test_stain_changes_one_color_of_the_image_and_not_its_structure(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    changed = np.asarray(augmentation.RandomStain(seed=0)(tissue, training=True))
    before, after = tissue.mean(-1).reshape(len(tissue), -1), changed.mean(-1).reshape(48, -1)
    similar = [np.corrcoef(a, b)[0, 1] for a, b in zip(before, after, strict=True)]
    assert min(similar) > 0.85
    assert np.abs(changed.mean((1, 2)) - tissue.mean((1, 2))).max() > 5


def test_light_darkens_all_channels_alike_and_half_of_the_images(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    layer = augmentation.RandomStain(strength=0.0, offset=0.0, light=0.25, seed=0)
    changed = np.asarray(layer(tissue, training=True))
    added = np.log((tissue + 1) / (changed + 1)).reshape(len(tissue), -1)
    darker = added.mean(1) > 1e-3
    assert 0.3 < darker.mean() < 0.7
    assert added.max() < 0.26
    assert np.ptp(added[darker], axis=1).max() < 0.02


def test_turned_vectors_change_the_hue_and_leave_glass_as_it_is(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    layer = augmentation.RandomStain(strength=0.0, offset=0.0, turn=0.06, seed=0)
    images = np.concatenate([tissue, np.full_like(tissue[:8], 255.0)])
    changed = np.asarray(layer(images, training=True))
    np.testing.assert_allclose(changed[len(tissue) :], 255.0, atol=0.05)
    before, after = (a[: len(tissue)].mean((1, 2)) for a in (images, changed))
    hue = (after - before) - (after - before).mean(1, keepdims=True)
    assert np.abs(hue).max() > 3


def test_focus_scales_fine_detail_and_leaves_the_mean(
    augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    blurred = np.asarray(
        augmentation.RandomFocus(share=1.0, blur=1.0, sharpen=-1.0, seed=0)(tissue, training=True)
    )
    inner = np.s_[:, 2:-2, 2:-2]
    assert np.diff(blurred, axis=1).std() < 0.9 * np.diff(tissue, axis=1).std()
    assert blurred[inner].mean() == pytest.approx(tissue[inner].mean(), abs=1.0)


@pytest.mark.parametrize("passes", [1, 2])
def test_blur_is_the_binomial_mean_once_or_twice(
    passes: int, augmentation: Any, tissue: NDArray[np.float32]
) -> None:
    layer = augmentation.RandomFocus(share=1.0, blur=passes, sharpen=-passes, seed=0)
    expected = tissue
    for axis in (1, 2) * passes:
        expected = convolve1d(expected, [0.25, 0.5, 0.25], axis, mode="mirror")
    np.testing.assert_allclose(np.asarray(layer(tissue, training=True)), expected, atol=1e-3)


def test_scaling_is_alike_along_both_axes_and_different_for_each_image(augmentation: Any) -> None:
    rows, cols = np.mgrid[:40, :40].astype(np.float32)
    ramp = np.stack([5 * rows, 5 * cols, 5 * cols], -1)[None].repeat(16, 0)
    scaled = np.asarray(augmentation.RandomScale(0.1, share=1.0, seed=0)(ramp, training=True))
    inner = scaled[:, 8:-8, 8:-8]
    down = np.diff(inner[..., 0], axis=1).mean((1, 2)) / 5
    right = np.diff(inner[..., 1], axis=2).mean((1, 2)) / 5
    np.testing.assert_allclose(down, right, atol=1e-3)
    assert ((down > 0.9) & (down < 1.1)).all()
    assert np.ptp(down) > 0.1


def test_a_training_without_any_augmentation_can_be_had(
    chain: Callable[..., Any], tissue: NDArray[np.float32]
) -> None:
    nothing = chain(dihedral=False, stain=False, focus=False, jpeg=False)
    np.testing.assert_array_equal(np.asarray(nothing(tissue, training=True)), tissue)


@pytest.mark.parametrize(
    ("sampling", "share_subsampled"), [("444", 0.0), ("420", 1.25)], ids=["4:4:4", "4:2:0"]
)
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_jpeg_changes_pixels_as_much_as_a_codec(
    quality: int,
    sampling: str,
    share_subsampled: float,
    augmentation: Any,
    tissue: NDArray[np.float32],
) -> None:
    layer = augmentation.RandomJpeg(
        share=1.0, quality=(quality, quality), subsampled=share_subsampled, seed=0
    )
    ours = np.asarray(layer(tissue, training=True))
    codec = _through_codec(tissue, quality, sampling)
    assert np.abs(ours - tissue).mean() == pytest.approx(np.abs(codec - tissue).mean(), rel=0.05)


def _through_codec(images: NDArray[np.float32], quality: int, sampling: str) -> NDArray[Any]:
    import imagecodecs

    files = [
        imagecodecs.jpeg8_encode(image, level=quality, subsampling=sampling)
        for image in images.astype(np.uint8)
    ]
    return np.stack([imagecodecs.jpeg8_decode(file) for file in files]).astype(np.float32)


def test_the_seed_decides_what_is_drawn(
    chain: Callable[..., Any], tissue: NDArray[np.float32]
) -> None:
    first, again, other = (np.asarray(chain(seed=s)(tissue, training=True)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
