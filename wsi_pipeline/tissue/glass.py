"""The color of empty glass on a slide: what its densities refer to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import BoolMask, RgbArray
from wsi_pipeline.tissue import morphology

MIN_GLASS_SHARE: Final = 0.005
"""Share of the scanned pixels that have to agree on a grey, yellow or blue before it is glass."""
MIN_PINK_SHARE: Final = 0.1
"""The same for a pink or violet, which may be pale tissue: only much of it, and flat, is glass."""
MIN_SMOOTH_SHARE: Final = 0.5
"""Share of the pixels of about a pink that have to be flat before it is glass."""
FLAT_LEVELS: Final = 6
"""Levels of green within 3 x 3 px of glass at most; tissue at 16 µm/px shows its texture."""
_DARKEST_GLASS = 100
_MAX_TINT_OD = 0.35
_MAX_PINK_OD = 0.25  # of the darkest channel over the brightest; a stain's color starts at 0.08
_PINK_MARGIN = 6
_BIN = 4
_RADIUS = 8  # levels: sensor noise, JPEG and a lamp's slow fall-off stay within
_MAX_CLUSTERS = 4
_SHIFTS = 5  # in which the mean shift of a flat kernel settles
_FILL_RIM_PX = 4  # JPEG rings around fill, at most so far
_PAINTED_SHARE = 0.945  # of one exact color in its cluster: fill has 0.95, the smoothest scan 0.94
_BRIGHTER_OD = 0.06
_ENOUGH_NEUTRAL = 0.02
_FILL_OD = 0.15  # fill is at most so much brighter than the glass beside it
_FILL_TINT_OD = 0.015


@dataclass(frozen=True, slots=True)
class Glass:
    """What a picture shows of empty glass."""

    rgb: tuple[int, int, int]
    """Mean color; what the reader paints outside the scan where no glass is seen."""
    share: float
    """Scanned pixels of that color, share of all scanned ones; 0 where no glass is seen."""

    @property
    def is_seen(self) -> bool:
        """True where the color was measured, False where it is assumed."""
        return self.share > 0


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Flat pixels of about one color."""

    rgb: NDArray[np.float64]
    share: float
    """Of the scanned pixels, less those of a commoner painted color."""
    is_painted: bool
    """Nearly all are of one exact color: no sensor measured that."""

    @property
    def density(self) -> NDArray[np.float64]:
        return -np.log(self.rgb / 255.0)

    @property
    def is_pink(self) -> bool:
        return bool(min(self.rgb[0], self.rgb[2]) - self.rgb[1] > _PINK_MARGIN)

    @property
    def may_be_glass(self) -> bool:
        tint = float(np.ptp(self.density))
        if self.is_pink:
            return tint <= _MAX_PINK_OD and self.share >= MIN_PINK_SHARE
        return tint <= _MAX_TINT_OD and self.share >= MIN_GLASS_SHARE


def estimate_glass(
    thumbnail: RgbArray, background_rgb: tuple[int, int, int] = (255, 255, 255)
) -> tuple[int, int, int]:
    """Return the color of empty glass, see `find_glass`; `background_rgb` where none is seen."""
    return find_glass(thumbnail, background_rgb).rgb


def find_glass(
    thumbnail: RgbArray, background_rgb: tuple[int, int, int] = (255, 255, 255)
) -> Glass:
    """Measure empty glass: the flat color that most of the slide, or its brightest part, has.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        Any picture of the slide, tissue included.
    background_rgb : tuple of int
        What the reader paints where nothing was scanned; also the answer where no glass is seen.

    Returns
    -------
    Glass

    Notes
    -----
    Glass has no texture, so that its pixels crowd around one color; a lamp that falls off toward
    the edges, dirt and JPEG spread them little. Both stains of H&E absorb green most: a flat grey,
    yellow or blue can only be glass, while a pink one may be pale tissue and is taken for glass
    where there is a lot of it and nothing colorless is brighter. Fill is left out, that of the
    reader and that which a scanner or a script painted beside glass: it is whiter than the glass.
    """
    unscanned = same_color(thumbnail, background_rgb)
    n_scanned = max(unscanned.size - int(np.count_nonzero(unscanned)), 1)
    clusters = _clusters(_flat_pixels(thumbnail, unscanned), n_scanned)
    able = [c for c in clusters if c.may_be_glass and (not c.is_pink or _is_smooth(c, thumbnail))]
    chosen = _choose(able, clusters)
    if chosen is None:
        return Glass(background_rgb, 0.0)
    r, g, b = (int(level) for level in chosen.rgb.round())
    return Glass((r, g, b), chosen.share)


