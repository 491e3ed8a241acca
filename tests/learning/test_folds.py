from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.folds import OutOfFold, patient_folds

MakeDataset = Callable[..., PatchDataset]


def _said(data: PatchDataset, logits: np.ndarray[tuple[int], np.dtype[np.float32]]) -> OutOfFold:
    folds = np.array([1 + ord(patient) % 2 for patient in data.patients])
    return OutOfFold(data.files, data.patients, data.positions, data.labels, folds, logits)


@pytest.fixture
def uneven(make_dataset: MakeDataset) -> PatchDataset:
    """Twelve patients; the earlier in the alphabet, the more IDC."""
    data = make_dataset("abcdefghijkl", 12)
    number = np.array([int(name.split("/")[2].removesuffix(".png")) for name in data.files])
    rank = np.array([ord(patient) - ord("a") for patient in data.patients])
    return data.subset((data.labels == 0) | (number < 12 - rank))


def test_folds_hold_whole_patients_and_as_much_idc_each(uneven: PatchDataset) -> None:
    fold_of = patient_folds(uneven, 3, seed=0)
    assert set(fold_of) == set("abcdefghijkl")
    folds = np.array([fold_of[str(patient)] for patient in uneven.patients])
    n_patients = np.bincount(list(fold_of.values()))[1:]
    prevalences = [uneven.labels[folds == fold].mean() for fold in (1, 2, 3)]
    assert n_patients.tolist() == [4, 4, 4]
    assert max(prevalences) - min(prevalences) < 0.04


def test_folds_depend_on_the_seed_alone(make_dataset: MakeDataset) -> None:
    data = make_dataset("abcdef", 3)
    assert patient_folds(data, 3, seed=1) == patient_folds(data, 3, seed=1)
    assert any(patient_folds(data, 3, seed=1) != patient_folds(data, 3, seed=s) for s in range(5))


def test_patients_that_look_alike_share_a_fold(make_dataset: MakeDataset) -> None:
    data = make_dataset("abcdef", 2)
    named = np.where(data.patients == "a", "9078", data.patients)
    named = np.where(named == "d", "9123", named)
    for seed in range(5):
        fold_of = patient_folds(replace(data, patients=named), 3, seed)
        assert fold_of["9078"] == fold_of["9123"]


@pytest.mark.parametrize("n_folds", [1, 0, 4])
def test_folds_that_cannot_be_made_are_refused(n_folds: int, make_dataset: MakeDataset) -> None:
    with pytest.raises(DatasetError, match=f"3 patients cannot make {n_folds} folds"):
        patient_folds(make_dataset("abc", 2), n_folds, seed=0)


def test_what_teachers_say_survives_its_table(make_dataset: MakeDataset, tmp_path: Path) -> None:
    data = make_dataset("abc", 2)
    said = _said(data, np.linspace(-3, 3, len(data), dtype=np.float32))
    said.write(tmp_path)
    read = OutOfFold.read(tmp_path)
    np.testing.assert_allclose(read.logits, said.logits, atol=1e-5)
    np.testing.assert_array_equal(read.positions, said.positions)
    assert read.files == said.files
    assert read.fold_of == said.fold_of == {"a": 2, "b": 1, "c": 2}


HEAD = "file,patient,x,y,label,fold,logit\n"


@pytest.mark.parametrize("text", ["", "file,logit\na,1\n", HEAD, HEAD + "a,p,1,1,0,1,nan\n"])
def test_a_damaged_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "out_of_fold.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"cannot be used as a table of out-of-fold logits"):
        OutOfFold.read(tmp_path)


def test_a_target_lies_between_label_and_teacher(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    said = _said(data, np.full(len(data), np.log(3), np.float32))
    targets = said.distillation_targets(data, 0.4, 1.0).targets
    assert targets is not None
    np.testing.assert_allclose(targets, 0.6 * data.labels + 0.4 * 0.75, atol=1e-6)
    softer = said.distillation_targets(data, 1.0, 2.0).targets
    assert softer is not None
    np.testing.assert_allclose(softer, np.sqrt(3) / (1 + np.sqrt(3)), atol=1e-6)


def test_a_patch_without_a_teacher_keeps_its_label(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    first = data.subset(np.arange(len(data)) < 1)
    targets = _said(first, np.zeros(1, np.float32)).distillation_targets(data, 0.5, 1.0).targets
    assert targets is not None
    assert targets[0] == pytest.approx(0.25)
    np.testing.assert_array_equal(targets[1:], data.labels[1:])
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(
        _said(data, np.zeros(len(data), np.float32)).distillation_targets(data, 1.0, 1.0).subset(
            data.labels > 0
        ).targets,
        0.5,
    )  # fmt: skip


@pytest.mark.parametrize(("weight", "temperature"), [(1.5, 1.0), (-0.1, 1.0), (0.5, 0.0)])
def test_impossible_weights_and_temperatures_are_refused(
    weight: float, temperature: float, make_dataset: MakeDataset
) -> None:
    data = make_dataset("ab", 2)
    with pytest.raises(DatasetError, match="cannot be used"):
        _said(data, np.zeros(len(data), np.float32)).distillation_targets(data, weight, temperature)


def test_teachers_of_another_data_set_are_refused(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    said = _said(replace(data, files=tuple("x" * (i + 1) for i in range(len(data)))),
                 np.zeros(len(data), np.float32))  # fmt: skip
    with pytest.raises(DatasetError, match="say nothing of the data set's files"):
        said.distillation_targets(data, 0.5, 1.0)
    with pytest.raises(DatasetError, match="trained on 1 of the patients that validate"):
        said.require_unseen(["b", "z"])
