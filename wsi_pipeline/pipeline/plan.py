"""Everything that is decided about a slide before a pixel of a block is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.annotations import ANNOTATION_SUFFIXES
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, NotAssessableError, TissueError
from wsi_pipeline.geometry import BoolMask, Box, FloatArray, Mpp
from wsi_pipeline.maps.coarse import coarse_positions
from wsi_pipeline.maps.grid import Block, TileGrid
from wsi_pipeline.slides import (
    ReadPlan,
    SlideInfo,
    SlideSource,
    Thumbnail,
    plan_read,
    read_thumbnail,
    require_mpp,
)
from wsi_pipeline.tissue import (
    Glass,
    MaskFrame,
    QualityFlag,
    TissueMask,
    TissueParameters,
    UserMask,
    WhiteBalance,
    area_fraction,
    mask_from_annotations,
    mask_from_png,
    segment_tissue,
    why_not_assessable,
)
from wsi_pipeline.tissue.quality import MIN_PEN_SHARE

LARGEST_BLOCK_PX = 4096
"""What one task reads at most where a single patch is large, px of the level read."""


@dataclass(frozen=True, slots=True, eq=False)
class SlidePlan:
    """What will be read and classified."""

    source: SlideSource
    info: SlideInfo
    mpp: Mpp
    bounds_l0: Box
    grid: TileGrid
    read_plan: ReadPlan
    tissue_mask: TissueMask
    thumbnail: Thumbnail
    """What the mask was made from."""
    white_balance: WhiteBalance
    """What is done to the light of every patch before anything else."""
    tissue: FloatArray
    """float32, shape (rows, cols): tissue fraction of each cell."""
    patch_tissue: FloatArray
    """float32, shape of the patch positions: that of each patch."""
    keep: BoolMask
    """bool, shape of the patch positions: True = classify."""
    between: BoolMask
    """bool, same shape: patches between them that may be added where outlines run."""
    blocks: tuple[Block, ...]
    """Those that hold such a patch; no other is read."""
    block_side: int
    """Patches along a side of a block."""
    notes: tuple[str, ...] = ()
    """What has to be said of the user's mask."""

    @property
    def n_patches(self) -> int:
        """Patches to classify."""
        return int(self.keep.sum())

    @property
    def glass_rgb(self) -> tuple[int, int, int]:
        """Color of empty glass on balanced patches."""
        return self.white_balance.color(self.tissue_mask.glass_rgb)

    @property
    def lattice_step(self) -> int:
        """Steps of the grid between two patches of `keep`: more than 1 where others may follow."""
        return self.grid.cells_per_patch if self.grid.whole_patches else 1

    def only(self, keep: BoolMask) -> SlidePlan:
        """Return the plan for some of its patches, blocks in the same places."""
        blocks = tuple(block for block in self.blocks if within(keep, block).any())
        return replace(self, keep=keep, blocks=blocks)


