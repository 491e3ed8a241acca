import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.classifier import operating_points
from wsi_pipeline.config import Config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports.report import Evaluation, write_report
from wsi_pipeline.learning.reports.scoring import scores_record
from wsi_pipeline.learning.reports.slide_evaluation import (
    SlideComparison,
    compare,
    compare_slides,
    dice,
    pooled_predictions,
    slide_row,
    slides_record,
)
from wsi_pipeline.maps import ProbabilityMap

NAN = np.nan
TRUTH = np.array([[2, 2, 1, 0], [1, 1, 1, 0], [1, 1, 2, 1]], np.uint8)
VALUES = np.array([[0.9, 0.8, 0.1, 0.9], [0.7, 0.1, 0.1, NAN], [0.1, 0.1, NAN, 0.2]], np.float32)


def _map(values: NDArray[np.float32], mpp: float = 2.0, cell_um: float = 400.0) -> ProbabilityMap:
    step = cell_um / mpp
    return ProbabilityMap(
        values=values,
        tissue=np.ones(values.shape, np.float32),
        origin_l0=(0, 0),
        step_l0=(step, step),
        mpp=Mpp(mpp, mpp),
        attributes={"threshold": 0.5},
    )


@pytest.fixture
def comparison() -> SlideComparison:
    return compare("s1", _map(VALUES), TRUTH, Config())


def test_a_slide_is_scored_on_its_labelled_cells_alone(comparison: SlideComparison) -> None:
    row = slide_row(comparison)
    # Labelled: 10 cells, of them IDC 0.9, 0.8 and one not classified, which counts as 0.
    assert row["cells"] == 10
    assert row["coverage"] == pytest.approx(0.9)
    assert row["prevalence"] == pytest.approx(0.3)
    # Of 3 x 7 pairs: 0.9 and 0.8 win all 14, the lost cell wins none.
    assert row["auc"] == pytest.approx(14 / 21)
    assert row["cell_dice"] == pytest.approx(2 * 2 / (3 + 3))
    assert row["sensitivity"] == pytest.approx(2 / 3)
    assert row["cells_called_without_label"] == 1


def test_unclassified_cells_count_and_are_marked(comparison: SlideComparison) -> None:
    predictions = pooled_predictions([comparison])
    assert len(predictions) == 10
    assert predictions.classified is not None
    lost = ~predictions.classified
    assert predictions.probabilities[lost].tolist() == [0.0]
    assert predictions.positions[lost].tolist() == [[101, 101]]
    assert predictions.labels[lost].tolist() == [1]


def test_a_finer_map_is_averaged_over_the_cells_of_the_truth() -> None:
    fine = VALUES.repeat(3, axis=0).repeat(3, axis=1)
    fine[::3, ::3] += np.float32(0.09)
    fine[2::3, 2::3] = np.nan
    comparison = compare("s", _map(fine, cell_um=400 / 3), TRUTH, Config())
    np.testing.assert_allclose(comparison.probability, VALUES + 0.09 / 8, rtol=1e-5)


def test_truth_outside_the_map_is_not_classified() -> None:
    comparison = compare("s", _map(VALUES[:2, :2]), TRUTH, Config())
    assert np.isnan(comparison.probability[2]).all()
    assert np.isnan(comparison.probability[:, 2:]).all()
    assert comparison.probability[0, 0] == np.float32(0.9)
    assert not comparison.in_region[2].any()


def test_slides_are_pooled_by_cell_and_averaged_by_slide(comparison: SlideComparison) -> None:
    right = compare("s2", _map((TRUTH == 2).astype(np.float32)), TRUTH, Config())
    record = slides_record([comparison, right], raw_threshold=0.5)
    assert record["dice"] == pytest.approx(2 * 5 / (6 + 6))
    assert record["mean_over_slides"]["cell_dice"] == pytest.approx((2 / 3 + 1) / 2)
    assert [row["slide"] for row in record["slides"]] == ["s1", "s2"]
    assert record["dice_ci95"][0] <= record["dice"] <= record["dice_ci95"][1]
    assert "without_context" not in record


def test_the_raw_map_is_scored_beside_the_refined_one() -> None:
    refined = ProbabilityMap(
        **{
            name: getattr(_map(VALUES), name)
            for name in ("values", "tissue", "origin_l0", "step_l0", "mpp", "attributes")
        },
        raw=np.full(VALUES.shape, 0.5, np.float32),
    )
    record = slides_record([compare("s", refined, TRUTH, Config())], raw_threshold=0.5)
    assert record["without_context"]["auc"] == 0.5
    assert dict(record["slides"][0])["auc_without_context"] == 0.5


def test_dice_of_two_empty_masks_is_no_number() -> None:
    empty = np.zeros(4, bool)
    assert np.isnan(dice(empty, empty))
    assert dice(~empty, empty) == 0


def test_a_slide_report_shows_every_slide(
    comparison: SlideComparison, color_classifier: Any, tmp_path: Path
) -> None:
    predictions = pooled_predictions([comparison])
    record = {
        **scores_record(predictions, operating_points(color_classifier.card)),
        **slides_record([comparison], raw_threshold=0.5),
        "context": False,
        "notes": [],
    }
    evaluation = Evaluation(
        "slides", color_classifier.card, record, predictions, comparisons=(comparison,)
    )
    text = write_report(evaluation, tmp_path).read_text()
    assert (tmp_path / "figures" / "slide-s1.png").exists()
    assert "Dice of regions" in text
    assert {"dice", "slides", "auc"} <= set(json.loads((tmp_path / "metrics.json").read_text()))
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0].endswith(",classified")


def test_slides_are_found_by_their_truth(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "a.tsv").write_bytes(b"")
    (tmp_path / "b.tif").write_bytes(b"")
    Image.fromarray(TRUTH).save(tmp_path / "a_truth.png")
    (found,) = find_truths(tmp_path)
    assert (found.slide_id, found.slide_path.name) == ("a", "a.tif")
    np.testing.assert_array_equal(found.cells, TRUTH)


def test_a_folder_without_truth_and_a_truth_without_slide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no \*_truth.png"):
        find_truths(tmp_path)
    Image.fromarray(TRUTH).save(tmp_path / "a_truth.png")
    with pytest.raises(DatasetError, match="has no slide"):
        find_truths(tmp_path)


def test_a_truth_that_labels_nothing_is_refused(color_classifier: Any, tmp_path: Path) -> None:
    empty = SlideTruth("s", tmp_path / "s.tif", np.zeros((2, 2), np.uint8))
    with pytest.raises(DatasetError, match="labels no cell"):
        list(compare_slides([empty], color_classifier.card, Config(), tmp_path))


def test_the_map_is_called_at_its_own_threshold() -> None:
    strict = _map(VALUES)
    strict.attributes["threshold"] = 0.85  # type: ignore[index]
    record = slides_record([compare("s", strict, TRUTH, Config())], raw_threshold=0.1)
    assert record["dice"] == pytest.approx(2 * 1 / (3 + 1))
    assert record["slides"][0]["sensitivity"] == pytest.approx(1 / 3)
