"""How well two sets of outlines agree, by area, by boundary and by region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsi_pipeline.annotations import Area, only_areas
from wsi_pipeline.compare.outlines import Outline, Outlines
from wsi_pipeline.geometry import Mpp

HIT_SHARE: Final = 0.1
"""A region counts as hit where the other reader covers at least this share of it."""

BOUNDARY_STEP_UM: Final = 10.0
"""Boundaries are compared at points this far apart: distances are right to half of it."""


@dataclass(frozen=True, slots=True)
class RegionMatch:
    """One reader's region and how much of it the other found."""

    name: str
    area_mm2: float
    covered_share: float
    """Share of it inside the other reader's areas, 0 to 1."""

    @property
    def is_hit(self) -> bool:
        """True where enough of it is covered, see `HIT_SHARE`."""
        return self.covered_share >= HIT_SHARE


class Difference(NamedTuple):
    """Where two readers agree on IDC and where one stands alone, level-0 px."""

    both_l0: Area
    only_result_l0: Area
    only_reference_l0: Area


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """A result against a reference. NaN = not defined, e.g. Dice where neither has any area."""

    dice: float
    iou: float
    sensitivity: float
    """Share of the reference's area that the result has."""
    precision: float
    """Share of the result's area that the reference has."""
    kappa: float
    """Cohen's, by area, over what both judged; NaN where nobody said what was judged."""
    result_mm2: float
    reference_mm2: float
    hausdorff_um: float
    """Greatest distance from one boundary to the other."""
    hausdorff95_um: float
    """The same without the farthest 5 % of either boundary."""
    result_regions: tuple[RegionMatch, ...]
    """Not hit = a false region, or one gained against an older run."""
    reference_regions: tuple[RegionMatch, ...]
    """Not hit = a missed region, or one lost against an older run."""
    difference: Difference

    @property
    def area_difference_mm2(self) -> float:
        """Result less reference."""
        return self.result_mm2 - self.reference_mm2

    @property
    def gained(self) -> tuple[RegionMatch, ...]:
        """Regions of the result that the reference has not."""
        return tuple(match for match in self.result_regions if not match.is_hit)

    @property
    def lost(self) -> tuple[RegionMatch, ...]:
        """Regions of the reference that the result has not."""
        return tuple(match for match in self.reference_regions if not match.is_hit)


def compare_outlines(result: Outlines, reference: Outlines, mpp: Mpp) -> Agreement:
    """Compare two readers of one slide.

    Parameters
    ----------
    result, reference : Outlines
        Where the *reference* judged only a part of the slide, both are cut to that part. What the
        *result* did not judge is not cut: tumor in tissue that a run left out is tumor missed.
    mpp : Mpp
        Of level 0.

    Returns
    -------
    Agreement

    References
    ----------
    Dice 1945 (Ecology 26); Cohen 1960 (Educ. Psychol. Meas. 20); Huttenlocher et al. 1993 (IEEE
    TPAMI 15) for the Hausdorff distance.
    """
    judged_l0 = reference.judged_l0
    found_l0, true_l0 = _within(result.union_l0, judged_l0), _within(reference.union_l0, judged_l0)
    difference = Difference(
        only_areas(found_l0.intersection(true_l0)),
        only_areas(found_l0.difference(true_l0)),
        only_areas(true_l0.difference(found_l0)),
    )
    both, only_found, only_true = (_mm2(area, mpp) for area in difference)
    hausdorff, hausdorff95 = _hausdorff_um(found_l0, true_l0, mpp)
    return Agreement(
        dice=_ratio(2 * both, 2 * both + only_found + only_true),
        iou=_ratio(both, both + only_found + only_true),
        sensitivity=_ratio(both, both + only_true),
        precision=_ratio(both, both + only_found),
        kappa=_kappa(difference, _common(result.judged_l0, judged_l0), mpp),
        result_mm2=both + only_found,
        reference_mm2=both + only_true,
        hausdorff_um=hausdorff,
        hausdorff95_um=hausdorff95,
        result_regions=_matches(result, true_l0, judged_l0, mpp),
        reference_regions=_matches(reference, found_l0, judged_l0, mpp),
        difference=difference,
    )


def _within(area: Area, judged: Area | None) -> Area:
    return area if judged is None else only_areas(area.intersection(judged))


def _common(first: Area | None, second: Area | None) -> Area | None:
    return second if first is None else _within(first, second)


def _mm2(area_l0: Area, mpp: Mpp) -> float:
    return float(area_l0.area) * mpp.x * mpp.y / 1e6


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def _matches(
    outlines: Outlines, other_l0: Area, judged_l0: Area | None, mpp: Mpp
) -> tuple[RegionMatch, ...]:
    cut = [Outline(o.name, _within(o.area_l0, judged_l0)) for o in outlines.items]
    return tuple(
        RegionMatch(
            outline.name,
            _mm2(outline.area_l0, mpp),
            float(outline.area_l0.intersection(other_l0).area / outline.area_l0.area),
        )
        for outline in cut
        if not outline.area_l0.is_empty
    )


def _kappa(difference: Difference, judged_l0: Area | None, mpp: Mpp) -> float:
    if judged_l0 is None:
        return np.nan
    total = _mm2(judged_l0, mpp)
    both, only_found, only_true = (_mm2(_within(area, judged_l0), mpp) for area in difference)
    if total <= 0:
        return np.nan
    found, true = (both + only_found) / total, (both + only_true) / total
    observed = 1 - (only_found + only_true) / total
    by_chance = found * true + (1 - found) * (1 - true)
    return _ratio(observed - by_chance, 1 - by_chance)


def _hausdorff_um(first_l0: Area, second_l0: Area, mpp: Mpp) -> tuple[float, float]:
    """Return the Hausdorff distance of two boundaries, and its 95th percentile."""
    if first_l0.is_empty or second_l0.is_empty:
        return np.nan, np.nan
    first, second = _boundary_um(first_l0, mpp), _boundary_um(second_l0, mpp)
    there = cKDTree(second).query(first)[0]
    back = cKDTree(first).query(second)[0]
    q95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(max(there.max(), back.max())), float(q95)


def _boundary_um(area_l0: Area, mpp: Mpp) -> NDArray[np.float64]:
    scaled = shapely.transform(area_l0, lambda xy: xy * (mpp.x, mpp.y))
    points = shapely.get_coordinates(shapely.segmentize(scaled.boundary, BOUNDARY_STEP_UM))
    return np.asarray(points, np.float64)
