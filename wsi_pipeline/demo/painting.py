"""Turn a scene into the color of H&E.

Tissue is an amount of hematoxylin and one of eosin at each pixel; the Beer-Lambert law turns them
into color (Ruifrok & Johnston, Anal Quant Cytol Histol 23:291, 2001). The amounts were set beside
the means, spreads and spectra of the public IDC patches.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.demo.scene import COARSE_PX, Scene, upsample
from wsi_pipeline.demo.structures import BLOOD, EPITHELIUM, LOBULE, LUMEN, Codes
from wsi_pipeline.demo.textures import PERIOD_PX, Textures
from wsi_pipeline.geometry import BoolMask, FloatArray, RgbArray

TILE_PX = 256
"""Side of what is painted at a time: fits a core's cache, divides `PERIOD_PX`."""
HEMATOXYLIN = np.array([0.60, 0.70, 0.40], np.float32)
EOSIN = np.array([0.13, 0.83, 0.52], np.float32)
"""Natural-log optical density of one unit of stain in red, green and blue."""
GLASS = np.array([243.0, 241.5, 243.0], np.float32)

Stains = tuple[FloatArray, FloatArray]
"""Amounts of hematoxylin and eosin at each pixel."""


def paint(scene: Scene, textures: Textures, structures: Codes) -> RgbArray:
    """Return the picture of a scene, uint8 (height, width, 3), without dirt and noise."""
    rgb = np.empty((scene.size_px.height, scene.size_px.width, 3), np.uint8)
    rgb[:] = np.rint(GLASS)

    def paint_tile(corner: tuple[int, int]) -> None:
        top, left = corner
        window = (
            slice(top, min(top + TILE_PX, scene.size_px.height)),
            slice(left, min(left + TILE_PX, scene.size_px.width)),
        )
        tissue = upsample(scene.tissue, *window)
        if tissue.max() > -1:
            rgb[window] = _paint_tile(scene, textures, tissue, structures[window], window)

    corners = itertools.product(
        range(0, scene.size_px.height, TILE_PX), range(0, scene.size_px.width, TILE_PX)
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(paint_tile, corners))
    return rgb


def _paint_tile(
    scene: Scene,
    textures: Textures,
    tissue: FloatArray,
    structures: Codes,
    window: tuple[slice, slice],
) -> RgbArray:
    """Paint one tile: stroma everywhere, then what lies in it."""
    tumor, fat, density = (
        upsample(field, *window) for field in (scene.tumor, scene.fat, scene.density)
    )
    bent = _bent_index(scene, window)
    straight = tuple(
        slice(side.start % PERIOD_PX, side.start % PERIOD_PX + side.stop - side.start)
        for side in window
    )
    across = _step(upsample(scene.turn, *window), 0.35)
    fibers, spindles = (
        along.ravel()[bent] * (1 - across) + athwart.ravel()[bent] * across
        for along, athwart in (textures.fibers, textures.stroma_nuclei)
    )
    grain, nuclei = textures.grain[straight], textures.tumor_nuclei[straight]

    hematoxylin, eosin = _stroma(fibers, spindles, grain, density)
    if tumor.max() > -2:
        bent_nests = textures.nests.ravel()[bent]
        nests = np.asarray(bent_nests + 0.5 * density + 0.35, np.float32)
        in_tumor = _step(tumor + 0.6 * fibers + 0.8 * bent_nests, 0.4)
        _blend(hematoxylin, eosin, in_tumor, *_tumor(nests, nuclei, fibers, spindles, grain))
    in_fat = (fat + 0.9 * (textures.fat_cell[straight] - 0.5) > 0) & (tumor < 0.5)
    _blend(hematoxylin, eosin, in_fat, *_fat(textures.septa[straight], spindles))
    if structures.any():
        for code, stains in _structure_stains(nuclei, grain, fibers, spindles).items():
            _blend(hematoxylin, eosin, structures == code, *stains)
    inside = np.clip((tissue + 0.15 * fibers) * (COARSE_PX / 2) + 0.5, 0, 1)
    strength = inside * (1 + 0.05 * density)
    return _color(hematoxylin * strength, eosin * strength)