def plan_slide(
    source: SlideSource, config: Config, card: ModelCard, mask_path: Path | None = None
) -> SlidePlan:
    """Open a slide, find its tissue and decide what to read.

    Raises
    ------
    SlideError
        Where the slide cannot be opened, has no usable µm/px, is coarser than the model needs, or
        could not show a tumor.
    ConfigError
        Where the stride does not fit the model's patch.
    TissueError
        Where the user's mask cannot be used, or leaves nothing to classify.
    """
    reader = source.open_shared()
    mpp = require_mpp(reader.info)
    bounds = reader.pyramid.bounds_l0
    grid = grid_over(bounds, mpp, config, card)
    read_plan = plan_read(reader.pyramid, mpp, card.spacing_um_px, grid.origin_l0)
    thumbnail = read_thumbnail(reader, mpp, config.tissue.mask_um_px)
    require_assessable(thumbnail, reader.info)
    notes: tuple[str, ...] = ()
    mask = find_tissue(thumbnail, config, reader.info.background_rgb)
    if mask_path is not None:
        by_user = user_mask(mask_path, mask, mpp, bounds)
        mask, notes = by_user.mask, by_user.notes
    tissue = mask_fraction(mask.mask, mask.um_px, grid, patches=False)
    patch_tissue = tissue
    if grid.cells_per_patch > 1:
        patch_tissue = mask_fraction(mask.mask, mask.um_px, grid, patches=True)
    possible = patch_tissue >= max(config.tissue.min_tissue_share, 1e-6)
    keep = coarse_positions(possible, grid.cells_per_patch) if grid.whole_patches else possible
    if mask_path is not None:
        _refuse_if_empty(mask_path, mask, keep)
    side = block_side(read_plan, grid, config.execution.block_px)
    return SlidePlan(
        source=source,
        info=reader.info,
        mpp=mpp,
        bounds_l0=bounds,
        grid=grid,
        read_plan=read_plan,
        tissue_mask=mask,
        thumbnail=thumbnail,
        white_balance=balance_of(mask.glass, config, card),
        tissue=tissue,
        patch_tissue=patch_tissue,
        keep=keep,
        between=possible & ~keep,
        blocks=tuple(block for block in grid.blocks(side) if within(possible, block).any()),
        block_side=side,
        notes=notes,
    )


def balance_of(glass: Glass, config: Config, card: ModelCard) -> WhiteBalance:
    """Return what is done to a slide's light, by its glass and that of the training data."""
    if config.slide.white_balance == "none":
        return WhiteBalance.switched_off(glass)
    return WhiteBalance.to_reference(glass, card.glass_rgb)


def require_assessable(thumbnail: Thumbnail, info: SlideInfo) -> None:
    """Refuse a slide whose pixels could not show a tumor: "none found" would be no finding.

    Raises
    ------
    NotAssessableError
        Where it is gray, nearly black, or bright on a black ground.
    """
    why = why_not_assessable(thumbnail.rgb, info.background_rgb)
    if why:
        raise NotAssessableError(
            f"{info.path.name} is not assessable: its picture is {why}",
            "The classifier needs stained tissue in bright field, in 8 bits and color: export the "
            "slide so",
        )


def grid_over(bounds_l0: Box, mpp: Mpp, config: Config, card: ModelCard) -> TileGrid:
    """Return the grid of a slide as the configuration and the model want it.

    Raises
    ------
    ConfigError
        Where the stride does not fit the model's patch.
    """
    step = config.tiling.border_step
    if card.patch_size_px % step:
        raise ConfigError(
            f"tiling.border_step {step} does not divide the model's {card.patch_size_px} px patch",
            f"Choose one of {[d for d in range(1, 17) if card.patch_size_px % d == 0]}",
        )
    return TileGrid.cover(
        bounds_l0,
        mpp,
        patch_px=card.patch_size_px,
        stride_px=config.tiling.stride_px or card.patch_size_px // step,
        spacing_um_px=card.spacing_um_px,
        whole_patches=step > 1,
    )


def find_tissue(
    thumbnail: Thumbnail, config: Config, background_rgb: tuple[int, int, int]
) -> TissueMask:
    """Return the tissue mask in the thumbnail's frame."""
    parameters = TissueParameters(
        min_tissue_um2=config.tissue.min_part_mm2 * 1e6,
        max_hole_um2=config.tissue.max_hole_mm2 * 1e6,
    )
    mask = segment_tissue(
        thumbnail.rgb,
        um_px=(thumbnail.um_px, thumbnail.um_px),
        background_rgb=background_rgb,
        parameters=parameters,
    )
    # What cannot be read may be tissue: it is tried at full resolution, and counted as lost there.
    return replace(mask, mask=mask.mask | thumbnail.lost) if thumbnail.lost.any() else mask