def same_color(rgb: RgbArray, color: tuple[int, int, int]) -> BoolMask:
    """Return True where a pixel has exactly the color, shape (...)."""
    red, green, blue = color
    same = (rgb[..., 0] == red) & (rgb[..., 1] == green) & (rgb[..., 2] == blue)
    return np.asarray(same, dtype=bool)


def _flat_pixels(rgb: RgbArray, unscanned: BoolMask) -> RgbArray:
    """Return the pixels without texture that are bright enough for glass, uint8 (n, 3)."""
    green = np.ascontiguousarray(rgb[..., 1])
    lowest = morphology.box_filter(green, (3, 3), np.minimum)
    highest = morphology.box_filter(green, (3, 3), np.maximum)
    flat = highest - lowest <= FLAT_LEVELS
    for channel in range(3):  # a reduction over an axis of three is slow in numpy
        flat &= rgb[..., channel] >= _DARKEST_GLASS
    if unscanned.any():
        side = 2 * _FILL_RIM_PX + 1
        rows = side if len(rgb) > 1 else 1  # pixels pooled in one row have no neighbors below
        flat &= ~morphology.box_filter(unscanned, (rows, side), np.logical_or)
    return np.stack([rgb[..., channel][flat] for channel in range(3)], axis=-1)


def _clusters(pixels: RgbArray, n_scanned: int) -> list[_Cluster]:
    """Return the commonest colors, each with its surroundings, from many pixels to few."""
    colors, counts = _histogram(pixels)
    found = []
    for _ in range(_MAX_CLUSTERS):
        if counts.sum() < max(MIN_GLASS_SHARE * n_scanned, 1):
            break
        center = _mode(colors, counts)
        near = _around(center, colors)
        for _ in range(_SHIFTS):
            center = np.average(colors[near], axis=0, weights=counts[near])
            near = _around(center, colors)
        n_near = int(counts[near].sum())
        painted = counts[near].max() >= _PAINTED_SHARE * n_near
        found.append(_Cluster(center, n_near / n_scanned, bool(painted)))
        n_scanned -= n_near if painted and n_near < n_scanned else 0
        colors, counts = colors[~near], counts[~near]
    return found


def _around(center: NDArray[np.float64], colors: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(colors - center) <= _RADIUS).all(axis=1), dtype=bool)


def _histogram(pixels: RgbArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each color that there is, float64 (n, 3), and how often."""
    code = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    codes, counts = np.unique(code, return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    return colors.astype(np.float64), counts.astype(np.int64)


def _mode(colors: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean color of the fullest bin."""
    coarse = (colors // _BIN).astype(np.intp)
    side = math.ceil(256 / _BIN)
    code = (coarse[:, 0] * side + coarse[:, 1]) * side + coarse[:, 2]
    bins, place = np.unique(code, return_inverse=True)
    fullest = place == np.bincount(place, weights=counts, minlength=len(bins)).argmax()
    return np.asarray(np.average(colors[fullest], axis=0, weights=counts[fullest]), np.float64)


def _choose(able: list[_Cluster], clusters: list[_Cluster]) -> _Cluster | None:
    """Return the cluster that is glass, from those that can be and all."""
    if not able:
        return None
    best = able[0]
    if best.is_pink:
        # Nothing is brighter than glass: a brighter colorless part makes the pink one tissue.
        for other in able[1:]:
            is_brighter = best.density[1] - other.density[1] > _BRIGHTER_OD
            if is_brighter and not other.is_pink and other.share >= _ENOUGH_NEUTRAL:
                best = other
                break
    if best.is_painted:
        return next((c for c in clusters if _is_beside_fill(c, best)), best)
    return best


def _is_smooth(cluster: _Cluster, rgb: RgbArray) -> bool:
    """Return whether most pixels of the color are flat ones: of pale tissue some are by chance."""
    low, high = cluster.rgb - _RADIUS, cluster.rgb + _RADIUS
    near = np.ones(rgb.shape[:-1], dtype=bool)
    for channel in range(3):
        near &= (rgb[..., channel] >= low[channel]) & (rgb[..., channel] <= high[channel])
    return bool(cluster.share * near.size >= MIN_SMOOTH_SHARE * np.count_nonzero(near))


def _is_beside_fill(cluster: _Cluster, fill: _Cluster) -> bool:
    """Return whether a measured color is that of painted fill, only a little darker."""
    step = cluster.density - fill.density
    is_same_hue = float(np.ptp(step)) <= _FILL_TINT_OD
    return not cluster.is_painted and is_same_hue and 0 < float(step.mean()) <= _FILL_OD
