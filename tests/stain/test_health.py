from __future__ import annotations

import json

import numpy as np
import pytest

from tests.stain.mixtures import H_AND_E, PixelMaker
from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain import (
    METHODS,
    StainHealth,
    StainReference,
    fit_normalizer,
    fit_with_fallback,
)

DAB = (0.27, 0.57, 0.78)
COUNTERSTAIN = (0.75, 0.62, 0.25)
AZURE_AND_EOSIN = ((0.80, 0.55, 0.24), (0.55, 0.75, 0.38))
METHYLENE_BLUE_AND_EOSIN = ((0.835, 0.514, 0.196), (0.093, 0.954, 0.283))
ANILINE_BLUE_AND_PONCEAU = ((0.800, 0.591, 0.105), (0.100, 0.737, 0.668))
BLUE_INK = np.array((1.2, 0.75, 0.25))
H_AND_E_SLIDES = {
    "reference": ((0.55, 0.73, 0.41), (0.13, 0.84, 0.52)),
    "frozen, bluish": ((0.67, 0.61, 0.33), (0.42, 0.77, 0.41)),
    "much hematoxylin": ((0.57, 0.66, 0.50), (0.45, 0.72, 0.27)),
    "magenta": ((0.55, 0.76, 0.36), (0.16, 0.94, 0.30)),
    "Ruifrok's vectors": ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11)),
}


def plain(color: tuple[int, int, int], n: int = 2500) -> RgbArray:
    return np.full((n, 3), color, dtype=np.uint8)


def fluorescence() -> RgbArray:
    light = np.random.default_rng(0).exponential(8, (5000, 3)) * (0.1, 0.3, 1.0)
    return np.asarray(np.clip(light, 0, 255), dtype=np.uint8)


def noise(color: tuple[int, int, int], spread: int, n: int = 5000) -> RgbArray:
    levels = np.array(color) + np.random.default_rng(1).normal(0, spread, (n, 1))
    return np.asarray(np.clip(levels, 0, 255), dtype=np.uint8)


def test_a_good_slide_is_healthy(make_pixels: PixelMaker, reference: StainReference) -> None:
    normalizer, health = fit_with_fallback(make_pixels(), "macenko", reference)
    assert normalizer.method == health.used == health.requested == "macenko"
    assert health.is_he is True
    assert (health.reasons, health.warnings) == ((), ())
    assert health.angle_deg == pytest.approx(25, abs=2)
    assert health.condition < 6
    assert health.reconstruction_error < 0.01
    assert health.out_of_gamut_share == 0
    assert health.share_used > 0.7


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.empty((0, 3), dtype=np.uint8), "0 of 0 pixels"),
        (plain((255, 255, 255)), "blank or nearly unstained"),
        (plain((250, 240, 246)), "blank or nearly unstained"),
        (plain((0, 0, 0)), "most of the picture is black"),
        (fluorescence(), "most of the picture is black"),
        (plain((128, 128, 128)), "carry stain"),
        (noise((150, 150, 150), 30), "carry stain"),
        (plain((200, 120, 170), n=1), "1 of 1 pixels"),
        (plain((200, 45, 50)), "colors are not of H&E"),
        (plain((40, 140, 90)), "colors are not of H&E"),
    ],
    ids=[
        "nothing",
        "white",
        "nearly unstained",
        "black",
        "fluorescence",
        "one grey",
        "greys",
        "one pixel",
        "all blood",
        "all ink",
    ],
)
def test_poor_input_ends_unchanged_with_the_reason(
    pixels: RgbArray, word: str, method: str, reference: StainReference
) -> None:
    normalizer, health = fit_with_fallback(pixels, method, reference)
    assert normalizer.method == health.used == "none"
    assert health.reasons
    assert word in " ".join(health.warnings)
    assert (normalizer.transform(pixels) == pixels).all()
    assert health.is_he is None
    with pytest.raises(StainError):
        fit_normalizer(pixels, method, reference)


@pytest.mark.parametrize(
    ("vectors", "word"),
    [
        ((COUNTERSTAIN, DAB), "not of H&E colors"),
        (AZURE_AND_EOSIN, "not of H&E colors"),
        (METHYLENE_BLUE_AND_EOSIN, "methylene or aniline blue"),
        (ANILINE_BLUE_AND_PONCEAU, "methylene or aniline blue"),
        ((H_AND_E[1], (0.10, 0.88, 0.47)), "hematoxylin"),
        ((H_AND_E[0], (0.48, 0.76, 0.44)), "eosin"),
        ((H_AND_E[0], (0.54, 0.74, 0.41)), "eosin"),
    ],
    ids=[
        "immunohistochemistry",
        "Giemsa",
        "Giemsa of methylene blue",
        "Masson",
        "eosin only",
        "hematoxylin only",
        "one hematoxylin",
    ],
)
def test_a_slide_that_is_not_h_and_e_is_left_as_it_is(
    make_pixels: PixelMaker, reference: StainReference, vectors: object, word: str
) -> None:
    pixels = make_pixels(vectors)
    normalizer, health = fit_with_fallback(pixels, "vahadane", reference)
    assert normalizer.method == health.used == "none"
    assert health.is_he is False
    assert word in " ".join(health.warnings)
    assert health.reasons == ("the slide does not look like H&E: colors are left as they are",)


