"""Folds of patients, and networks that each did not see one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import ConfigError, DatasetError
from wsi_pipeline.files import write_atomic
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.splits import patient_groups
from wsi_pipeline.tables import csv_bytes, read_table

logger = logging.getLogger(__name__)

TABLE: Final = "out_of_fold.csv"
COLUMNS: Final = ("file", "patient", "x", "y", "label", "fold", "logit")


def fold_folder(teachers: Path, fold: int) -> Path:
    """Return the model folder of the network that did not see a fold."""
    return teachers / f"fold-{fold}"


def patient_folds(data: PatchDataset, n_folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each patient, 1 to `n_folds`.

    Patients that look alike share a fold. The folds hold about as many IDC patches, other patches
    and patients each: from the largest patient down, each goes where it disturbs that least.

    Raises
    ------
    DatasetError
        Where there are fewer patients than folds.
    """
    groups = patient_groups(map(str, data.patients))
    if not 2 <= n_folds <= len(groups):
        raise DatasetError(
            f"{len(groups)} patients cannot make {n_folds} folds",
            "Choose 2 folds or more, and not more than there are patients",
        )
    counts = np.array([_counts(data, group) for group in groups], float)
    shares = counts / np.maximum(counts.sum(0), 1)
    order = np.random.default_rng(seed).permutation(len(groups))  # decides between equals
    order = order[np.argsort(-counts[order, :2].sum(1), kind="stable")]
    loads = np.zeros((n_folds, 3))
    fold_of: dict[str, int] = {}
    for index in order:
        growth = ((loads + shares[index]) ** 2).sum(1) - (loads**2).sum(1)
        fold = int(np.argmin(growth))
        loads[fold] += shares[index]
        fold_of |= dict.fromkeys(groups[index], fold + 1)
    return fold_of


def _counts(data: PatchDataset, group: list[str]) -> tuple[int, int, int]:
    labels = data.labels[np.isin(data.patients, group)]
    return int((labels > 0).sum()), int((labels == 0).sum()), len(group)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """What networks say of training patches whose patient they did not see."""

    files: tuple[str, ...]
    """Relative to the data set's folder."""
    patients: NDArray[np.str_]
    positions: NDArray[np.int32]
    """int32, shape (N, 2): x, y as in the file's name, -1 where unknown."""
    labels: NDArray[np.int8]
    folds: NDArray[np.int64]
    """int64, shape (N,): the fold of the patient, from 1; network ``fold-N`` did not see it."""
    logits: FloatArray
    """float32, shape (N,): calibrated, mean over eight views."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fold_of(self) -> dict[str, int]:
        """The fold of each patient."""
        return dict(zip(map(str, self.patients), map(int, self.folds), strict=True))

    def require_unseen(self, patients: Iterable[str]) -> None:
        """Refuse to teach a model whose validation patients the teachers were trained on.

        Raises
        ------
        DatasetError
            Where one of the patients was.
        """
        seen = set(self.fold_of) & set(map(str, patients))
        if seen:
            raise DatasetError(
                f"the teachers were trained on {len(seen)} of the patients that validate "
                f"(e.g. {min(seen)}): the figures would be too good",
                "Train teachers and student by the same --split and --seed",
            )

    def distillation_targets(
        self, data: PatchDataset, weight: float, temperature: float
    ) -> PatchDataset:
        """Return the data with targets between the label and what the teachers say.

        The target is ``(1 - weight) * label + weight * sigmoid(logit / temperature)``. A teacher
        that has seen a patch is too sure of it, so only what networks say of patients that they
        did not see counts. A patch without a logit keeps its label.

        Raises
        ------
        DatasetError
            Where no patch of the data has a logit, or a share or temperature makes no sense.

        References
        ----------
        Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531.
        """
        if not 0 <= weight <= 1 or not temperature > 0:
            raise DatasetError(
                f"teacher weight {weight:g} and temperature {temperature:g} cannot be used",
                "The weight is a share from 0 to 1, the temperature is positive",
            )
        logit_of = dict(zip(self.files, self.logits.tolist(), strict=True))
        logits = np.array([logit_of.get(name, np.nan) for name in data.files])
        known = ~np.isnan(logits)
        if not known.any():
            raise DatasetError(
                f"the teachers say nothing of the data set's files (e.g. {data.files[0]})",
                "Train teachers and student on the same data set folder",
            )
        if not known.all():
            logger.warning("%d training patches have no teacher's logit", int((~known).sum()))
        soft = 0.5 * (1 + np.tanh(0.5 * np.nan_to_num(logits) / temperature))
        mixed = (1 - weight) * data.labels + weight * soft
        targets = np.where(known, mixed, data.labels).astype(np.float32)
        return replace(data, targets=targets)

    def write(self, folder: Path) -> None:
        """Write ``out_of_fold.csv``."""
        rows = []
        for i, name in enumerate(self.files):
            x, y = self.positions[i].tolist()
            logit = f"{self.logits[i]:.5f}"
            rows.append([name, self.patients[i], x, y, self.labels[i], self.folds[i], logit])
        write_atomic(folder / TABLE, csv_bytes(COLUMNS, rows))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        DatasetError
            Where the folder holds no such table, or a value of it makes no sense.
        """
        path = folder / TABLE
        try:
            return cls._parse([dict(row.cells) for row in read_table(path).rows])
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path} cannot be used as a table of out-of-fold logits: {error!r}",
                "`wsi-pipeline train DATASET --folds K -o TEACHERS` writes one at its end",
            ) from error

    @classmethod
    def _parse(cls, rows: list[dict[str, Any]]) -> Self:
        logits = np.array([float(row["logit"]) for row in rows], np.float32)
        if not rows or not np.isfinite(logits).all():
            raise ValueError("no rows, or a logit that is no number")
        return cls(
            tuple(row["file"] for row in rows),
            np.array([row["patient"] for row in rows]),
            np.array([(int(row["x"]), int(row["y"])) for row in rows], np.int32),
            np.array([int(row["label"]) for row in rows], np.int8),
            np.array([int(row["fold"]) for row in rows]),
            logits,
        )
