import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.classifier import operating_points
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.scoring import (
    choose_patients,
    leakage_notes,
    predict_patches,
    scores_record,
    write_metrics,
    write_predictions,
)

MakeDataset = Callable[..., PatchDataset]


def test_the_record_has_every_score_with_its_interval(
    make_dataset: MakeDataset, color_classifier: Any
) -> None:
    predictions = predict_patches(make_dataset("abc", 5), color_classifier)
    record = scores_record(predictions, operating_points(color_classifier.card))
    for name in metrics.SCORE_NAMES:
        low, high = record[f"{name}_ci95"]
        assert low <= record[name] <= high
    assert record["auc"] == 1.0
    assert (record["patches"], record["patients"], record["prevalence"]) == (30, 3, 0.5)
    assert record["threshold"] == 0.4
    assert sum(record["confusion"].values()) == 30
    assert set(record["operating_points"]) == {"balanced", "high_sensitivity"}
    assert record["per_patient"]["medians"]["auc"] == 1.0


def test_a_patient_of_one_class_is_no_number_in_the_medians(
    make_dataset: MakeDataset, color_classifier: Any, tmp_path: Path
) -> None:
    data = make_dataset("ab", 4)
    data = data.subset((data.patients == "a") | (data.labels == 0))
    record = scores_record(
        predict_patches(data, color_classifier), operating_points(color_classifier.card)
    )
    write_metrics(record, tmp_path / "metrics.json")
    stored = json.loads((tmp_path / "metrics.json").read_text())
    rows = {row["patient"]: row for row in stored["per_patient"]["patients"]}
    assert rows["b"]["auc"] is None
    assert rows["b"]["auc_without"] == 1.0
    assert rows["a"]["auc_without"] is None  # only b is left, of one class
    assert stored["per_patient"]["medians"]["auc"] == 1.0


def test_predictions_are_written_in_order_with_the_fixed_columns(
    make_dataset: MakeDataset, color_classifier: Any, tmp_path: Path
) -> None:
    data = make_dataset("a", 2)
    write_predictions(predict_patches(data, color_classifier), tmp_path / "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert list(rows[0]) == ["file", "patient", "x", "y", "label", "probability"]
    assert [row["file"] for row in rows] == list(data.files)
    expected = color_classifier.predict(data.images)
    found = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_eight_views_add_the_uncertainty(
    make_dataset: MakeDataset, color_classifier: Any, tmp_path: Path
) -> None:
    predictions = predict_patches(make_dataset("a", 2), color_classifier, tta=True)
    write_predictions(predictions, tmp_path / "p.csv")
    assert "uncertainty" in (tmp_path / "p.csv").read_text().splitlines()[0]
    assert predictions.uncertainty is not None
    np.testing.assert_allclose(predictions.uncertainty, 0, atol=1e-6)


def test_patients_are_chosen_by_group_or_id(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    renamed = PatchDataset(
        data.images,
        data.labels,
        np.where(data.patients == "a", "8867", "mine"),
        data.files,
        data.positions,
    )
    assert len(choose_patients(renamed, ["all"])) == len(renamed)
    assert set(choose_patients(renamed, ["published-val"]).patients) == {"8867"}
    assert set(choose_patients(renamed, ["mine", "published-val"]).patients) == {"8867", "mine"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(["zoe"], "no patient 'zoe'"), (["published-test"], "none of the 2 patients")],
)
def test_patients_that_are_not_there_are_refused(
    wanted: list[str], message: str, make_dataset: MakeDataset
) -> None:
    with pytest.raises(DatasetError, match=message):
        choose_patients(make_dataset("ab", 1), wanted)


def test_patients_of_the_training_set_are_told(color_classifier: Any) -> None:
    card = color_classifier.card
    notes = leakage_notes(["a", "b", "c"], card)
    assert "1 of 3 patients are in the model's training set" in notes[0]
    assert "1 of 3 patients chose" in notes[1]
    assert leakage_notes(["c"], card) == []


def test_a_card_without_training_patients_cannot_be_checked(color_classifier: Any) -> None:
    color_classifier.card.record["split"].pop("train")
    assert "cannot be checked" in leakage_notes(["c"], color_classifier.card)[0]
