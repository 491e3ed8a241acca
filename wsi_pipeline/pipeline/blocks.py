"""One block: pixels, patches, probabilities. Knows nothing of who runs it, or where.

A task is plain data. Each process opens the slide and loads the model once, on its first task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelRequest, predict_views
from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import BoolMask, Box, FloatArray, RgbArray
from wsi_pipeline.maps import BlockStore
from wsi_pipeline.maps.grid import Block
from wsi_pipeline.pipeline.plan import SlidePlan, kept_in, within
from wsi_pipeline.slides import ReadPlan, SlideReader, SlideSource, read_canvas
from wsi_pipeline.stain import StainNormalizer
from wsi_pipeline.tissue import QualityFlag, WhiteBalance, patch_flags

PATCHES_AT_ONCE = 2048
"""Patches that are cut and classified together: bounds memory where patches overlap."""


FEATURE = "feature_"
"""Begins the name of a layer that holds one of the network's features."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockTask:
    """All that a worker needs to do one block."""

    source: SlideSource
    read_plan: ReadPlan
    block: Block
    keep: BoolMask
    """bool, shape (block.n_rows, block.n_cols): True = classify."""
    patch_px: int
    stride_px: int
    spacing_um_px: float
    model: ModelRequest
    white_balance: WhiteBalance
    normalizer: StainNormalizer | None
    tta: bool
    store: BlockStore

    @property
    def n_features(self) -> int:
        """Features of a patch that the store takes."""
        return sum(name.startswith(FEATURE) for name in self.store.layers)


def feature_layers(n_features: int) -> tuple[str, ...]:
    """Return the names of the layers that hold the network's features, one each."""
    return tuple(f"{FEATURE}{k:03d}" for k in range(n_features))


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What a block came to; its values are in the store."""

    n_patches: int
    n_lost: int
    """Patches whose pixels could not be read."""
    problem: str
    """The first read error, "" where there was none."""
    block: Block
    devices: tuple[str, ...]
    """What classified its patches; more than one where one of them failed in the middle."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Some patches of a block with their places in it."""

    pixels: RgbArray
    """uint8, shape (N, side, side, 3)."""
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]


def block_tasks(
    plan: SlidePlan,
    model: ModelRequest,
    normalizer: StainNormalizer | None,
    store: BlockStore,
    *,
    tta: bool,
) -> list[BlockTask]:
    """Return a task for each block of the plan that the store does not hold yet."""
    return [
        BlockTask(
            source=plan.source,
            read_plan=plan.read_plan,
            block=block,
            keep=within(plan.keep, block),
            patch_px=plan.grid.patch_px,
            stride_px=plan.grid.stride_px,
            spacing_um_px=plan.grid.spacing_um_px,
            model=model,
            white_balance=plan.white_balance,
            normalizer=normalizer,
            tta=tta,
            store=store,
        )
        for block in plan.blocks
        if not store.is_complete(block)
    ]


def classify_block(task: BlockTask) -> BlockOutcome:
    """Read a block, classify its kept patches and write the result to the store."""
    reader, classifier = task.source.open_shared(), task.model.load()
    shape = (task.block.n_rows, task.block.n_cols)
    probability = np.full(shape, np.nan, np.float32)
    spread = np.full(shape, np.nan, np.float32)
    features = np.full((*shape, task.n_features), np.nan, np.float32)
    quality = np.zeros(shape, np.uint8)
    n_lost, problem, devices = 0, "", dict[str, None]()
    for part in _read_parts(reader, task, Block(0, 0, *shape)):
        at = (part.rows, part.cols)
        if isinstance(part, _Lost):
            quality[at] |= np.uint8(QualityFlag.UNREADABLE)
            n_lost, problem = n_lost + len(part.rows), problem or part.problem
            continue
        pixels = task.white_balance.apply(part.pixels)
        quality[at] |= patch_flags(pixels, task.spacing_um_px)
        if task.normalizer is not None:
            pixels = task.normalizer.transform(pixels)
        if task.n_features or not task.tta:
            probability[at], seen = classifier.predict_features(pixels)
            if task.n_features and seen is not None:
                features[at] = seen
        if task.tta:
            probability[at], spread[at] = predict_views(classifier, pixels)
        devices[classifier.device] = None
    layers: dict[str, FloatArray | NDArray[np.uint8]] = {
        "probability": probability,
        "quality": quality,
    }
    if task.tta:
        layers["uncertainty"] = spread
    layers |= {name: features[..., k] for k, name in enumerate(feature_layers(task.n_features))}
    task.store.write_block(task.block, layers)
    n_patches = int(task.keep.sum()) - n_lost
    return BlockOutcome(n_patches, n_lost, problem, task.block, tuple(devices))


def cut_patches(
    canvas: RgbArray, rows: NDArray[np.intp], cols: NDArray[np.intp], patch_px: int, stride_px: int
) -> RgbArray:
    """Cut patches whose upper left corners are multiples of the stride, (N, side, side, 3)."""
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (patch_px, patch_px), axis=(0, 1))
    chosen = windows[rows * stride_px, cols * stride_px]
    return np.ascontiguousarray(chosen.transpose(0, 2, 3, 1))


@dataclass(frozen=True, slots=True, eq=False)
class _Lost:
    """Patches that cannot be read."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    problem: str


def _read_parts(reader: SlideReader, task: BlockTask, part: Block) -> Iterator[Patches | _Lost]:
    """Yield the kept patches of a part of the block; halve the part where the file is damaged.

    A block is read as one rectangle. Only where that fails is it read in halves, down to single
    patches, so that a bad place in the file costs the patches that touch it and no more.
    """
    inside = kept_in(task.keep, part)
    if inside is None:
        return
    inner, keep = inside
    try:
        canvas = read_canvas(reader, task.read_plan, _box_px(task, inner))
    except ReadError as error:
        if inner.n_rows == inner.n_cols == 1:
            yield _Lost(np.array([inner.row]), np.array([inner.col]), str(error))
            return
        for half in _halves(inner):
            yield from _read_parts(reader, task, half)
        return
    rows, cols = np.nonzero(keep)
    for start in range(0, len(rows), PATCHES_AT_ONCE):
        some = slice(start, start + PATCHES_AT_ONCE)
        pixels = cut_patches(canvas, rows[some], cols[some], task.patch_px, task.stride_px)
        yield Patches(pixels, rows[some] + inner.row, cols[some] + inner.col)


def _box_px(task: BlockTask, part: Block) -> Box:
    """Return the canvas px of a part of the block (its rows and columns count from the block's)."""
    stride, patch = task.stride_px, task.patch_px
    return Box(
        (task.block.col + part.col) * stride,
        (task.block.row + part.row) * stride,
        (part.n_cols - 1) * stride + patch,
        (part.n_rows - 1) * stride + patch,
    )


def _halves(part: Block) -> tuple[Block, Block]:
    if part.n_rows >= part.n_cols:
        n = part.n_rows // 2
        return (
            Block(part.row, part.col, n, part.n_cols),
            Block(part.row + n, part.col, part.n_rows - n, part.n_cols),
        )
    n = part.n_cols // 2
    return (
        Block(part.row, part.col, part.n_rows, n),
        Block(part.row, part.col + n, part.n_rows, part.n_cols - n),
    )
