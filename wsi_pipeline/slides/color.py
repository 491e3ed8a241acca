"""Conversion from a scanner's color space to sRGB by its ICC profile."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from wsi_pipeline.geometry import RgbArray

ICC_NONE: Final = "none"
ICC_PRESENT: Final = "present, not applied"
ICC_APPLIED: Final = "applied to sRGB"


class IccConversion:
    """Converts pixels from the space of an RGB profile to sRGB; safe between threads."""

    def __init__(self, profile: ImageCms.ImageCmsProfile) -> None:
        self._transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )

    def __call__(self, rgb: RgbArray) -> RgbArray:
        """Return uint8 pixels (H, W, 3) in sRGB."""
        return np.asarray(ImageCms.applyTransform(Image.fromarray(rgb), self._transform))


def plan_icc(
    load_profile: Callable[[], ImageCms.ImageCmsProfile | None], *, apply_icc: bool
) -> tuple[IccConversion | None, str, tuple[str, ...]]:
    """Return the conversion to use, what the record says of it, and warnings."""
    try:
        profile = load_profile()
        if profile is None:
            return None, ICC_NONE, ()
        if not apply_icc:
            return None, ICC_PRESENT, ()
        return IccConversion(profile), ICC_APPLIED, ()
    except (ImageCms.PyCMSError, OSError) as exc:
        return None, ICC_PRESENT, (f"its ICC profile cannot be used: {exc}",)


def profile_from_bytes(profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """Return the profile that a picture carries, if any; raises `OSError` for an unusable one."""
    return ImageCms.ImageCmsProfile(BytesIO(profile)) if profile else None
