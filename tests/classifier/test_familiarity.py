"""Whether a slide looks like the training data."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_pipeline.classifier.familiarity import (
    FamiliarityReference,
    ShiftCalibration,
    far_share,
    log_spread,
)
from wsi_pipeline.errors import ModelError


@pytest.fixture
def reference() -> FamiliarityReference:
    """Slides whose mean features scatter by 0.1 about 0; patches by 1."""
    lengths = np.quantile(np.random.default_rng(0).chisquare(4, 20_000), np.linspace(0, 1, 201))
    return FamiliarityReference(np.zeros(4), 0.01 * np.eye(4), 9.5, lengths)


def _patches(n: int, shift: float = 0.0) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(shift, 1, (n, 4)).astype(np.float32)


def test_a_slide_like_those_of_training_is_familiar(reference: FamiliarityReference) -> None:
    found = reference.judge(_patches(400))
    assert found is not None
    assert found.familiar
    assert found.score > 1
    assert found.reasons == ()


def test_a_small_shift_of_all_patches_is_unfamiliar_though_no_patch_is_far(
    reference: FamiliarityReference,
) -> None:
    patches = _patches(400, 0.6)
    found = reference.judge(patches)
    assert found is not None
    assert not found.familiar
    assert found.score < 1
    assert "times as far from the training slides" in found.reasons[0]
    assert (reference.cells(patches) < 0.01).mean() < 0.1


def test_few_patches_are_given_the_benefit_of_chance(reference: FamiliarityReference) -> None:
    shifted = [reference.judge(_patches(n, 0.45)) for n in (5, 2000)]
    assert [found is not None and found.familiar for found in shifted] == [True, False]
    assert reference.judge(_patches(3)) is None


def test_cells_hold_the_share_of_patches_as_strange_and_nan_stays(
    reference: FamiliarityReference,
) -> None:
    features = np.zeros((2, 2, 4), np.float32)
    features[0, 1] = 9
    features[1, 0] = np.nan
    cells = reference.cells(features)
    assert cells.dtype == np.float32
    assert cells[0, 0] > 0.99
    assert cells[0, 1] == 0
    assert np.isnan(cells[1, 0])
    usual = reference.cells(_patches(4000))
    np.testing.assert_allclose(np.quantile(usual, [0.25, 0.75]), [0.25, 0.75], atol=0.04)


@pytest.fixture
def calibrated(reference: FamiliarityReference) -> FamiliarityReference:
    """Patches of other tissue differ half as much."""
    known = ShiftCalibration(1.5, np.full(4, -1.0), -1.0)
    return replace(reference, calibration=known)


def test_what_another_stain_took_is_given_back_by_how_far_the_slide_lies(
    calibrated: FamiliarityReference,
) -> None:
    found = [calibrated.judge(_patches(400, shift)) for shift in (0.0, 0.4, 0.5, 9.0)]
    shifts = [one.logit_shift for one in found if one is not None]
    assert shifts[0] == 0
    assert 0 < shifts[1] < shifts[2] < shifts[3] <= 1.5
    assert shifts[3] > 1.49
    assert found[2] is not None
    assert shifts[2] == pytest.approx(1.5 * np.sqrt(1 - found[2].score), abs=1e-3)
    assert f"raised by {shifts[2]:.2f}" in " ".join(found[2].reasons)


def test_at_the_border_of_the_familiar_nothing_jumps() -> None:
    assert far_share(1.0) == far_share(1.5) == 0
    assert far_share(0.999) < 0.04


def test_other_tissue_is_given_nothing_and_named(calibrated: FamiliarityReference) -> None:
    found = calibrated.judge(_alike(_patches(400, 0.6)))
    assert found is not None
    assert not found.familiar
    assert found.logit_shift == 0
    assert any("another tissue" in reason for reason in found.reasons)


def _alike(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    return (patches.mean(0) + 0.5 * (patches - patches.mean(0))).astype(np.float32)


def test_the_spread_is_that_of_the_patches_wherever_they_lie_and_that_of_few_is_shrunk() -> None:
    many, few = _patches(4000, 0.5), _patches(4, 0.5)
    np.testing.assert_allclose(log_spread(many), np.log(many.std(0)), atol=0.01)
    np.testing.assert_allclose(log_spread(many + 9), log_spread(many), atol=1e-4)
    np.testing.assert_allclose(log_spread(_alike(many)) - log_spread(many), np.log(0.5), atol=0.01)
    assert (np.abs(log_spread(few)) < np.abs(np.log(few.std(0)))).all()


def test_without_slides_of_other_tissue_nothing_is_given_back(
    reference: FamiliarityReference,
) -> None:
    blind = replace(reference, calibration=ShiftCalibration(1.5, np.empty(0), 0.0))
    for one in (reference, blind):
        found = one.judge(_patches(400, 0.6))
        assert found is not None
        assert found.logit_shift == 0


def test_it_survives_the_card(calibrated: FamiliarityReference) -> None:
    reference = calibrated
    again = FamiliarityReference.from_dict(reference.to_dict())
    assert again.limit == reference.limit
    np.testing.assert_allclose(again.covariance, reference.covariance)
    for patches in (_patches(50, 0.0), _patches(50, 0.6), _alike(_patches(50, 0.6))):
        assert again.judge(patches) == reference.judge(patches)


@pytest.mark.parametrize(
    "changes",
    [{"mean": []}, {"covariance": [[1.0]]}, {"limit": 0.0}, {"distances": "far"}, {"limit": None},
     {"calibration": {"most": 1.0}},
     {"calibration": {"most": -1, "other_spread": [], "other_bias": 0}},
     {"calibration": {"slope": 1, "most": 1, "other_spread": [], "other_bias": 0}},
     {"calibration": {"most": 1, "other_spread": [1, 2], "other_bias": 0}}],
)  # fmt: skip
def test_an_unusable_card_entry_is_refused(
    changes: dict[str, object], reference: FamiliarityReference
) -> None:
    with pytest.raises(ModelError, match="`familiarity` of the model card"):
        FamiliarityReference.from_dict({**reference.to_dict(), **changes})
