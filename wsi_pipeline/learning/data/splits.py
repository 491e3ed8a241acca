"""Splits by patient: neighbours in one lesion are near-copies, so patches never split a patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np

from wsi_pipeline.errors import DatasetError

LOOK_ALIKE_CASES: Final = (frozenset({"9078", "9123"}),)
"""Cases of the IDC archive that look like sections of one specimen: kept on one side."""


@dataclass(frozen=True, slots=True)
class Split:
    """Patients of each side; no patient is on two."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Test patients, and patients too like one of another side."""

    def __post_init__(self) -> None:
        sides = (*self.train, *self.validation, *self.left_out)
        if len(set(sides)) != len(sides):
            raise DatasetError("a patient stands on two sides of the split", "Split by patient")


def published_cases(side: str) -> frozenset[str]:
    """Return the case ids of one published list: "train" (84), "val" (29) or "test" (49).

    References
    ----------
    Cruz-Roa et al., Proc. SPIE 9041 (2014); Janowczyk & Madabhushi, J Pathol Inform 7:29 (2016).
    """
    text = files("wsi_pipeline.learning.data").joinpath(f"case_lists/{side}.txt").read_text()
    return frozenset(text.split())


def published_split(patients: Iterable[str]) -> Split:
    """Return the published split of the IDC archive for the patients at hand.

    Cases outside the lists train too. Test cases are left out, and so is a training case that looks
    like a validation case.

    Raises
    ------
    DatasetError
        Where no patient stands in the validation list: the data are another archive.
    """
    present = set(patients)
    validation = present & published_cases("val")
    test = present & published_cases("test")
    if not validation or not present - validation - test:
        raise DatasetError(
            "the patients are not those of the published IDC case lists",
            "Use --split random to split this data set by patient",
        )
    alike = {
        case
        for group in LOOK_ALIKE_CASES
        if group & (published_cases("val") | published_cases("test"))
        for case in group
    }
    train = present - validation - test
    left_out = test | (train & alike)
    return Split(
        "published IDC case lists",
        tuple(sorted(train - left_out)),
        tuple(sorted(validation)),
        tuple(sorted(left_out)),
    )


def patient_groups(patients: Iterable[str]) -> list[list[str]]:
    """Return the patients one by one, in order, those that look alike together."""
    present = sorted(set(patients))
    alike = [sorted(group & set(present)) for group in LOOK_ALIKE_CASES]
    grouped = {patient for group in alike for patient in group}
    return [group for group in alike if group] + [[p] for p in present if p not in grouped]


def random_split(patients: Iterable[str], rng: np.random.Generator, share: float = 0.2) -> Split:
    """Return a random split by patient with about `share` of the patients for validation.

    Patients that look alike stay on one side.

    Raises
    ------
    DatasetError
        Where there are fewer than two patients.
    """
    groups = patient_groups(patients)
    if len(groups) < 2:
        raise DatasetError(
            f"a split by patient needs two patients, there are {len(groups)}",
            "Put the patches of each patient in a folder of its own",
        )
    shuffled = rng.permutation(len(groups))
    n_validation = max(1, round(share * len(groups)))
    sides = (shuffled[n_validation:], shuffled[:n_validation])
    train, validation = (tuple(sorted(p for i in side for p in groups[i])) for side in sides)
    return Split("random by patient", train, validation)
