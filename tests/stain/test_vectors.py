from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from tests.stain.mixtures import H_AND_E, PixelMaker, unit
from wsi_pipeline.errors import StainError
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import (
    MAX_PIXELS,
    StainedPixels,
    optical_density,
    rgb_from_od,
    select_stained,
)
from wsi_pipeline.stain.vahadane import fit_vahadane
from wsi_pipeline.stain.vectors import StainVectors, order_he, sparse_amounts

LIGHTER = ((0.50, 0.76, 0.42), (0.10, 0.87, 0.48))
BLUER = ((0.65, 0.70, 0.29), (0.18, 0.80, 0.57))
FITS = pytest.mark.parametrize("fit", [fit_macenko, fit_vahadane], ids=["macenko", "vahadane"])
Fit = Callable[[StainedPixels], StainVectors]


def degrees(first: object, second: object) -> float:
    cosine = (unit(first) * unit(second)).sum(axis=1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def test_density_is_zero_for_glass_and_finite_for_black() -> None:
    rgb = np.array([[240, 235, 230], [0, 0, 0]], dtype=np.uint8)
    od = optical_density(rgb, (240, 235, 230))
    assert od[0].tolist() == [0, 0, 0]
    assert np.isfinite(od).all()
    assert od[1, 0] == pytest.approx(np.log(240))


@given(st.integers(1, 255), st.integers(100, 255))
def test_density_and_light_are_inverse(level: int, glass: int) -> None:
    rgb = np.full((1, 3), level, dtype=np.uint8)
    back = rgb_from_od(optical_density(rgb, (glass,) * 3), (glass,) * 3)
    assert back == pytest.approx(rgb, abs=1e-9)


@FITS
@pytest.mark.parametrize("vectors", [H_AND_E, LIGHTER, BLUER], ids=["usual", "lighter", "bluer"])
@pytest.mark.parametrize("strength", [(1.6, 1.2), (0.9, 2.0)], ids=["even", "more eosin"])
def test_the_stains_of_a_mixture_are_recovered(
    make_pixels: PixelMaker, fit: Fit, vectors: object, strength: tuple[float, float]
) -> None:
    found = fit(select_stained(make_pixels(vectors, strength=strength)))
    assert degrees(found.matrix, vectors) < 2
    assert found.max_concentrations == pytest.approx(strength, rel=0.06)


@FITS
def test_a_fit_depends_neither_on_order_nor_on_blank_area(
    make_pixels: PixelMaker, fit: Fit
) -> None:
    pixels = make_pixels()
    expected = fit(select_stained(pixels))
    shuffled = np.random.default_rng(0).permutation(pixels)
    framed = np.concatenate([np.full((50_000, 3), 250, dtype=np.uint8), shuffled])
    assert fit(select_stained(shuffled)) == expected
    assert fit(select_stained(framed.reshape(-1, 10, 3))) == expected


@FITS
def test_ink_blood_dust_and_black_do_not_disturb_a_fit(make_pixels: PixelMaker, fit: Fit) -> None:
    pixels = make_pixels()
    dirt = np.array(
        [[20, 60, 180], [40, 140, 90], [190, 120, 30], [200, 40, 50], [5, 5, 5], [120, 120, 120]],
        dtype=np.uint8,
    )
    dirty = np.concatenate([pixels, np.repeat(dirt, 500, axis=0)])
    assert fit(select_stained(dirty)) == fit(select_stained(pixels))


def test_the_choice_of_pixels_is_bounded_and_spread_evenly(make_pixels: PixelMaker) -> None:
    many = make_pixels(n=3 * MAX_PIXELS)
    chosen = select_stained(many)
    assert len(chosen.rgb) == MAX_PIXELS
    assert chosen.n_given == 3 * MAX_PIXELS
    stained = many[optical_density(many).mean(axis=1) >= 0.15]
    assert chosen.rgb.mean(axis=0) == pytest.approx(stained.mean(axis=0), abs=0.5)


@pytest.mark.parametrize(
    ("color", "word"),
    [
        ((255, 255, 255), "100 % blank"),
        ((0, 0, 0), "100 % black"),
        ((128, 128, 128), "100 % grey"),
        ((40, 140, 90), "100 % of colors that are not H&E"),
    ],
    ids=["white", "black", "grey", "green"],
)
def test_pixels_without_stain_are_refused_with_the_reason(
    color: tuple[int, int, int], word: str
) -> None:
    with pytest.raises(StainError, match=word):
        select_stained(np.full((1000, 3), color, dtype=np.uint8))


def test_no_pixel_at_all_is_refused() -> None:
    with pytest.raises(StainError, match="0 of 0 pixels"):
        select_stained(np.empty((0, 3), dtype=np.uint8))


@FITS
def test_one_color_is_refused(fit: Fit) -> None:
    with pytest.raises(StainError):
        fit(select_stained(np.full((1000, 3), (200, 120, 170), dtype=np.uint8)))


def test_hematoxylin_comes_first_whatever_the_order() -> None:
    expected = unit(H_AND_E)
    assert order_he(np.array(H_AND_E)) == pytest.approx(expected)
    assert order_he(np.array(H_AND_E[::-1])) == pytest.approx(expected)


def test_a_vector_without_length_is_refused() -> None:
    with pytest.raises(StainError, match="no length"):
        order_he(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("hematoxylin", "eosin", "maxima", "message"),
    [
        ((float("nan"), 0.7, 0.3), (0.1, 0.9, 0.4), (1.0, 1.0), "not finite"),
        ((2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0), "unit length"),
        ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0), "only one stain"),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0), "above 0"),
    ],
)
def test_vectors_that_cannot_separate_are_refused(
    hematoxylin: tuple[float, float, float],
    eosin: tuple[float, float, float],
    maxima: tuple[float, float],
    message: str,
) -> None:
    with pytest.raises(StainError, match=message):
        StainVectors(hematoxylin, eosin, maxima)


@given(
    st.lists(st.floats(0.0, 3.0), min_size=3, max_size=3),
    st.floats(0.0, 0.5),
    st.sampled_from([H_AND_E, LIGHTER, BLUER]),
)
@settings(max_examples=200)
def test_sparse_amounts_are_the_optimum(od: list[float], sparsity: float, vectors: object) -> None:
    matrix = unit(vectors)
    found = sparse_amounts(np.array([od]), matrix, sparsity)[0]
    # |x - cM|²/2 + s·Σc over c >= 0 is non-negative least squares once s is moved into the target.
    root = np.linalg.cholesky(matrix @ matrix.T)
    target = np.linalg.solve(root, matrix @ np.array(od) - sparsity)
    expected, _ = nnls(root.T, target)
    assert found == pytest.approx(expected, abs=1e-7)
    assert (found >= 0).all()


def test_the_dictionary_is_that_of_scikit_learn(make_pixels: PixelMaker) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    pixels = select_stained(make_pixels(n=1000))
    learned = decomposition.DictionaryLearning(
        n_components=2,
        alpha=0.1,
        transform_alpha=0.1,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_dict=True,
        positive_code=True,
        dict_init=unit(H_AND_E),
        max_iter=60,
        random_state=0,
    ).fit(pixels.od)
    assert degrees(fit_vahadane(pixels).matrix, order_he(learned.components_)) < 1
