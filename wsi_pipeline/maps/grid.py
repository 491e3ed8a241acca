"""The grid: cells and patches of one slide, by arithmetic from their indices alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Box, Mpp

EDGE_TOLERANCE_PX = 1.0
"""A remainder below this many px at the model's µm/px makes no further row or column of cells."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of patches classified together: one task, one chunk of the working store."""

    row: int
    """First patch row."""
    col: int
    """First patch column."""
    n_rows: int
    n_cols: int


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Cells of `stride_px` and patches of `patch_px` over the scanned bounds of a slide.

    A cell is a square of the map; a patch is what the model sees. With stride = patch they are the
    same. With a shorter stride patch (r, c) starts at cell (r, c) and covers `cells_per_patch`
    cells along each axis. Every position is computed from the index, never by adding strides, so
    that no error grows across a wide slide.
    """

    origin_l0: tuple[int, int]
    """x, y of cell (0, 0), level-0 px: the slide's origin or its scanned bounds."""
    size_l0: tuple[int, int]
    """Width and height that the grid has to cover, level-0 px."""
    mpp: Mpp
    """Of level 0, µm/px."""
    patch_px: int
    """Side of a patch at the model's µm/px."""
    stride_px: int
    """Side of a cell at the model's µm/px; divides `patch_px`."""
    spacing_um_px: float
    """The model's µm/px."""
    whole_patches: bool = False
    """Rows and columns are as many as whole patches side by side need, so that every `stride` px a
    patch may start without leaving out the last that others would reach."""

    def __post_init__(self) -> None:
        if not 0 < self.stride_px <= self.patch_px or self.patch_px % self.stride_px:
            divisors = [d for d in range(1, self.patch_px + 1) if self.patch_px % d == 0]
            raise ConfigError(
                f"stride {self.stride_px} px does not divide the model's {self.patch_px} px patch",
                f"Choose one of {divisors}",
            )

    @classmethod
    def cover(
        cls,
        bounds_l0: Box,
        mpp: Mpp,
        *,
        patch_px: int,
        stride_px: int,
        spacing_um_px: float,
        whole_patches: bool = False,
    ) -> TileGrid:
        """Return the grid over the scanned bounds of a slide."""
        return cls(
            (bounds_l0.x, bounds_l0.y),
            (bounds_l0.width, bounds_l0.height),
            mpp,
            patch_px,
            stride_px,
            spacing_um_px,
            whole_patches,
        )

    @property
    def pixel_l0(self) -> tuple[float, float]:
        """Level-0 px per px at the model's µm/px, along x and y."""
        return (self.spacing_um_px / self.mpp.x, self.spacing_um_px / self.mpp.y)

    @property
    def step_l0(self) -> tuple[float, float]:
        """Side of a cell along x and y, level-0 px."""
        x, y = self.pixel_l0
        return (self.stride_px * x, self.stride_px * y)

    @property
    def cols(self) -> int:
        """Number of cell columns; the last may reach past the edge."""
        return self._count(0)

    @property
    def rows(self) -> int:
        """Number of cell rows; the last may reach past the edge."""
        return self._count(1)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells: (rows, columns)."""
        return (self.rows, self.cols)

    @property
    def cells_per_patch(self) -> int:
        """Cells along one side of a patch."""
        return self.patch_px // self.stride_px

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Patch positions: (rows, columns). Equal to `shape` where stride = patch."""
        k = self.cells_per_patch - 1
        return (max(self.rows - k, 1), max(self.cols - k, 1))

    @property
    def cell_area_mm2(self) -> float:
        """Area of one cell, mm²."""
        return (self.stride_px * self.spacing_um_px) ** 2 / 1e6

    def l0_from_grid(self, row: float, col: float) -> tuple[float, float]:
        """Return level-0 x, y of the upper left corner of cell (row, col)."""
        x, y = self.step_l0
        return (self.origin_l0[0] + col * x, self.origin_l0[1] + row * y)

    def grid_from_l0(self, x_l0: float, y_l0: float) -> tuple[float, float]:
        """Return the fractional (row, col) of a level-0 point."""
        x, y = self.step_l0
        return ((y_l0 - self.origin_l0[1]) / y, (x_l0 - self.origin_l0[0]) / x)

    def blocks(self, side: int) -> Iterator[Block]:
        """Yield blocks of at most `side` x `side` patches that cover every patch once."""
        n_rows, n_cols = self.patch_shape
        for row in range(0, n_rows, side):
            for col in range(0, n_cols, side):
                yield Block(row, col, min(side, n_rows - row), min(side, n_cols - col))

    def _count(self, axis: int) -> int:
        size_px = self.size_l0[axis] / self.pixel_l0[axis]
        side_px = self.patch_px if self.whole_patches else self.stride_px
        n_sides = max(1, math.ceil((size_px - EDGE_TOLERANCE_PX) / side_px))
        return n_sides * (side_px // self.stride_px)
