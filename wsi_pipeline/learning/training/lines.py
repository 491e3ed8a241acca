"""Lines across patches: the strokes of a pen, and the edge of the tissue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from wsi_pipeline.learning.training.augmentation_base import PatchAugmentation

INKS: Final = np.array(
    [[25, 45, 140], [20, 20, 25], [20, 100, 60], [170, 25, 40], [95, 35, 130], [30, 120, 170]],
    np.float32,
)
"""Blue, black, green, red, violet, light blue: RGB of full ink on glass."""
INK_JITTER: Final = 30.0
CURVATURE: Final = 0.03
"""Largest, 1/px: a circle of 33 px radius."""
GLASS_RGB: Final = np.array([241.0, 239.0, 241.0], np.float32)
"""Of the IDC archive."""


class RandomLine(PatchAugmentation):
    """Base: a straight or curved line of its own through a share of the images.

    Parameters
    ----------
    share : float
        Part of the images that are changed.
    """

    def __init__(self, share: float = 0.12, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share

    def distance(self, images: Any, reach: float) -> Any:
        """Return the signed distance of each pixel from a line, about, px, (N, H, W, 1).

        Parameters
        ----------
        images : tensor
        reach : float
            The line passes the middle within this share of half a side.
        """
        height, width = images.shape[1:3]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x, y = (x - (width - 1) / 2)[None, ..., None], (y - (height - 1) / 2)[None, ..., None]
        angle = self.uniform(images, 0.0, 2 * math.pi, (1, 1, 1))
        curvature = self.uniform(images, -CURVATURE, CURVATURE, (1, 1, 1))
        half = min(height, width) / 2
        shift = self.uniform(images, -reach * half, reach * half, (1, 1, 1))
        along = x * ops.cos(angle) + y * ops.sin(angle)
        across = y * ops.cos(angle) - x * ops.sin(angle) - shift
        # a parabola, as near to a circle as a patch can tell, without its poles
        bent = across - 0.5 * curvature * along**2
        return bent / ops.sqrt(1.0 + (curvature * along) ** 2)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "share": self.share}


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomInk(RandomLine):
    """A pen line across a share of the images, in any color, from thin to broad and pale to opaque.

    Annotators' lines follow tumors on some slides and fill margins on others: a network that has
    not seen them takes a line of two pixels for the end of the tumor.

    Parameters
    ----------
    share : float
    width : (float, float)
        Narrowest and broadest line, px: 1 to 7.5 are 8 to 60 µm at 8 µm/px.
    """

    def __init__(
        self, share: float = 0.12, width: tuple[float, float] = (1.0, 7.5), **kwargs: Any
    ) -> None:
        super().__init__(share, **kwargs)
        self.width = (width[0], width[1])

    def augment(self, images: Any) -> Any:
        """Return the images with lines drawn on some."""
        low, high = map(math.log, self.width)
        width = ops.exp(self.uniform(images, low, high, (1, 1, 1)))
        away = ops.abs(self.distance(images, reach=1.0))
        covered = ops.clip((width - 1.0) / 2 - away + 1.0, 0.0, 1.0)
        opacity = self.uniform(images, 0.0, 1.0, (1, 1, 1))
        ink = self._ink(images)
        filtered = images * ink / 255.0
        drawn = opacity * ink + (1.0 - opacity) * filtered
        changed = images + covered * (drawn - images)
        return ops.where(self.chosen(images, self.share), changed, images)

    def _ink(self, images: Any) -> Any:
        """Draw a color and how full it is, (N, 1, 1, 3)."""
        which = ops.cast(self.uniform(images, 0.0, len(INKS), (1, 1)), "int32")
        ink = ops.take(INKS, ops.minimum(which, len(INKS) - 1), axis=0)
        ink = ink + self.uniform(images, -INK_JITTER, INK_JITTER, (1, 1, 3))
        fullness = self.uniform(images, 0.35, 1.0, (1, 1, 1))
        return ops.clip(255.0 - fullness * (255.0 - ink), 0.0, 255.0)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("wsi_pipeline")
class RandomGlass(RandomLine):
    """Glass over the smaller side of a line through a share of the images.

    Cores, strips and torn edges show a patch half empty; in the archive few patches are.

    Parameters
    ----------
    share : float
    reach : float
        The edge passes the middle of the patch within this share of half a side.
    """

    def __init__(self, share: float = 0.12, reach: float = 0.8, **kwargs: Any) -> None:
        super().__init__(share, **kwargs)
        self.reach = reach

    def augment(self, images: Any) -> Any:
        """Return the images, some with an empty side."""
        distance = self.distance(images, self.reach)
        middle = [side // 2 for side in images.shape[1:3]]
        center = distance[:, middle[0] : middle[0] + 1, middle[1] : middle[1] + 1]
        away = ops.where(center > 0.0, -distance, distance)  # the middle keeps its tissue
        covered = ops.clip(away + 0.5, 0.0, 1.0)
        glass = GLASS_RGB + self.uniform(images, -6.0, 6.0, (1, 1, 1))
        changed = images + covered * (glass - images)
        return ops.where(self.chosen(images, self.share), changed, images)

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "reach": self.reach}
