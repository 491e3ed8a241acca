"""How a data set is divided for training: always by patient, unless told otherwise and recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wsi_pipeline.errors import ConfigError, DatasetError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.splits import Split, published_split, random_split
from wsi_pipeline.stain import StainReference

SPLITS: Final = ("auto", "published", "random", "folders", "patch")
PATCH_SPLIT_NAME: Final = "random by patch (asked for): neighbors leak, figures are too good"
UNKNOWN_PATIENTS: Final = "; patients unknown, so patches of one patient may be on two sides"


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """The sides of a data set."""

    training: PatchDataset
    validation: PatchDataset
    split: Split
    reference: StainReference | None = None
    """Stains of the training side, before any normalization."""
    negatives: PatchDataset | None = None
    """Patches of slides of other tissue, for training."""


def divide(data: PatchDataset, how: str, seed: int) -> Division:
    """Divide a data set into training and validation.

    Parameters
    ----------
    data : PatchDataset
    how : {"auto", "published", "random", "folders", "patch"}
        "published": the case lists of the IDC archive. "random": by patient. "folders": as the
        sub-folders train, validation, test say. "auto": folders where there are such, else
        published. "patch": every patch by itself, recorded as what it is.
    seed : int
        Of a random split.

    Raises
    ------
    ConfigError
        Where `how` is none of these.
    DatasetError
        Where the data set cannot be divided so.
    """
    if how not in SPLITS:
        raise ConfigError(f"there is no split {how!r}", f"Choose one of {', '.join(SPLITS)}")
    if how == "auto":
        how = "published" if data.sides is None else "folders"
    rng = np.random.default_rng(seed)
    if how == "folders":
        return _by_folders(data, rng)
    if how == "patch":
        single = replace(data, patients=np.array(data.files))
        split = random_split(data.files, rng)
        return _divided(single, replace(split, name=PATCH_SPLIT_NAME))
    if (data.patients == "").any():
        raise DatasetError(
            "the patients of these patches are not known, so they cannot be split by patient",
            "Put each patient's patches into a folder of its own, add a column patient to the "
            "table, or accept figures that are too good with --split patch",
        )
    patients = map(str, np.unique(data.patients))
    split = published_split(patients) if how == "published" else random_split(patients, rng)
    return _divided(data, split)


def _divided(data: PatchDataset, split: Split) -> Division:
    division = Division(data.of_patients(split.train), data.of_patients(split.validation), split)
    for side, part in (("training", division.training), ("validation", division.validation)):
        if len(set(part.labels.tolist())) < 2:
            raise DatasetError(
                f"the {side} side has {len(part)} patches and not both classes",
                "Give more patients, or another --seed for a random split",
            )
    return division


def _by_folders(data: PatchDataset, rng: np.random.Generator) -> Division:
    """Take the sides from the folders; without a validation folder a part of train is drawn."""
    if data.sides is None:
        raise DatasetError(
            "the data set has no sub-folders train, validation and test",
            "Choose --split published or random",
        )
    unknown = bool((data.patients == "").any())
    if unknown:
        data = replace(data, patients=np.array(data.files))
    sides = {
        side: tuple(map(str, np.unique(data.patients[data.sides == side])))
        for side in ("train", "validation", "test")
    }
    if not sides["validation"]:
        drawn = random_split(sides["train"], rng)
        sides |= {"train": drawn.train, "validation": drawn.validation}
    name = "as its folders say" + (UNKNOWN_PATIENTS if unknown else "")
    return _divided(data, Split(name, sides["train"], sides["validation"], sides["test"]))
