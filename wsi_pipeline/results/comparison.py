"""What a comparison found: figures of a reading, of a slide, pooled over an archive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from wsi_pipeline.compare import Agreement, MapDifference

AREAS: Final = ("both_mm2", "only_result_mm2", "only_reference_mm2")
REGIONS: Final = ("regions", "regions_false", "reference_regions", "regions_missed")
SCORES: Final = ("dice", "iou", "sensitivity", "precision")
DISTANCES: Final = ("hausdorff_um", "hausdorff95_um")
CHANGES: Final = (
    "cells",
    "mean_absolute_change",
    "largest_absolute_change",
    "correlation",
    "cell_kappa",
    "cells_turned_positive",
    "cells_turned_negative",
    "cells_only_here",
    "cells_only_in_reference",
)
COLUMNS: Final = (
    "slide_id",
    "reference",
    *SCORES,
    "kappa",
    "result_mm2",
    "reference_mm2",
    "area_difference_mm2",
    *DISTANCES,
    *REGIONS,
    "inter_reader_dice",
    *CHANGES,
    "problem",
)


@dataclass(frozen=True, slots=True, eq=False)
class ReaderAgreement:
    """A slide's result against one reference."""

    reference: str
    """The reader, or the other run."""
    agreement: Agreement
    change: MapDifference | None = None
    """Cell by cell, run against run alone."""

    def figures(self) -> dict[str, float]:
        """Return the figures of this reading alone; areas in mm²."""
        found = self.agreement
        both = found.dice * (found.result_mm2 + found.reference_mm2) / 2
        both = 0.0 if math.isnan(both) else both
        figures = {
            "both_mm2": both,
            "only_result_mm2": max(0.0, found.result_mm2 - both),
            "only_reference_mm2": max(0.0, found.reference_mm2 - both),
            "kappa": found.kappa,
            "hausdorff_um": found.hausdorff_um,
            "hausdorff95_um": found.hausdorff95_um,
            "regions": len(found.result_regions),
            "regions_false": len(found.gained),
            "reference_regions": len(found.reference_regions),
            "regions_missed": len(found.lost),
        }
        return figures | scores(figures) | _change_figures(self.change)


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What came of one slide."""

    slide_id: str
    readings: tuple[ReaderAgreement, ...] = ()
    """One a reference; none where there is none for this slide or something went wrong."""
    pairs: Mapping[tuple[str, str], ReaderAgreement] = field(default_factory=dict)
    """Each two readers of the slide against each other, without the run."""
    problem: str = ""
    """What went wrong, in words; the figures hold for what could be compared."""
    has_failed: bool = False
    """True where `problem` is an error, not just a reference that is not there."""

    @property
    def inter_reader_dice(self) -> float:
        """Mean Dice between the readers; NaN for fewer than two."""
        return _mean(pair.agreement.dice for pair in self.pairs.values())

    def row(self) -> dict[str, float | str | None]:
        """Return the slide's row of compare.csv, pooled over its readers."""
        figures = [reading.figures() for reading in self.readings]
        row: dict[str, float | str | None] = dict.fromkeys(COLUMNS)
        row |= pooled(figures) if figures else {}
        row |= {name: _mean(f[name] for f in figures) for name in ("kappa", *DISTANCES) if figures}
        row |= _change_figures(self.readings[0].change if self.readings else None)
        row |= {
            "slide_id": self.slide_id,
            "reference": "; ".join(reading.reference for reading in self.readings),
            "inter_reader_dice": self.inter_reader_dice,
            "problem": self.problem,
        }
        return {name: row[name] for name in COLUMNS}


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A run against its reference."""

    reference: str
    """As the user named it."""
    slides: tuple[Compared, ...]
    missing: tuple[str, ...] = ()
    """Slides that the reference run finished and this one has not."""
    unused: tuple[str, ...] = ()
    """Files of the reference that nothing was made of, and why."""

    @property
    def pooled(self) -> dict[str, float]:
        """Figures over all slides and readers, by summed areas and counts."""
        return pooled([reading.figures() for s in self.slides for reading in s.readings])

    @property
    def inter_reader_dice(self) -> float:
        """Mean over the slides that several readers drew on; NaN without."""
        return _mean(slide.inter_reader_dice for slide in self.slides)

    def misses(self, *, min_dice: float | None, tolerance: float | None) -> list[str]:
        """Return in words which stated tolerance is missed and by what; empty = all are kept.

        Parameters
        ----------
        min_dice : float, optional
            The pooled Dice may not be below it. Where neither side has any IDC there is no Dice
            and nothing to disagree on.
        tolerance : float, optional
            Run against run: no cell's probability may differ by more, and both runs have to have
            classified the same cells.
        """
        if min_dice is None and tolerance is None:
            return []
        missed = [f"{slide_id} is not finished here" for slide_id in self.missing]
        dice = self.pooled["dice"]
        if min_dice is not None and dice < min_dice:
            missed.append(f"pooled Dice {dice:.4f} is below {min_dice:g}")
        if tolerance is not None:
            missed += [words for slide in self.slides for words in _change_misses(slide, tolerance)]
        return missed


def scores(areas: Mapping[str, float]) -> dict[str, float]:
    """Return Dice, IoU, sensitivity, precision and areas from the three areas, NaN if undefined."""
    both, only_result, only_reference = (areas[name] for name in AREAS)
    result, reference = both + only_result, both + only_reference
    return {
        "dice": _ratio(2 * both, result + reference),
        "iou": _ratio(both, both + only_result + only_reference),
        "sensitivity": _ratio(both, reference),
        "precision": _ratio(both, result),
        "result_mm2": result,
        "reference_mm2": reference,
        "area_difference_mm2": result - reference,
    }


def pooled(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the scores of several readings by their summed areas, and summed region counts."""
    sums = {name: sum(f[name] for f in figures) for name in (*AREAS, *REGIONS)}
    return sums | scores(sums)


def _change_figures(change: MapDifference | None) -> dict[str, float]:
    if change is None:
        return {}
    values = (
        change.n_cells,
        change.mean_absolute,
        change.largest_absolute,
        change.correlation,
        change.kappa,
        change.n_turned_positive,
        change.n_turned_negative,
        change.n_only_new,
        change.n_only_old,
    )
    return dict(zip(CHANGES, values, strict=True))


def _change_misses(slide: Compared, tolerance: float) -> list[str]:
    missed = []
    for change in (r.change for r in slide.readings if r.change is not None):
        if change.largest_absolute > tolerance:
            missed.append(
                f"{slide.slide_id}: a probability differs by {change.largest_absolute:.3g}, "
                f"more than {tolerance:g}"
            )
        lone = change.n_only_new + change.n_only_old
        if lone:
            missed.append(f"{slide.slide_id}: {lone} cells were classified by one run alone")
    return missed


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
