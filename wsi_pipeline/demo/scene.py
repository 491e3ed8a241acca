"""Where things lie on a synthetic slide: slow random fields on a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask, FloatArray, Size

MPP = 4.0
"""µm/px of level 0; the other lengths of this package are in pixels of this size."""
COARSE_PX = 16
"""Side of a cell of the layout."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The layout of one slide: fields on cells of `COARSE_PX`, positive inside their outline."""

    size_px: Size
    tissue: FloatArray
    """Signed distance from the tissue's edge, cells."""
    tumor: FloatArray
    """Signed distance from the tumor's edge, cells."""
    fat: FloatArray
    """Positive where fat rather than stroma, about -2 to 2."""
    density: FloatArray
    """Slow random field, mean 0, spread 1: loose to dense stroma, cords to sheets of tumor."""
    turn: FloatArray
    """Slow random field that chooses between the two directions of fibers."""
    bend_x: FloatArray
    bend_y: FloatArray
    """Displacement of the textures, px."""


def lay_out(size_px: Size, rng: np.random.Generator) -> Scene:
    """Return a random scene of two pieces of tissue and two foci of tumor."""
    shape = (-(-size_px.height // COARSE_PX) + 1, -(-size_px.width // COARSE_PX) + 1)
    side = min(shape)
    wobble = _noise(rng, shape, side / 22) * 0.045 + _noise(rng, shape, side / 90) * 0.012
    tissue = _distance(_tissue_shape(shape) + wobble > 0)
    edge = 1.3 * wobble + 0.03 * _noise(rng, shape, side / 45)
    in_tumor = (_tumor_shape(shape) + edge > 0) & (tissue > 2)
    tumor = _distance(ndimage.binary_fill_holes(in_tumor))
    fat = _noise(rng, shape, side / 16) + 0.5 * _noise(rng, shape, side / 50)
    fat = fat + 0.3 - np.clip((tumor + 12) / 12, 0, 1.5) - _core(shape)
    for sigma in (7, 16):  # fibrous septa through the fat
        fat = fat - 2.5 * np.exp(-((_noise(rng, shape, sigma) / 0.07) ** 2))
    return Scene(
        size_px=size_px,
        tissue=tissue,
        tumor=tumor,
        fat=fat.astype(np.float32),
        density=_noise(rng, shape, 14),
        turn=_noise(rng, shape, 22),
        bend_x=25 * _noise(rng, shape, 8) + 110 * _noise(rng, shape, 30),
        bend_y=25 * _noise(rng, shape, 8) + 110 * _noise(rng, shape, 30),
    )


def upsample(coarse: FloatArray, rows: slice, cols: slice) -> FloatArray:
    """Interpolate a field of the layout linearly to a window of the picture, float32."""
    along_y = _interpolate(coarse, rows)
    return np.ascontiguousarray(_interpolate(np.ascontiguousarray(along_y.T), cols).T)


def _interpolate(field: FloatArray, pixels: slice) -> FloatArray:
    """Interpolate linearly along the first axis, clamped at the ends."""
    position = (np.arange(pixels.start, pixels.stop, dtype=np.float32) + 0.5) / COARSE_PX - 0.5
    position = np.clip(position, 0, field.shape[0] - 1)
    low = np.minimum(position.astype(np.int32), field.shape[0] - 2)
    weight = (position - low)[:, None]
    return np.asarray(field[low] * (1 - weight) + field[low + 1] * weight, np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> FloatArray:
    """Smooth random field of spread 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="reflect")
    field -= field.mean()
    return np.asarray((field / field.std()), np.float32)


def _distance(mask: BoolMask) -> FloatArray:
    """Signed distance from the edge of a mask, positive inside, slightly smoothed."""
    signed = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return np.asarray(ndimage.gaussian_filter(signed.astype(np.float32), 1.0), np.float32)


def _ellipse(
    shape: tuple[int, int], center: tuple[float, float], axes: tuple[float, float], angle: float
) -> FloatArray:
    """1 at the center, 0 on the ellipse, negative outside; x, y as shares of the short side."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / min(shape)
    x, y = x - center[0] * shape[1] / min(shape), y - center[1] * shape[0] / min(shape)
    along = (x * np.cos(angle) + y * np.sin(angle)) / axes[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / axes[1]
    return np.asarray((1 - np.hypot(along, across)), np.float32)


def _tissue_shape(shape: tuple[int, int]) -> FloatArray:
    """Return what is positive in a large piece and in a smaller one beside it."""
    large = _ellipse(shape, (0.40, 0.50), (0.44, 0.36), 0.2)
    small = _ellipse(shape, (0.88, 0.66), (0.12, 0.19), -0.3)
    return np.asarray(np.maximum(large, small * 0.4), np.float32)


def _tumor_shape(shape: tuple[int, int]) -> FloatArray:
    """Return what is positive in a main focus and in two lesser ones."""
    foci = (
        (_ellipse(shape, (0.31, 0.45), (0.17, 0.13), -0.5), 0.35),
        (_ellipse(shape, (0.50, 0.66), (0.075, 0.06), 0.9), 0.16),
        (_ellipse(shape, (0.87, 0.60), (0.06, 0.045), 0.3), 0.13),
    )
    return np.asarray(np.max([field * weight for field, weight in foci], axis=0), np.float32)


def _core(shape: tuple[int, int]) -> FloatArray:
    """How far a place belongs to the stroma-rich core of the large piece."""
    return np.asarray(
        np.clip(1.6 * _ellipse(shape, (0.43, 0.50), (0.36, 0.26), 0.2), -0.8, 0.8), np.float32
    )
