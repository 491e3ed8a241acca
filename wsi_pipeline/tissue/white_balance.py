"""The light of a slide brought to that of the training data, by its own glass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue.glass import Glass

Rgb = tuple[int, int, int]

TOLERANCE_LEVELS: Final = 6
"""Glass as near to the reference as this, in every channel, is left as it is: the slides of the
training data differ by as much among themselves."""
MAX_LOG_GAIN: Final = 0.5
"""Largest change of a channel's light, natural logarithm: glass of 146 becomes 241."""


class WhiteBalanceRecord(TypedDict):
    """`WhiteBalance` as it stands in a slide's record."""

    applied: bool
    glass_rgb: list[int] | None
    reference_rgb: list[int] | None
    gain: list[float]
    reason: str


@dataclass(frozen=True, slots=True)
class WhiteBalance:
    """A gain for each channel: a shift in optical density, the same for every pixel of a slide.

    Plain data that travels to any worker; `apply` looks levels up in a table of 256 for each
    channel.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factor on red, green and blue light."""
    glass_rgb: Rgb | None = None
    """Glass of the slide; None where none is seen."""
    reference_rgb: Rgb | None = None
    """Glass of the training data; None where the model states none."""
    reason: str = ""
    """Why light is left as it is, or not all the way to the reference; "" for neither."""

    @classmethod
    def to_reference(cls, glass: Glass, reference_rgb: Rgb | None) -> Self:
        """Return the balance that takes a slide's glass to the reference.

        Parameters
        ----------
        glass : Glass
            Of the slide, from `find_glass`.
        reference_rgb : tuple of int, optional
            Glass of the training data, from the model's card.

        Notes
        -----
        No change where no glass is seen, where there is no reference, and where the two differ by
        `TOLERANCE_LEVELS` at most. A gain is bounded by `MAX_LOG_GAIN` either way.
        """
        seen = glass.rgb if glass.is_seen else None
        if seen is None or reference_rgb is None:
            missing = "no glass is seen" if seen is None else "the model states no glass_rgb"
            return cls(glass_rgb=seen, reference_rgb=reference_rgb, reason=missing)
        difference = np.abs(np.subtract(seen, reference_rgb))
        if difference.max() <= TOLERANCE_LEVELS:
            near = f"the glass is within {TOLERANCE_LEVELS} levels of the training data's"
            return cls(glass_rgb=seen, reference_rgb=reference_rgb, reason=near)
        wanted = np.log(np.divide(reference_rgb, np.maximum(seen, 1)))
        bounded = np.clip(wanted, -MAX_LOG_GAIN, MAX_LOG_GAIN)
        r, g, b = (float(gain) for gain in np.exp(bounded))
        held = "" if np.array_equal(wanted, bounded) else "the gain is at its bound"
        return cls((r, g, b), seen, reference_rgb, held)

    @classmethod
    def switched_off(cls, glass: Glass) -> Self:
        """Return that light is left as it is because the configuration says so."""
        return cls(glass_rgb=glass.rgb if glass.is_seen else None, reason="switched off")

    @property
    def is_applied(self) -> bool:
        """True where pixels change."""
        return self.gain != (1.0, 1.0, 1.0)

    @property
    def table(self) -> NDArray[np.uint8]:
        """uint8, shape (3, 256): the new level of each level of each channel."""
        levels = np.outer(self.gain, np.arange(256))
        return np.asarray(np.clip(np.rint(levels), 0, 255), dtype=np.uint8)

    @property
    def words(self) -> str:
        """What is done, in one line."""
        if not self.is_applied:
            return f"as scanned: {self.reason}"
        gain = ", ".join(f"{gain:.2f}" for gain in self.gain)
        return f"balanced by {gain}" + (f" ({self.reason})" if self.reason else "")

    def apply(self, rgb: RgbArray) -> RgbArray:
        """Return balanced pixels, uint8 (..., 3); the same object where light is left as it is."""
        return apply_levels(self.table, rgb) if self.is_applied else rgb

    def color(self, rgb: Rgb) -> Rgb:
        """Return one balanced color."""
        r, g, b = (int(self.table[channel, level]) for channel, level in enumerate(rgb))
        return (r, g, b)

    def to_dict(self) -> WhiteBalanceRecord:
        """Return plain data for JSON."""
        return {
            "applied": self.is_applied,
            "glass_rgb": list(self.glass_rgb) if self.glass_rgb else None,
            "reference_rgb": list(self.reference_rgb) if self.reference_rgb else None,
            "gain": [round(gain, 4) for gain in self.gain],
            "reason": self.reason,
        }


def apply_levels(table: NDArray[np.uint8], rgb: RgbArray) -> RgbArray:
    """Look every level up in its channel's table.

    Parameters
    ----------
    table : ndarray of uint8, shape (3, 256)
    rgb : ndarray of uint8, shape (..., 3)

    Returns
    -------
    ndarray of uint8, shape (..., 3)
    """
    if rgb.size == 0:
        return rgb
    sheet = Image.fromarray(np.ascontiguousarray(rgb).reshape(-1, rgb.shape[-2], 3))
    return np.asarray(sheet.point(table.ravel().tolist())).reshape(rgb.shape)
