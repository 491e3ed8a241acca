"""Augmentation for H&E patches as Keras layers: what differs between slides, scanners and files.

`keras.ops` only, so the same layers run on every backend and device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from wsi_pipeline.learning.training.augmentation_base import PatchAugmentation

HE_OD: Final = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]], np.float32)
"""Optical density of hematoxylin and eosin (Ruifrok & Johnston 2001), rows of unit length."""

LUMA_TABLE: Final = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
"""Quantization of luma at quality 50 (ITU-T T.81, table K.1), as libjpeg uses it."""

CHROMA_TABLE: Final = np.full((8, 8), 99, np.float32)
CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

YCBCR: Final = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
"""Rows Y, Cb, Cr of JFIF; chroma here has its zero at 0."""

RGB_FROM_YCBCR: Final = np.linalg.inv(YCBCR).astype(np.float32)


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomDihedral(PatchAugmentation):
    """One of the eight flips and quarter turns: tissue has no upright."""

    def augment(self, images: Any) -> Any:
        """Flip along each axis and transpose, each with probability one half."""
        images = ops.where(self.chosen(images, 0.5), ops.flip(images, axis=1), images)
        images = ops.where(self.chosen(images, 0.5), ops.flip(images, axis=2), images)
        return ops.where(self.chosen(images, 0.5), ops.transpose(images, (0, 2, 1, 3)), images)


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomScale(PatchAugmentation):
    """Enlarge or reduce a share of the images a little about a point of their own, mirrored edges.

    Parameters
    ----------
    strength : float
        Half-width of the relative change of size.
    share : float
        Part of the images that are changed: the others keep detail that interpolation takes.
    """

    def __init__(self, strength: float = 0.1, share: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strength, self.share = strength, share

    def augment(self, images: Any) -> Any:
        """Return the images scaled."""
        height, width = images.shape[1:3]
        step = 1.0 + self.uniform(images, -self.strength, self.strength, (1,))
        fixed = self.uniform(images, 0.0, 1.0, (2,))
        # Two small matrix products an image: far cheaper than a gather of pixels.
        rows = _interpolation(height, step, fixed[:, :1])
        cols = _interpolation(width, step, fixed[:, 1:])
        scaled = ops.einsum("nui,nijc->nujc", rows, images)
        scaled = ops.einsum("nvj,nujc->nuvc", cols, scaled)
        return ops.where(self.chosen(images, self.share), scaled, images)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "strength": self.strength, "share": self.share}


def _interpolation(side: int, step: Any, fixed: Any) -> Any:
    """Return linear interpolation along an axis at steps of `step` px, (N, side, side).

    The point at the share `fixed` of the axis stays where it is; positions outside are mirrored.
    """
    last = float(side - 1)
    pixel = np.arange(side, dtype=np.float32)
    position = ops.abs(fixed * last * (1.0 - step) + pixel * step)
    position = last - ops.abs(last - position)
    return ops.maximum(0.0, 1.0 - ops.abs(position[..., None] - pixel))


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomStain(PatchAugmentation):
    """Another dye, another lamp: in optical density (after Tellez et al. 2018).

    Hematoxylin, eosin and the residual are scaled apart and mixed again by vectors turned a little;
    then the light is changed, as a whole and by channel.

    Parameters
    ----------
    strength : float
        Each stain's amount is multiplied by exp(u), u uniform within this of 0.
    offset : float
        Half-width of the density added to each channel (lamp, tinted glass).
    turn : float
        Standard deviation of what is added to each component of the vectors of the two stains.
    light : float
        Most of the density added to all channels of half of the images (dark scans).
    """

    def __init__(
        self,
        strength: float = 0.3,
        offset: float = 0.05,
        turn: float = 0.0,
        light: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.strength, self.offset, self.turn, self.light = strength, offset, turn, light
        residual = np.cross(*HE_OD)
        self._stains = np.vstack([HE_OD, residual / np.linalg.norm(residual)]).astype(np.float32)

    def augment(self, images: Any) -> Any:
        """Return the images re-stained."""
        density = -ops.log((images + 1.0) / 256.0)
        scale = ops.exp(self.uniform(images, -self.strength, self.strength, (3,)))
        unmix = np.linalg.inv(self._stains).astype(np.float32)
        # One 3 x 3 matrix an image: unmix, scale each stain, mix again.
        matrix = ops.einsum("ij,nj,njk->nik", unmix, scale, self._mixing(images))
        shape = ops.shape(density)
        flat = ops.reshape(density, (shape[0], -1, 3))
        density = ops.reshape(ops.matmul(flat, matrix), shape)
        density = density + self.uniform(images, -self.offset, self.offset, (1, 1, 3))
        darker = self.uniform(images, 0.0, self.light, (1, 1, 1))
        density = density + ops.where(self.chosen(images, 0.5), darker, 0.0)
        return ops.clip(256.0 * ops.exp(-density) - 1.0, 0.0, 255.0)

    def _mixing(self, images: Any) -> Any:
        """Return the vectors that mix the stains again, (N, 3, 3), the residual last."""
        shape = (ops.shape(images)[0], 2, 3)
        noise = keras.random.normal(shape, 0.0, 1.0, dtype="float32", seed=self.seed_generator)
        turned = self._stains[None, :2] + self.turn * noise
        lengths = np.linalg.norm(
            self._stains[None, :2], axis=-1, keepdims=True
        )  # one but for 0.2 %
        turned = turned * (lengths / ops.norm(turned, axis=-1, keepdims=True))
        residual = ops.broadcast_to(self._stains[None, 2:], (ops.shape(images)[0], 1, 3))
        return ops.concatenate([turned, residual], axis=1)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {
            **super().get_config(),
            "strength": self.strength,
            "offset": self.offset,
            "turn": self.turn,
            "light": self.light,
        }


def _binomial_mean(images: Any) -> Any:
    kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
    kernel = np.repeat(kernel[:, :, None, None], 3, axis=2)
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return ops.depthwise_conv(padded, kernel, padding="valid", data_format="channels_last")


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomFocus(PatchAugmentation):
    """Blur or sharpen a share of the images by mixing them with their 3 x 3 binomial mean.

    Parameters
    ----------
    share : float
    blur : float
        Most of the mean that comes in, 0 to 2: 1 is the mean itself (sigma 0.7 px), 2 the mean of
        the mean (sigma 1 px).
    sharpen : float
        Most that is taken off.
    """

    def __init__(
        self, share: float = 0.5, blur: float = 1.6, sharpen: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.share, self.blur, self.sharpen = share, blur, sharpen

    def augment(self, images: Any) -> Any:
        """Return the images with their fine detail scaled."""
        amount = self.uniform(images, -self.sharpen, self.blur, (1, 1, 1))
        amount = ops.where(self.chosen(images, self.share), amount, 0.0)
        for part in (ops.minimum(amount, 1.0), ops.maximum(amount - 1.0, 0.0)):
            images = images + part * (_binomial_mean(images) - images)
        return ops.clip(images, 0.0, 255.0)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {
            **super().get_config(),
            "share": self.share,
            "blur": self.blur,
            "sharpen": self.sharpen,
        }


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomJpeg(PatchAugmentation):
    """Compress a share of the images as slide scanners do.

    The transform, the quantization and the chroma subsampling of baseline JPEG (ITU-T T.81) without
    the entropy coding, which loses nothing. The 8 x 8 blocks start at a random place, since a
    patch is cut from anywhere in a compressed tile. Without this a model that is trained on
    uncompressed patches fails on 4:2:0 slides: at 8 µm/px color detail is one or two pixels wide.

    Parameters
    ----------
    share : float
        Part of the images that are compressed.
    quality : (float, float)
        Lowest and highest libjpeg quality.
    subsampled : float
        Part of the compressed images whose chroma is halved along both axes (4:2:0); a quarter of
        that again is halved along x alone (4:2:2).
    """

    def __init__(
        self,
        share: float = 0.5,
        quality: tuple[float, float] = (60.0, 98.0),
        subsampled: float = 0.7,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.share, self.quality, self.subsampled = share, (quality[0], quality[1]), subsampled

    def augment(self, images: Any) -> Any:
        """Return the images compressed and expanded again."""
        height, width = images.shape[1:3]
        padded, top, left = self._pad_to_blocks(images, height, width)
        ycc = ops.matmul(padded, YCBCR.T)
        luma, chroma = ycc[..., :1] - 128.0, ycc[..., 1:]
        quality = self.uniform(images, *self.quality, (1,))
        factor = ops.where(quality < 50.0, 50.0 / quality, 2.0 - quality / 50.0)  # libjpeg
        luma = _quantized(luma, _table(LUMA_TABLE, factor)) + 128.0
        chroma = self._chroma(chroma, _table(CHROMA_TABLE, factor), images)
        rgb = ops.matmul(ops.concatenate([luma, chroma], -1), RGB_FROM_YCBCR.T)
        rgb = ops.slice(rgb, (0, top, left, 0), (ops.shape(images)[0], height, width, 3))
        rgb = ops.clip(ops.round(rgb), 0.0, 255.0)
        return ops.where(self.chosen(images, self.share), rgb, images)

    def _pad_to_blocks(self, images: Any, height: int, width: int) -> tuple[Any, Any, Any]:
        """Pad to whole 16 x 16 units, the image at a random place (one draw a batch)."""
        padded_side = [-(-(side + 14) // 16) * 16 for side in (height, width)]
        extra = [padded_side[0] - height, padded_side[1] - width]
        margin = [(e, e) for e in extra]
        wide = ops.pad(images, ((0, 0), *margin, (0, 0)), mode="reflect")
        top = keras.random.randint((), 0, min(extra[0], 14) + 1, seed=self.seed_generator)
        left = keras.random.randint((), 0, min(extra[1], 14) + 1, seed=self.seed_generator)
        start = (0, extra[0] - top, extra[1] - left, 0)
        cut = ops.slice(wide, start, (ops.shape(images)[0], *padded_side, 3))
        cut = ops.reshape(cut, (-1, *padded_side, 3))
        return cut, top, left

    def _chroma(self, chroma: Any, table: Any, images: Any) -> Any:
        full = _quantized(chroma, table)
        both = _doubled(_doubled(_quantized(_mean(chroma, 2, 2), table), axis=1), axis=2)
        wide = _doubled(_quantized(_mean(chroma, 1, 2), table), axis=2)
        draw = self.uniform(images, 0.0, 1.0, (1, 1, 1))
        reduced = ops.where(draw < 0.8 * self.subsampled, both, wide)
        return ops.where(draw < self.subsampled, reduced, full)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {
            **super().get_config(),
            "share": self.share,
            "quality": self.quality,
            "subsampled": self.subsampled,
        }


def _dct(side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the orthonormal 8-point DCT along each block of an axis, (side, side)."""
    k, n = np.mgrid[:8, :8]
    basis = np.cos((2 * n + 1) * k * np.pi / 16) * np.sqrt(2 / 8)
    basis[0] /= np.sqrt(2)
    return np.kron(np.eye(side // 8), basis).astype(np.float32)


def _table(table: Any, factor: Any) -> Any:
    """Scale a quality-50 table for each image: (N, 8, 8, 1)."""
    return ops.clip(ops.round(table[None] * factor[:, None]), 1.0, 255.0)[..., None]


def _quantized(plane: Any, table: Any) -> Any:
    """Round the DCT coefficients of the 8 x 8 blocks of (N, H, W, C) to multiples of the table."""
    _, height, width, _ = plane.shape
    rows, cols = _dct(height), _dct(width)
    step = ops.tile(table, (1, height // 8, width // 8, 1))
    coefficients = ops.einsum("ui,nijc->nujc", rows, plane)
    coefficients = ops.einsum("vj,nujc->nuvc", cols, coefficients)
    coefficients = ops.round(coefficients / step) * step
    plane = ops.einsum("ui,nuvc->nivc", rows, coefficients)
    return ops.einsum("vj,nivc->nijc", cols, plane)


def _mean(plane: Any, tall: int, wide: int) -> Any:
    return ops.average_pool(plane, (tall, wide), (tall, wide), data_format="channels_last")


def _doubled(plane: Any, axis: int) -> Any:
    """Double an axis as decoders do: three quarters of the nearest sample, one of the next."""
    side = plane.shape[axis]
    nearest = np.repeat(np.eye(side), 2, axis=0)
    following = np.clip(np.arange(2 * side) // 2 + np.tile([-1, 1], side), 0, side - 1)
    weights = (0.75 * nearest + 0.25 * np.eye(side)[following]).astype(np.float32)
    return ops.einsum("ui,nijc->nujc" if axis == 1 else "uj,nijc->niuc", weights, plane)
