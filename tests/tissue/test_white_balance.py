from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue import Glass, WhiteBalance
from wsi_pipeline.tissue.white_balance import MAX_LOG_GAIN, TOLERANCE_LEVELS

REFERENCE = (242, 241, 242)


@pytest.fixture
def patches() -> RgbArray:
    return np.random.default_rng(0).integers(0, 256, (7, 50, 50, 3)).astype(np.uint8)


def test_glass_becomes_the_reference_and_densities_are_kept() -> None:
    balance = WhiteBalance.to_reference(Glass((185, 182, 190), 0.5), REFERENCE)
    assert balance.is_applied
    assert balance.color((185, 182, 190)) == REFERENCE
    tissue = np.array([[[110, 70, 140], [150, 90, 160]]], np.uint8)
    before = -np.log(tissue / np.array((185, 182, 190)))
    after = -np.log(balance.apply(tissue) / np.array(REFERENCE))
    np.testing.assert_allclose(after, before, atol=0.005)


def test_every_level_is_rounded_and_held_within_the_range(patches: RgbArray) -> None:
    balance = WhiteBalance.to_reference(Glass((200, 150, 220), 0.5), REFERENCE)
    expected = np.clip(np.rint(patches * np.array(balance.gain)), 0, 255)
    np.testing.assert_array_equal(balance.apply(patches), expected)


@pytest.mark.parametrize("shape", [(0, 50, 50, 3), (4, 3), (1, 1, 3)])
def test_any_shape_of_pixels_will_do(shape: tuple[int, ...]) -> None:
    balance = WhiteBalance.to_reference(Glass((200, 150, 220), 0.5), REFERENCE)
    assert balance.apply(np.zeros(shape, np.uint8)).shape == shape


@pytest.mark.parametrize(
    ("glass", "reference", "reason"),
    [
        (Glass((185, 182, 190), 0.0), REFERENCE, "no glass is seen"),
        (Glass((185, 182, 190), 0.5), None, "the model states no glass_rgb"),
        (Glass((242 - TOLERANCE_LEVELS, 241, 242), 0.5), REFERENCE, "within"),
    ],
    ids=["no glass", "no reference", "near enough"],
)
def test_light_is_left_as_it_is_with_the_reason(
    glass: Glass, reference: tuple[int, int, int] | None, reason: str, patches: RgbArray
) -> None:
    balance = WhiteBalance.to_reference(glass, reference)
    assert not balance.is_applied
    assert reason in balance.reason
    assert balance.apply(patches) is patches


def test_one_level_past_the_tolerance_is_balanced() -> None:
    glass = Glass((242 - TOLERANCE_LEVELS - 1, 241, 242), 0.5)
    balance = WhiteBalance.to_reference(glass, REFERENCE)
    assert balance.is_applied
    assert balance.reason == ""


def test_the_gain_is_bounded_and_says_so() -> None:
    balance = WhiteBalance.to_reference(Glass((110, 200, 200), 0.5), REFERENCE)
    assert np.log(balance.gain[0]) == pytest.approx(MAX_LOG_GAIN)
    assert balance.gain[1] == pytest.approx(241 / 200)
    assert "bound" in balance.reason


def test_switched_off_is_recorded_with_the_glass_that_was_seen() -> None:
    balance = WhiteBalance.switched_off(Glass((185, 182, 190), 0.5))
    assert balance.to_dict() == {
        "applied": False,
        "glass_rgb": [185, 182, 190],
        "reference_rgb": None,
        "gain": [1.0, 1.0, 1.0],
        "reason": "switched off",
    }


def test_it_travels_to_workers_and_into_json() -> None:
    balance = WhiteBalance.to_reference(Glass((185, 182, 190), 0.5), REFERENCE)
    assert pickle.loads(pickle.dumps(balance)) == balance
    assert json.loads(json.dumps(balance.to_dict()))["gain"][0] == pytest.approx(1.308, abs=0.001)