def user_mask(path: Path, automatic: TissueMask, mpp: Mpp, bounds_l0: Box) -> UserMask:
    """Return a user's mask: outlines in level-0 px, or a picture of the scanned bounds."""
    if path.name.lower().endswith(ANNOTATION_SUFFIXES):
        downsample = (automatic.um_px[0] / mpp.x, automatic.um_px[1] / mpp.y)
        # The mask covers the scanned bounds, to which QuPath crops too: both start at (0, 0).
        frame = MaskFrame((0, 0), downsample, (bounds_l0.x, bounds_l0.y))
        return mask_from_annotations(path, automatic, frame)
    return mask_from_png(path, automatic)


def _refuse_if_empty(mask_path: Path, mask: TissueMask, keep: BoolMask) -> None:
    """Refuse a user's mask that leaves nothing to classify: it would read as "no tumor"."""
    if not keep.any():
        raise TissueError(
            f"the mask {mask_path.name} covers {mask.area_mm2:.4g} mm², too little for one patch",
            "Draw larger areas, or lower tissue.min_tissue_share",
        )


def pen_flags(plan: SlidePlan, *, patches: bool = False) -> NDArray[np.uint8]:
    """Return `QualityFlag.PEN` for every cell, or patch position, under a stroke of a pen.

    The overview shows the shape of a stroke, without which ink over stained tissue, and black ink,
    cannot be told from tissue by a single patch.
    """
    mask = plan.tissue_mask
    if not mask.artifacts.pen.any():
        return np.zeros(plan.grid.patch_shape if patches else plan.grid.shape, np.uint8)
    under = mask_fraction(mask.artifacts.pen, mask.um_px, plan.grid, patches=patches)
    return (under >= MIN_PEN_SHARE).astype(np.uint8) * np.uint8(QualityFlag.PEN)


def mask_fraction(
    mask: BoolMask, um_px: tuple[float, float], grid: TileGrid, *, patches: bool
) -> FloatArray:
    """Return the fraction of every cell, or of every patch position, under a mask, float32."""
    rows, cols = grid.patch_shape if patches else grid.shape
    side_um = grid.spacing_um_px * (grid.patch_px if patches else grid.stride_px)
    step_um = grid.spacing_um_px * grid.stride_px
    x, y = np.arange(cols) * step_um / um_px[0], np.arange(rows) * step_um / um_px[1]
    return area_fraction(
        mask,
        x_start=x,
        x_stop=x + side_um / um_px[0],
        y_start=y,
        y_stop=y + side_um / um_px[1],
    )


def block_side(read_plan: ReadPlan, grid: TileGrid, block_px: int) -> int:
    """Return the patches along a side of a block so that a task reads about `block_px` level px."""
    ratio = max(read_plan.ratio)

    def fitting(side_px: float) -> int:
        return 1 + int((side_px / ratio - grid.patch_px) / grid.stride_px)

    return max(1, fitting(block_px), min(2, fitting(LARGEST_BLOCK_PX)))


def kept_in(keep: BoolMask, block: Block) -> tuple[Block, BoolMask] | None:
    """Return the smallest block around the kept patches of a block, and its part of `keep`."""
    inside = within(keep, block)
    if not inside.any():
        return None
    rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, left = int(rows[0]), int(cols[0])
    n_rows, n_cols = int(rows[-1]) - top + 1, int(cols[-1]) - left + 1
    inner = Block(block.row + top, block.col + left, n_rows, n_cols)
    return inner, inside[top : top + n_rows, left : left + n_cols]


def overlay_um_px(plan: SlidePlan, wanted_um_px: float, min_side_px: int = 1200) -> float:
    """Return the resolution of the pictures: as wanted, finer where the slide is small."""
    extent_um = max(plan.bounds_l0.width * plan.mpp.x, plan.bounds_l0.height * plan.mpp.y)
    finest = max(plan.mpp.x, plan.mpp.y)
    return max(finest, min(wanted_um_px, extent_um / min_side_px))


def within(keep: BoolMask, block: Block) -> BoolMask:
    """Return a block's part of `keep`, a view of shape (block.n_rows, block.n_cols)."""
    return keep[block.row : block.row + block.n_rows, block.col : block.col + block.n_cols]
