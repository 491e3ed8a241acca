"""Patches of a slide as another laboratory and another scanner might have shown them.

One draw of stain, focus and compression for all patches of a slide, as a slide has one of each. The
light is left alone: `run` takes it off by the slide's glass.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.training.augmentation import HE_OD

STAIN_STRENGTH: Final = 0.7
"""Each stain's amount is multiplied by exp(u), u uniform within this of 0."""
STAIN_TURN: Final = 0.08
"""Standard deviation of what is added to the components of the vectors of the two stains."""
BLUR_PX: Final = (0.3, 1.2)
SHARPENING: Final = (0.3, 1.2)
"""Times what a blur of 1 px would take away, added: as scanners do."""
QUALITY: Final = (50, 95)
"""Of JPEG, with chroma at half the resolution."""
THICKNESS: Final = (1.0, 1.8)
"""Of a frozen section, times that of the archive's: cut at 5 to 10 µm instead of 3 to 5."""
CLEFTS: Final = (0.0, 0.2)
"""Share of a frozen section's area that ice crystals have torn open."""
CLEFT_PX: Final = (0.6, 2.0)
"""Standard deviation of the smoothing of the noise whose peaks they are: 5 to 16 µm at 8 µm/px."""
CLEFT_DEPTH: Final = (0.5, 1.0)
"""Share of the density that is missing there."""
SHEET_PX: Final = 64
"""A patch is stored with its mirrored margin: whole JPEG blocks, no neighbor bleeds in."""
SHEET_PATCHES: Final = 1000
"""A JPEG has at most 65,535 rows."""


def changed_copy(patches: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Return patches of one slide re-stained, frozen, out of or sharper in focus, or compressed.

    At least one of these, the focus in two of three.

    Parameters
    ----------
    patches : ndarray of uint8, shape (N, side, side, 3)
        Of a side of at most `SHEET_PX`.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, same shape
    """
    stained, is_frozen, focus, compressed = np.unravel_index(int(rng.integers(1, 24)), (2, 2, 3, 2))
    if stained:
        patches = restained(patches, rng)
    if is_frozen:
        patches = frozen(patches, rng)
    if focus == 1:
        patches = blurred(float(rng.uniform(*BLUR_PX)), patches)
    elif focus:
        patches = sharpened(float(rng.uniform(*SHARPENING)), patches)
    if compressed:
        patches = jpeg(int(rng.integers(*QUALITY)), "4:2:0", patches)
    return patches


def restained(patches: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Return patches whose hematoxylin, eosin and residual are scaled and mixed by other vectors.

    References
    ----------
    Tellez et al., "Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference
    to train distilled stain-invariant convolutional networks", IEEE TMI 2018.
    """
    residual = np.cross(*HE_OD)
    stains = np.vstack([HE_OD, residual / np.linalg.norm(residual)])
    turned = stains.copy()
    turned[:2] += rng.normal(0, STAIN_TURN, (2, 3))
    turned[:2] /= np.linalg.norm(turned[:2], axis=1, keepdims=True)
    scale = np.exp(rng.uniform(-STAIN_STRENGTH, STAIN_STRENGTH, (3, 1)))
    return _of_density(_density(patches) @ np.linalg.inv(stains) @ (scale * turned))


def frozen(patches: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Return patches as of a frozen section: thicker, and torn open where ice crystals grew.

    References
    ----------
    Taqi et al., "A review of artifacts in histopathology", J Oral Maxillofac Pathol 22, 2018, 279.
    The ranges are guesses: no frozen section was measured for them.
    """
    thickness, share, sigma_px, depth = (
        float(rng.uniform(*bounds)) for bounds in (THICKNESS, CLEFTS, CLEFT_PX, CLEFT_DEPTH)
    )
    noise = ndimage.gaussian_filter(
        rng.standard_normal(patches.shape[:3]), (0, sigma_px, sigma_px), mode="wrap"
    )
    torn = ndimage.gaussian_filter(
        (noise > np.quantile(noise, 1 - share)).astype(float), (0, 0.5, 0.5)
    )
    return _of_density(_density(patches) * thickness * (1 - depth * torn[..., None]))


def blurred(sigma_px: float, patches: RgbArray) -> RgbArray:
    """Put the slide out of focus."""
    return levels(ndimage.gaussian_filter(patches.astype(float), (0, sigma_px, sigma_px, 0)))


def sharpened(amount: float, patches: RgbArray) -> RgbArray:
    """Add `amount` times what a blur of 1 px takes away (unsharp masking)."""
    values = patches.astype(float)
    return levels(values + amount * (values - ndimage.gaussian_filter(values, (0, 1, 1, 0))))


def jpeg(quality: int, subsampling: str, patches: RgbArray) -> RgbArray:
    """Store the patches as JPEG and read them back, up to `SHEET_PATCHES` in one picture."""
    starts = range(0, len(patches), SHEET_PATCHES)
    sheets = [patches[start : start + SHEET_PATCHES] for start in starts]
    return np.concatenate([_jpeg(quality, subsampling, sheet) for sheet in sheets])


def _jpeg(quality: int, subsampling: str, patches: RgbArray) -> RgbArray:
    n, side = len(patches), patches.shape[1]
    before = (SHEET_PX - side) // 2
    margin = (before, SHEET_PX - side - before)
    sheet = np.pad(patches, ((0, 0), margin, margin, (0, 0)), mode="symmetric")
    buffer = BytesIO()
    Image.fromarray(sheet.reshape(n * SHEET_PX, SHEET_PX, 3)).save(
        buffer, "JPEG", quality=quality, subsampling=subsampling
    )
    with Image.open(buffer, formats=["JPEG"]) as picture:
        back = np.asarray(picture).reshape(sheet.shape)
    return np.ascontiguousarray(back[:, before : before + side, before : before + side])


def _density(patches: RgbArray) -> NDArray[np.float64]:
    """Return the optical density, finite in black too, as training's layers have it."""
    return np.asarray(-np.log((patches + 1.0) / 256.0), np.float64)


def _of_density(density: NDArray[np.float64]) -> RgbArray:
    return levels(256.0 * np.exp(-density) - 1.0)


def levels(values: NDArray[np.floating[Any]]) -> RgbArray:
    """Return levels of 255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
