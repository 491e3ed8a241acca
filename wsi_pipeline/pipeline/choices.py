"""Which patches each pass over a slide takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from wsi_pipeline.classifier import ContextRefinement, ModelCard
from wsi_pipeline.config import Config, RegionsSection
from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.border import border_cells, border_positions, lattice_steps, with_between
from wsi_pipeline.maps.coarse import coarse_positions, positions_to_refine
from wsi_pipeline.maps.grid import TileGrid
from wsi_pipeline.maps.regions import SMOOTHING_PATCHES, smooth
from wsi_pipeline.pipeline.plan import SlidePlan


class PatchChoice(Protocol):
    """The patches of one pass after another."""

    def first(self) -> BoolMask:
        """Return the positions of the first pass."""
        ...

    def following(self, n_done: int, visited: BoolMask, probability: FloatArray) -> BoolMask:
        """Return the positions of the pass after `n_done` passes; none where it is settled.

        Parameters
        ----------
        n_done : int
            Passes, from 1.
        visited : ndarray of bool, shape of the patch positions
            What they have tried.
        probability : ndarray of float32, same shape
            NaN = not classified, or not readable.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CoarseToFine:
    """Every `step`-th patch, then those beside what may be tumor; with step 1 all at once."""

    keep: BoolMask
    step: int
    refine_above: float

    def first(self) -> BoolMask:
        """Return every `step`-th position."""
        return coarse_positions(self.keep, self.step)

    def following(self, n_done: int, visited: BoolMask, probability: FloatArray) -> BoolMask:  # noqa: ARG002
        """Return those beside a patch of at least `refine_above`."""
        return positions_to_refine(self.keep, visited, probability, self.step, self.refine_above)


@dataclass(frozen=True, slots=True, eq=False)
class BorderRefinement:
    """Patches side by side, then those between them where outlines run."""

    keep: BoolMask
    between: BoolMask
    grid: TileGrid
    context: ContextRefinement | None
    """Outlines are drawn on the map that it refines."""
    level: float
    """Probability that outlines run along."""
    tissue: FloatArray
    """Tissue fraction of every patch, float32, same shape."""
    share: float
    """Patches that may be added, as a share of those of the first pass."""

    @classmethod
    def of(cls, plan: SlidePlan, config: Config, card: ModelCard) -> Self:
        """Return the choice at the model's own threshold, which the map is then the finest at.

        The settings of regions have no part in it: with other ones they are found anew from the
        same map.
        """
        context = card.context if config.inference.context else None
        level = (context or card).threshold * RegionsSection().low_share
        share, tissue = config.tiling.border_share, plan.patch_tissue
        return cls(plan.keep, plan.between, plan.grid, context, level, tissue, share)

    def first(self) -> BoolMask:
        """Return the patches side by side."""
        return self.keep

    def following(self, n_done: int, visited: BoolMask, probability: FloatArray) -> BoolMask:
        """Return those between, half the step of the pass before apart, that are near the level."""
        steps = lattice_steps(self.grid.cells_per_patch)
        if n_done >= len(steps):
            return np.zeros_like(self.keep)
        candidates = coarse_positions(self.between & ~visited, steps[n_done])
        n_most = int(self.share * self.keep.sum()) - int((visited & ~self.keep).sum())
        cells_per_patch = self.grid.cells_per_patch
        open_ = self.between & ~visited
        values = with_between(probability, self.keep, open_, cells_per_patch)
        if self.context is not None:
            values = self.context.refine(values, cells_per_patch, self.tissue)
        cells, _ = border_cells(values, probability, self.grid)
        return border_positions(
            smooth(cells, SMOOTHING_PATCHES * cells_per_patch),
            candidates,
            level=self.level,
            n_most=n_most // (len(steps) - n_done),
        )


def choice_of(plan: SlidePlan, config: Config, card: ModelCard) -> PatchChoice:
    """Return how the patches of a slide are chosen."""
    if plan.grid.whole_patches:
        return BorderRefinement.of(plan, config, card)
    return CoarseToFine(plan.keep, config.tiling.coarse_step or 1, config.tiling.refine_above)
