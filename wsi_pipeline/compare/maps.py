"""Two probability maps of one slide, cell by cell: what a new model changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.maps.map import ProbabilityMap


@dataclass(frozen=True, slots=True, eq=False)
class MapDifference:
    """New less old, on the new map's grid. NaN = not classified by both, or nothing to compare."""

    values: FloatArray
    """float32, shape (rows, cols): change of probability, -1 to 1."""
    n_cells: int
    """Cells that both classified."""
    mean_absolute: float
    largest_absolute: float
    correlation: float
    """Pearson's; NaN where one of the maps is constant."""
    kappa: float
    """Cohen's, of the calls at each map's own threshold."""
    n_turned_positive: int
    """Cells called IDC by the new map alone."""
    n_turned_negative: int
    n_only_new: int
    """Cells that the new map alone classified."""
    n_only_old: int


def compare_maps(new: ProbabilityMap, old: ProbabilityMap) -> MapDifference:
    """Compare two maps of one slide.

    Parameters
    ----------
    new, old : ProbabilityMap
        Their grids may differ: the old one is read at the centers of the new one's cells.

    Raises
    ------
    ConfigError
        Where the maps are of different slides.
    """
    _check_same_slide(new, old)
    before = _resampled(old, new)
    known_new, known_old = ~np.isnan(new.values), ~np.isnan(before)
    both = known_new & known_old
    after, earlier = new.values[both].astype(np.float64), before[both].astype(np.float64)
    change = np.abs(after - earlier)
    called, called_before = after >= new.threshold, earlier >= old.threshold
    return MapDifference(
        values=new.values - before,
        n_cells=int(both.sum()),
        mean_absolute=float(change.mean()) if change.size else np.nan,
        largest_absolute=float(change.max()) if change.size else np.nan,
        correlation=_correlation(after, earlier),
        kappa=_kappa(called, called_before),
        n_turned_positive=int((called & ~called_before).sum()),
        n_turned_negative=int((~called & called_before).sum()),
        n_only_new=int((known_new & ~known_old).sum()),
        n_only_old=int((known_old & ~known_new).sum()),
    )


def _check_same_slide(new: ProbabilityMap, old: ProbabilityMap) -> None:
    hashes = [m.attributes.get("fingerprint") for m in (new, old)]
    if not all(hashes):  # of a version that took none
        hashes = [m.attributes.get("slide", {}).get("quickhash") for m in (new, old)]
    if None not in hashes and hashes[0] != hashes[1]:
        names = [m.attributes["slide"].get("name", "?") for m in (new, old)]
        raise ConfigError(
            f"{names[0]} and {names[1]} are different slides (their hashes differ)",
            "Compare two runs of the same slide",
        )


def _resampled(source: ProbabilityMap, target: ProbabilityMap) -> FloatArray:
    """Return the source's value at the center of each of the target's cells, NaN outside."""
    col = _index(source, target, axis=0)
    row = _index(source, target, axis=1)
    padded = np.pad(source.values, ((0, 1), (0, 1)), constant_values=np.nan)
    return padded[row][:, col]


def _index(source: ProbabilityMap, target: ProbabilityMap, axis: int) -> NDArray[np.intp]:
    n_target, n_source = target.values.shape[1 - axis], source.values.shape[1 - axis]
    centers_l0 = target.origin_l0[axis] + (np.arange(n_target) + 0.5) * target.step_l0[axis]
    index = np.floor((centers_l0 - source.origin_l0[axis]) / source.step_l0[axis]).astype(np.intp)
    return np.where((index >= 0) & (index < n_source), index, -1)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def _kappa(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    if first.size == 0:
        return np.nan
    p, q = float(first.mean()), float(second.mean())
    by_chance = p * q + (1 - p) * (1 - q)
    observed = float((first == second).mean())
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan
