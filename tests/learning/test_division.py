from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from wsi_pipeline.errors import ConfigError, DatasetError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.division import divide

MakeDataset = Callable[..., PatchDataset]


@pytest.fixture
def nameless(make_dataset: MakeDataset) -> PatchDataset:
    """Patches of unknown patients."""
    data = make_dataset("abcd", 4)
    return replace(data, patients=np.full(len(data), ""))


def test_a_random_split_never_divides_a_patient(make_dataset: MakeDataset) -> None:
    division = divide(make_dataset("abcdef", 3), "random", seed=1)
    train, validation = set(division.training.patients), set(division.validation.patients)
    assert train | validation == set("abcdef")
    assert not train & validation


def test_patches_of_unknown_patients_are_refused_with_the_reason(nameless: PatchDataset) -> None:
    with pytest.raises(DatasetError, match=r"patients .* not known.*--split patch"):
        divide(nameless, "random", seed=0)


def test_a_patch_split_has_to_be_asked_for_and_is_named_as_what_it_is(
    nameless: PatchDataset,
) -> None:
    division = divide(nameless, "patch", seed=0)
    assert "neighbors leak" in division.split.name
    assert len(division.training) + len(division.validation) == len(nameless)
    assert len(set(division.validation.patients)) == len(division.validation)


def test_the_folders_of_a_data_set_decide_its_sides(make_dataset: MakeDataset) -> None:
    data = make_dataset("abc", 2)
    sides = np.select([data.patients == "a", data.patients == "b"], ["train", "validation"], "test")
    division = divide(replace(data, sides=sides), "auto", seed=0)
    assert set(division.training.patients) == {"a"}
    assert set(division.validation.patients) == {"b"}
    assert division.split.left_out == ("c",)


def test_without_a_validation_folder_a_part_of_train_is_drawn(make_dataset: MakeDataset) -> None:
    data = make_dataset("abcdef", 2)
    sides = np.where(data.patients == "f", "test", "train")
    division = divide(replace(data, sides=sides), "folders", seed=0)
    assert "f" in division.split.left_out
    assert len(set(division.validation.patients)) == 1


def test_a_patient_in_two_folders_is_refused(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    sides = np.where(np.arange(len(data)) % 2, "train", "validation")
    with pytest.raises(DatasetError, match="two sides"):
        divide(replace(data, sides=sides), "folders", seed=0)


def test_unknown_patients_in_folders_are_recorded(nameless: PatchDataset) -> None:
    sides = np.where(np.arange(len(nameless)) % 4 == 0, "validation", "train")
    division = divide(replace(nameless, sides=sides), "auto", seed=0)
    assert "patients unknown" in division.split.name


def test_a_side_without_both_classes_is_refused(make_dataset: MakeDataset) -> None:
    data = make_dataset("ab", 2)
    with pytest.raises(DatasetError, match="not both classes"):
        divide(data.subset((data.patients == "a") | (data.labels == 0)), "random", seed=0)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("by-moon", ConfigError, "no split 'by-moon'"),
        ("folders", DatasetError, "no sub-folders"),
        ("published", DatasetError, "published IDC case lists"),
        ("auto", DatasetError, "published IDC case lists"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(
    how: str, kind: type[Exception], message: str, make_dataset: MakeDataset
) -> None:
    with pytest.raises(kind, match=message):
        divide(make_dataset("ab", 2), how, seed=0)
