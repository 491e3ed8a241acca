"""From a plan to probabilities: blocks, and the passes over a slide that they are done in."""

from wsi_pipeline.inference.blocks import (
    BlockOutcome,
    ModelRequest,
    block_tasks,
    classify_block,
    classify_by,
    cut_patches,
)
from wsi_pipeline.inference.passes import Progress, Workplace, classify

__all__ = [
    "BlockOutcome",
    "ModelRequest",
    "Progress",
    "Workplace",
    "block_tasks",
    "classify",
    "classify_block",
    "classify_by",
    "cut_patches",
]
