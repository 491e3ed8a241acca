"""Small pieces of tissue, cores and strips, cut from whole mounts with truth: to fit and to judge.

A map is refined by the neighbors of a cell. What that does to needle biopsies and tissue
microarrays cannot be seen on whole mounts, so pieces are cut from these off the grid and laid on
glass side by side, as pictures that the pipeline runs like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import BoolMask, Box, RgbArray
from wsi_pipeline.learning.data.truth import SlideTruth
from wsi_pipeline.slides import open_slide, plan_read, read_canvas, require_mpp

OTHER: Final = 1
IDC: Final = 2
GLASS_RGB: Final = (241, 239, 241)
"""Of the IDC archive."""
GAP_UM: Final = 600.0
"""Glass between pieces, as in tissue microarrays; more than a patch."""
MIN_TISSUE: Final = 0.15
"""Share of a cell on tissue from which it is labelled."""
MIN_AGREEMENT: Final = 0.8
"""Share of a cell's labelled tissue that must be of one label."""
TRIES: Final = 400


@dataclass(frozen=True, slots=True)
class Shape:
    """What is cut: a disc where length and width are equal, else a strip with round ends."""

    width_um: float
    length_um: float
    pure: bool = True
    """All of one label."""

    def mask(self, um_px: float, *, upright: bool) -> BoolMask:
        """Return its pixels, bool (h, w)."""
        width, length = (max(1, round(um / um_px)) for um in (self.width_um, self.length_um))
        y, x = np.mgrid[:length, :width] + 0.5
        radius = width / 2
        beyond = np.maximum(0.0, np.maximum(radius - y, y - (length - radius)))
        inside = beyond**2 + (x - radius) ** 2 <= radius**2
        return inside if upright else inside.T


CORES: Final = (Shape(600, 600), Shape(1000, 1000))
STRIPS: Final = (Shape(800, 6000, pure=False), Shape(1200, 4000, pure=False))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A cut piece."""

    rgb: RgbArray
    """uint8, shape (h, w, 3), glass outside."""
    inside: BoolMask
    truth: NDArray[np.uint8]
    """uint8, shape (h, w): 0 outside, `OTHER` or `IDC`."""


@dataclass(frozen=True, slots=True, eq=False)
class Mount:
    """Pieces on one glass."""

    rgb: RgbArray
    um_px: float
    cells: NDArray[np.uint8]
    """uint8, shape (rows, cols): 0 = no label, `OTHER` or `IDC`."""
    piece_of_cell: NDArray[np.intp]
    """Shape (rows, cols): the piece, -1 = none."""
    share_of_cell: NDArray[np.float64]
    """Shape (rows, cols): share of the cell on a piece."""


def cut_pieces(
    truth: SlideTruth,
    patch_px: int,
    um_px: float,
    wanted: Sequence[tuple[Shape, int, int]],
    rng: np.random.Generator,
) -> list[Piece]:
    """Cut pieces from a slide at random places off the grid.

    Parameters
    ----------
    truth : SlideTruth
    patch_px : int
        Side of a truth cell at `um_px`.
    um_px : float
        Of the pictures.
    wanted : sequence of (Shape, int, int)
        Shape, label (`OTHER` or `IDC`; the middle's where the shape is not pure), and how many at
        most.
    rng : numpy.random.Generator

    Returns
    -------
    list of Piece
        Fewer than wanted where the slide has no place for more. They may overlap.
    """
    labels = np.repeat(np.repeat(truth.cells, patch_px, 0), patch_px, 1)
    with open_slide(truth.slide_path) as reader:
        bounds = reader.pyramid.bounds_l0
        plan = plan_read(reader.pyramid, require_mpp(reader.info), um_px, (bounds.x, bounds.y))
        rgb = read_canvas(reader, plan, Box(0, 0, labels.shape[1], labels.shape[0]))
    return [
        piece
        for shape, label, n in wanted
        for piece in _cut(rgb, labels, shape, label, n, um_px, rng)
    ]


def _cut(
    rgb: RgbArray,
    labels: NDArray[np.uint8],
    shape: Shape,
    label: int,
    n_wanted: int,
    um_px: float,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    ys, xs = np.nonzero(labels == label)
    masks = [shape.mask(um_px, upright=upright) for upright in (False, True)]
    found = 0
    for _ in range(TRIES if len(ys) else 0):
        if found == n_wanted:
            return
        inside = masks[int(rng.integers(2))]
        height, width = inside.shape
        chosen = int(rng.integers(len(ys)))
        top, left = int(ys[chosen]) - height // 2, int(xs[chosen]) - width // 2
        if top < 0 or left < 0:
            continue
        place = np.s_[top : top + height, left : left + width]
        under = labels[place]
        if under.shape != inside.shape or not under[inside].all():
            continue
        if shape.pure and (under[inside] != label).any():
            continue
        found += 1
        picture = np.where(inside[..., None], rgb[place], np.array(GLASS_RGB, np.uint8))
        yield Piece(picture, inside, np.where(inside, under, 0).astype(np.uint8))


def mount(pieces: Sequence[Piece], patch_px: int, um_px: float, rng: np.random.Generator) -> Mount:
    """Lay pieces on glass in rows, each off the grid by a chance of its own."""
    gap = round(GAP_UM / um_px)
    side = max(max(piece.inside.shape) for piece in pieces)
    per_row = max(1, round(np.sqrt(len(pieces))))
    pitch = side + gap + patch_px
    n_rows = -(-len(pieces) // per_row)
    shape = (n_rows * pitch + gap, per_row * pitch + gap)
    rgb = np.empty((*shape, 3), np.uint8)
    rgb[:] = GLASS_RGB
    labels, owner = np.zeros(shape, np.uint8), np.full(shape, -1, np.intp)
    for number, piece in enumerate(pieces):
        row, col = divmod(number, per_row)
        shift = rng.integers(0, patch_px, 2)
        top, left = gap + row * pitch + int(shift[0]), gap + col * pitch + int(shift[1])
        height, width = piece.inside.shape
        place = np.s_[top : top + height, left : left + width]
        rgb[place][piece.inside] = piece.rgb[piece.inside]
        labels[place][piece.inside] = piece.truth[piece.inside]
        owner[place][piece.inside] = number
    return Mount(rgb, um_px, *_on_cells(labels, owner, patch_px))


def _on_cells(
    labels: NDArray[np.uint8], owner: NDArray[np.intp], patch_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.float64]]:
    """Return label, piece and share on tissue of each cell."""
    rows, cols = (-(-n // patch_px) for n in labels.shape)
    margin = [(0, rows * patch_px - labels.shape[0]), (0, cols * patch_px - labels.shape[1])]
    blocks = (rows, patch_px, cols, patch_px)
    label = np.pad(labels, margin).reshape(blocks)
    share = (label > 0).mean((1, 3))
    idc = (label == IDC).mean((1, 3)) / np.maximum(share, 1e-9)
    cells = np.zeros((rows, cols), np.uint8)
    cells[(share >= MIN_TISSUE) & (idc >= MIN_AGREEMENT)] = IDC
    cells[(share >= MIN_TISSUE) & (idc <= 1 - MIN_AGREEMENT)] = OTHER
    piece = np.pad(owner, margin, constant_values=-1).reshape(blocks).max((1, 3))
    return cells, piece, share
