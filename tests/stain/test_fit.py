from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from tests.stain.mixtures import H_AND_E, PixelMaker, unit
from wsi_pipeline.config import STAIN_METHODS
from wsi_pipeline.errors import ConfigError, StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain import (
    METHODS,
    StainReference,
    fit_normalizer,
    fit_with_fallback,
)
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import StainedPixels, rgb_from_od, select_stained
from wsi_pipeline.stain.vahadane import fit_vahadane
from wsi_pipeline.stain.vectors import StainVectors, sparse_amounts

REAL_METHODS = [method for method in METHODS if method != "none"]
EACH_METHOD = pytest.mark.parametrize("method", REAL_METHODS)
OTHER_LAB = ((0.60, 0.70, 0.39), (0.18, 0.82, 0.54))
GLASS = (240, 238, 236)


def difference(first: RgbArray, second: RgbArray) -> np.ndarray:
    return np.abs(first.astype(int) - second.astype(int))


@EACH_METHOD
def test_pixels_normalized_to_themselves_stay(make_pixels: PixelMaker, method: str) -> None:
    pixels = make_pixels(OTHER_LAB)
    normalizer = fit_normalizer(pixels, method, StainReference.fit(pixels))
    assert difference(normalizer.transform(pixels), pixels).max() <= 2


@EACH_METHOD
def test_a_fit_depends_neither_on_order_nor_on_blank_area(
    make_pixels: PixelMaker, reference: StainReference, method: str
) -> None:
    pixels = make_pixels(OTHER_LAB)
    expected = fit_normalizer(pixels, method, reference, glass_rgb=GLASS)
    shuffled = np.random.default_rng(0).permutation(pixels)
    framed = np.concatenate([np.full((50_000, 3), GLASS, dtype=np.uint8), shuffled])
    assert fit_normalizer(shuffled, method, reference, glass_rgb=GLASS) == expected
    assert fit_normalizer(framed, method, reference, glass_rgb=GLASS) == expected
    own, around = (StainReference.fit(some, glass_rgb=GLASS) for some in (pixels, framed))
    assert own == around


