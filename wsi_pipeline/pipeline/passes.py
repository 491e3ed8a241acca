"""The passes over a slide, each over the patches that are chosen; what is in store is kept."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import wsi_pipeline
from wsi_pipeline.classifier import ModelCard, ModelRequest
from wsi_pipeline.config import Config
from wsi_pipeline.execution.block_executor import BlockExecutor
from wsi_pipeline.maps import BlockStore
from wsi_pipeline.pipeline.blocks import BlockOutcome, block_tasks, classify_block, feature_layers
from wsi_pipeline.pipeline.choices import PatchChoice
from wsi_pipeline.pipeline.familiarity import recalibrated, slide_familiarity
from wsi_pipeline.pipeline.plan import SlidePlan
from wsi_pipeline.stain import StainNormalizer

Progress = Callable[[int, int], None]
"""Called with the patches done and the patches in all."""


@dataclass(frozen=True, slots=True)
class BlockStores:
    """Where the blocks of a slide are kept until all are done."""

    folder: Path
    """Of the first pass; those of later passes lie inside."""
    map_sha256: str
    """Of all that the numbers of the slide's map depend on."""

    def store(self, plan: SlidePlan, number: int, layers: tuple[str, ...]) -> BlockStore:
        """Open the store of a pass, counted from 1; blocks of another plan are discarded."""
        keep_sha256 = hashlib.sha256(plan.keep.tobytes()).hexdigest()
        identity = (self.map_sha256, plan.info.quickhash, plan.info.n_bytes, plan.mpp)
        return BlockStore.create_or_resume(
            self.folder if number == 1 else self.folder / f"pass_{number}",
            plan.grid.patch_shape,
            plan.block_side,
            "|".join(map(str, (*identity, wsi_pipeline.__version__, keep_sha256))),
            layers,
        )


def classify(
    plan: SlidePlan,
    choice: PatchChoice,
    config: Config,
    request: ModelRequest,
    normalizer: StainNormalizer | None,
    place: BlockStores,
    executor: BlockExecutor,
    progress: Progress | None,
    card: ModelCard,
) -> tuple[dict[str, NDArray[Any]], list[BlockOutcome]]:
    """Classify what is not in store yet, pass by pass.

    Where the card knows what is familiar, the network's features are kept too, see
    `feature_layers`; each pass is chosen by what is then known of the slide.

    Returns
    -------
    layers : dict of str to ndarray, shape of the patch positions
        See `BlockStore.read_all`; not classified where no pass chose the patch.
    outcomes : list of BlockOutcome
        Of the blocks that were done now.
    """
    tta = config.inference.tta
    names = ("probability", "quality", *(("uncertainty",) if tta else ()))
    names += feature_layers(card.familiarity.n_features if card.familiarity else 0)
    count, outcomes = _Count(plan.n_patches, progress), list[BlockOutcome]()
    visited, layers = np.zeros_like(plan.keep), dict[str, NDArray[Any]]()
    keep = choice.first()
    for number in itertools.count(1):
        part = plan.only(keep)
        store = place.store(part, number, names)
        tasks = block_tasks(part, request, normalizer, store, tta=tta)
        count.add(part.n_patches - sum(int(task.keep.sum()) for task in tasks))

        def report(outcome: BlockOutcome) -> None:
            outcomes.append(outcome)
            count.add(outcome.n_patches + outcome.n_lost)

        executor.run(classify_block, tasks, report)
        found = store.read_all()
        layers = {n: np.where(keep, found[n], layers[n]) for n in layers} or found
        visited |= keep
        if not ((plan.keep | plan.between) & ~visited).any():
            break  # nothing is left to choose from
        believed = recalibrated(layers["probability"], slide_familiarity(card, plan, layers))
        keep = choice.following(number, visited, believed)
        if not keep.any():
            break
        count.expect(int((visited | keep).sum()))
    count.add(count.total - count.done)  # what a coarse map was enough for
    return layers, outcomes


@dataclass(slots=True)
class _Count:
    """How many patches are done, told to whoever watches."""

    total: int
    progress: Progress | None
    done: int = 0

    def expect(self, n_patches: int) -> None:
        """Take in that there are at least so many in all."""
        self.total = max(self.total, n_patches)

    def add(self, n_patches: int) -> None:
        """Take in that some more are done."""
        self.done += n_patches
        if self.progress:
            self.progress(self.done, self.total)