def test_one_color_of_tissue_falls_through_the_whole_chain(reference: StainReference) -> None:
    normalizer, health = fit_with_fallback(plain((175, 110, 175)), "vahadane", reference)
    assert normalizer.method == "none"
    assert [reason.split(":")[0] for reason in health.reasons] == [
        "vahadane",
        "macenko",
        "reinhard",
    ]
    assert health.is_he is None


def test_stains_too_close_to_separate_fall_back_to_reinhard(
    make_pixels: PixelMaker, reference: StainReference
) -> None:
    pixels = make_pixels(((0.39, 0.80, 0.46), (0.34, 0.82, 0.46)))
    normalizer, health = fit_with_fallback(pixels, "macenko", reference)
    assert normalizer.method == health.used == "reinhard"
    assert "macenko: the two stain vectors are" in health.reasons[0]


def test_much_blood_is_still_h_and_e(make_pixels: PixelMaker, reference: StainReference) -> None:
    pixels = np.concatenate([make_pixels(n=10_000), noise((200, 45, 50), 5, n=3000)])
    normalizer, health = fit_with_fallback(pixels, "macenko", reference)
    assert normalizer.method == "macenko"
    assert health.foreign_share > 0.2


def test_none_is_measured_but_not_changed(
    make_pixels: PixelMaker, reference: StainReference
) -> None:
    pixels = make_pixels()
    normalizer, health = fit_with_fallback(pixels, "none", reference)
    assert (normalizer.transform(pixels) == pixels).all()
    assert (health.used, health.reasons) == ("none", ())
    assert health.vectors is not None
    assert health.is_he is True


def test_none_on_a_blank_slide_needs_no_reason(reference: StainReference) -> None:
    _, health = fit_with_fallback(plain((255, 255, 255)), "none", reference)
    assert health.reasons == ()
    assert health.warnings


def test_the_record_is_plain_json_without_nan(
    make_pixels: PixelMaker, reference: StainReference
) -> None:
    for pixels in (make_pixels(), plain((255, 255, 255)), plain((190, 110, 175))):
        _, health = fit_with_fallback(pixels, "macenko", reference)
        data = json.loads(json.dumps(health.to_dict(), allow_nan=False))
        assert set(data) == set(StainHealth.__dataclass_fields__)


@pytest.mark.parametrize("strength", [0.55, 1.0, 1.6], ids=["faded", "as usual", "overstained"])
@pytest.mark.parametrize("vectors", H_AND_E_SLIDES.values(), ids=H_AND_E_SLIDES.keys())
def test_every_h_and_e_is_taken_for_it(
    make_pixels: PixelMaker, reference: StainReference, vectors: object, strength: float
) -> None:
    pixels = make_pixels(vectors, strength=(1.6 * strength, 1.2 * strength))
    normalizer, health = fit_with_fallback(pixels, "macenko", reference)
    assert health.is_he is True
    assert normalizer.method == "macenko"


@pytest.mark.parametrize("share", [0.002, 0.01, 0.02])
def test_blue_ink_over_some_pixels_does_not_tilt_the_vectors(
    make_pixels: PixelMaker, reference: StainReference, share: float
) -> None:
    clean = inked(make_pixels(), 0.0)
    before = fit_with_fallback(clean, "macenko", reference)[1].vectors
    after = fit_with_fallback(inked(clean, share), "macenko", reference)[1].vectors
    assert before is not None
    assert after is not None
    cosine = (before.matrix * after.matrix).sum(axis=1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1.0


def test_two_halves_with_other_stains_are_told(
    make_pixels: PixelMaker, reference: StainReference
) -> None:
    even = fit_with_fallback(make_pixels(), "macenko", reference)[1]
    assert even.halves_deg < 2
    uneven = np.concatenate([make_pixels(), make_pixels(H_AND_E_SLIDES["much hematoxylin"])])
    health = fit_with_fallback(uneven, "macenko", reference)[1]
    assert health.halves_deg > 8
    assert "two halves of the slide give stain vectors" in " ".join(health.warnings)
    assert health.is_he is True


def inked(pixels: RgbArray, share: float) -> RgbArray:
    """Draw blue ink of any thickness over a share of the pixels."""
    rng = np.random.default_rng(3)
    light = pixels.astype(float)
    under = rng.choice(len(pixels), int(share * len(pixels)), replace=False)
    light[under] *= np.exp(-rng.uniform(0.3, 1.2, (len(under), 1)) * BLUE_INK)
    return np.asarray(np.clip(np.rint(light), 0, 255), dtype=np.uint8)