def _bent_index(scene: Scene, window: tuple[slice, slice]) -> NDArray[np.int32]:
    """Return the flat index into a texture for each pixel of a window, bent by the scene."""
    y, x = np.ogrid[window]
    bend_y, bend_x = (
        upsample(field, *window).astype(np.int32) for field in (scene.bend_y, scene.bend_x)
    )
    rows = (y.astype(np.int32) + bend_y) % PERIOD_PX
    return rows * PERIOD_PX + (x.astype(np.int32) + bend_x) % PERIOD_PX


def _stroma(
    fibers: FloatArray, spindles: FloatArray, grain: FloatArray, density: FloatArray
) -> Stains:
    """Collagen: pink strands with clefts, more of them where it is loose, and spindle nuclei."""
    gaps = _step(fibers + 2.3 + 0.5 * density, 0.3)
    eosin = (0.71 + 0.05 * density + 0.14 * fibers + 0.09 * grain) * gaps
    return (0.05 + 0.03 * grain + 0.75 * spindles) * gaps, eosin


def _tumor(
    nests: FloatArray,
    nuclei: FloatArray,
    fibers: FloatArray,
    spindles: FloatArray,
    grain: FloatArray,
) -> Stains:
    """Nests, cords and sheets of crowded nuclei in a stroma with more cells than usual."""
    inside = _step(nests, 0.15)
    cleft = 1 - 0.8 * np.exp(-(((nests + 0.2) / 0.1) ** 2)) * (fibers < -0.3)
    hematoxylin = inside * (0.27 + 0.95 * nuclei) + (1 - inside) * (0.36 + 1.7 * spindles)
    eosin = inside * 0.40 + (1 - inside) * (0.56 + 0.14 * fibers) + 0.07 * grain
    return (hematoxylin + 0.05 * grain) * cleft, eosin * cleft


def _fat(septa: FloatArray, spindles: FloatArray) -> Stains:
    """Empty vacuoles with thin pink walls and now and then a nucleus in a wall."""
    return (0.06 + 1.4 * spindles) * septa, 0.85 * septa


def _structure_stains(
    nuclei: FloatArray, grain: FloatArray, fibers: FloatArray, spindles: FloatArray
) -> dict[int, Stains]:
    nothing = np.zeros_like(grain)
    return {
        LUMEN: (nothing, nothing),
        EPITHELIUM: (0.40 + 0.85 * nuclei, 0.45 + nothing),
        LOBULE: (0.08 + 0.6 * spindles, 0.45 + 0.08 * fibers),
        BLOOD: (nothing, 1.5 + 0.12 * grain),
    }


def _blend(
    hematoxylin: FloatArray,
    eosin: FloatArray,
    share: FloatArray | BoolMask,
    new_hematoxylin: FloatArray,
    new_eosin: FloatArray,
) -> None:
    """Replace a share, 0 to 1, of the stains at each pixel, in place."""
    hematoxylin += share * (new_hematoxylin - hematoxylin)
    eosin += share * (new_eosin - eosin)


def _color(hematoxylin: FloatArray, eosin: FloatArray) -> RgbArray:
    """Turn amounts of stain into color, uint8 (..., 3)."""
    rgb = np.empty((*hematoxylin.shape, 3), np.uint8)
    for channel in range(3):
        density = hematoxylin * HEMATOXYLIN[channel] + eosin * EOSIN[channel]
        rgb[..., channel] = GLASS[channel] * np.exp(-np.maximum(density, 0)) + 0.5
    return rgb


def _step(values: FloatArray, width: float) -> FloatArray:
    """Smooth step from 0 to 1 about 0."""
    ramp = np.clip(values / (2 * width) + 0.5, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)