@pytest.mark.slide_data
@pytest.mark.parametrize(
    ("fit", "limit_deg"), [(fit_macenko, 2), (fit_vahadane, 4)], ids=["macenko", "vahadane"]
)
def test_the_stains_of_real_tissue_stained_anew_are_recovered(
    real_tissue: RgbArray, fit: Callable[[StainedPixels], StainVectors], limit_deg: float
) -> None:
    """The amounts of a real slide, its nuclei and fibers, mixed from another lab's two stains.

    Vahadane's price of stain draws the vectors together where few pixels hold one stain alone.
    """
    tissue = select_stained(real_tissue)
    amounts = sparse_amounts(tissue.od, fit(tissue).matrix, 0.0)
    anew = np.clip(np.rint(rgb_from_od(amounts @ unit(OTHER_LAB))), 0, 255).astype(np.uint8)
    found = fit(select_stained(anew)).matrix
    cosine = (found * unit(OTHER_LAB)).sum(axis=1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < limit_deg


@pytest.mark.slide_data
@EACH_METHOD
def test_real_tissue_normalized_to_itself_stays(real_tissue: RgbArray, method: str) -> None:
    own = StainReference.fit(real_tissue)
    normalizer = fit_normalizer(real_tissue, method, own)
    assert difference(normalizer.transform(real_tissue), real_tissue).max() <= 2


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_another_laboratory_s_stain_becomes_the_reference_s(
    make_pixels: PixelMaker, reference: StainReference, method: str
) -> None:
    """The same amounts of other stains, twice as strong, come back as the reference's pixels."""
    wanted = make_pixels(H_AND_E)
    given = make_pixels(OTHER_LAB, strength=(2.4, 1.8))
    found = fit_normalizer(given, method, reference).transform(given)
    dark_enough = (wanted.mean(axis=1) < 210) & (given.min(axis=1) > 15)
    assert difference(found, wanted)[dark_enough].mean() < 3
    assert difference(given, wanted)[dark_enough].mean() > 15


@EACH_METHOD
def test_statistics_move_to_those_of_the_reference(
    make_pixels: PixelMaker, reference: StainReference, method: str
) -> None:
    given = make_pixels(OTHER_LAB, strength=(2.4, 1.8))
    moved = StainReference.fit(fit_normalizer(given, method, reference).transform(given)).lab
    before = StainReference.fit(given).lab
    target = np.array(reference.lab.mean)
    assert np.abs(moved.mean - target).max() < 0.35 * np.abs(before.mean - target).max()


@EACH_METHOD
@pytest.mark.parametrize("glass_rgb", [(255, 255, 255), GLASS])
def test_blank_pixels_pass_unchanged(
    make_pixels: PixelMaker,
    reference: StainReference,
    method: str,
    glass_rgb: tuple[int, int, int],
) -> None:
    normalizer = fit_normalizer(make_pixels(OTHER_LAB), method, reference, glass_rgb=glass_rgb)
    blank = np.array([[255, 255, 255], [247, 247, 247], glass_rgb, [243, 244, 245]], np.uint8)
    assert (normalizer.transform(blank)[[0, 1]] == blank[[0, 1]]).all()
    if glass_rgb == GLASS:
        assert (normalizer.transform(blank) == blank).all()


@EACH_METHOD
def test_the_table_gives_what_the_formula_gives(
    make_pixels: PixelMaker, reference: StainReference, method: str
) -> None:
    given = make_pixels(OTHER_LAB)
    normalizer = fit_normalizer(given, method, reference)
    exact = np.clip(np.rint(normalizer.evaluate(given)), 0, 255).astype(np.uint8)
    assert difference(normalizer.transform(given), exact).mean() < 0.3


@pytest.mark.parametrize("shape", [(20_000, 3), (8, 50, 50, 3), (100, 200, 3), (0, 50, 50, 3)])
def test_any_shape_goes_through(
    make_pixels: PixelMaker, reference: StainReference, shape: tuple[int, ...]
) -> None:
    given = make_pixels(OTHER_LAB)
    normalizer = fit_normalizer(given, "macenko", reference)
    n = int(np.prod(shape[:-1]))
    found = normalizer.transform(given[:n].reshape(shape))
    assert found.dtype == np.uint8
    assert (found.reshape(-1, 3) == normalizer.transform(given)[:n]).all()


def test_pixels_that_are_not_contiguous_go_through(
    make_pixels: PixelMaker, reference: StainReference
) -> None:
    picture = make_pixels(OTHER_LAB).reshape(100, 200, 3)
    normalizer = fit_normalizer(picture, "macenko", reference)
    view = picture[::2, ::-3]
    assert (normalizer.transform(view) == normalizer.transform(view.copy())).all()


@EACH_METHOD
def test_a_normalizer_travels_as_a_few_kilobytes(
    make_pixels: PixelMaker, reference: StainReference, method: str
) -> None:
    normalizer = fit_normalizer(make_pixels(OTHER_LAB), method, reference)
    normalizer.transform(make_pixels())
    packed = pickle.dumps(normalizer)
    assert len(packed) < 8_000
    assert pickle.loads(packed) == normalizer
    assert normalizer.method == method


def test_ink_stays_ink(make_pixels: PixelMaker, reference: StainReference) -> None:
    """What two stains cannot explain must not come out purple."""
    normalizer = fit_normalizer(make_pixels(OTHER_LAB), "macenko", reference)
    green, blue = normalizer.transform(np.array([[40, 140, 90], [30, 60, 180]], np.uint8)).tolist()
    assert green[1] == max(green)
    assert blue[2] == max(blue)
    assert blue[0] < blue[1]


def test_a_reference_survives_json(reference: StainReference) -> None:
    text = json.dumps(reference.to_dict())
    assert StainReference.from_dict(json.loads(text)) == reference
    assert len(text) < 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2"),
        ({"macenko": {}}, "incomplete or damaged"),
        ({"lab_mean": [1.0, 2.0]}, "incomplete or damaged"),
        ({"lab_std": [0.0, 0.0, 0.0]}, "nearly one color"),
        ({"glass_rgb": None}, "incomplete or damaged"),
    ],
)
def test_a_damaged_reference_is_refused(
    reference: StainReference, change: dict[str, object], message: str
) -> None:
    with pytest.raises(StainError, match=message):
        StainReference.from_dict(reference.to_dict() | change)


def test_an_unknown_method_names_the_known_ones(reference: StainReference) -> None:
    with pytest.raises(ConfigError, match=r"'makenko'.*none, reinhard, macenko, vahadane"):
        fit_with_fallback(np.zeros((1, 3), np.uint8), "makenko", reference)


def test_the_configuration_knows_every_method() -> None:
    assert tuple(METHODS) == STAIN_METHODS
