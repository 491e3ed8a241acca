"""Open whatever file a user names, or say what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from wsi_pipeline.errors import ConfigError, SlideOpenError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.slides.companions import check_companions
from wsi_pipeline.slides.pyramid import SlideReader
from wsi_pipeline.slides.tiff_bounds import check_tiff

IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Of single pictures, as `classify` and `train` take them."""
IMAGE_FORMATS: Final = ("PNG", "JPEG", "TIFF")
"""The same for Pillow, which else tries all of its formats; one of them starts Ghostscript."""
FIRST_PAGE_IS_THE_SLIDE: Final = frozenset(
    {None, "generic-tiff", "aperio", "hamamatsu", "philips", "trestle"}
)
"""Formats of OpenSlide; Leica and Ventana begin with a macro picture or a label, maybe gray."""
SLIDE_SUFFIXES: Final = frozenset(
    {".bif", ".czi", ".dcm", ".mrxs", ".ndpi", ".scn"}
    | {".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu"}
)
"""What a search through folders takes for a slide, in lower case. Plain pictures (PNG, JPEG) are
opened where they are named themselves: folders of slides hold labels, thumbnails and masks too."""


def open_slide(
    path: str | Path,
    *,
    mpp: float | Mpp | None = None,
    mpp_override: Mpp | None = None,
    apply_icc: bool = False,
) -> SlideReader:
    """Open a slide or a plain RGB picture.

    Parameters
    ----------
    path : str or Path
        Whatever OpenSlide reads, else a PNG, JPEG or TIFF picture.
    mpp : float, Mpp or None
        µm/px for files that state none or an absurd one (``--mpp``). A plausible one in the file
        stands; a warning says where they differ.
    mpp_override : Mpp or None
        µm/px that wins over the file (a row of an edited slide list).
    apply_icc : bool
        Convert to sRGB by the file's ICC profile, if it has one.

    Returns
    -------
    SlideReader
        Its `info.mpp` is None where the resolution is unknown: see `require_mpp`.

    Raises
    ------
    SlideOpenError
        Where the file is missing, unreadable, damaged, no slide, or made to do harm.
    ConfigError
        Where `mpp` is no positive number.

    Examples
    --------
    >>> with open_slide("case.tif") as slide:
    ...     slide.info.mpp, slide.pyramid.size_l0, slide.thumbnail(100).shape
    (Mpp(x=1.0, y=1.0), Size(width=4096, height=3072), (75, 100, 3))
    """
    path = Path(path)
    option = _as_mpp(mpp)
    _check_is_readable_file(path)
    check_tiff(path)
    check_companions(path)
    # the foreign libraries are loaded with the first slide, not with the package
    from wsi_pipeline.slides.openslide_reader import OpenSlideReader, detected_vendor
    from wsi_pipeline.slides.picture import open_picture
    from wsi_pipeline.slides.tiff_contents import read_contents, require_color
    from wsi_pipeline.slides.tiff_series import open_series
    from wsi_pipeline.slides.unopened import refuse_what_is_known

    vendor = detected_vendor(path)
    contents = read_contents(path) if vendor in FIRST_PAGE_IS_THE_SLIDE else None
    if contents is not None:
        require_color(path, contents)
        if contents.chosen.page != 0:
            series = open_series(path, contents, mpp=option, mpp_override=mpp_override)
            if series is not None:
                return series
    if vendor and not (contents and contents.chosen.page):
        return OpenSlideReader(
            path, mpp=option, mpp_override=mpp_override, apply_icc=apply_icc, contents=contents
        )
    if contents is None:
        refuse_what_is_known(path)
    return open_picture(
        path, mpp=option, mpp_override=mpp_override, apply_icc=apply_icc, contents=contents
    )


def _as_mpp(mpp: float | Mpp | None) -> Mpp | None:
    if mpp is None or isinstance(mpp, Mpp):
        return mpp
    try:
        return Mpp(mpp, mpp)
    except ValueError as exc:
        raise ConfigError(
            f"--mpp must be a positive number of µm/px, received {mpp}", "For instance 0.25"
        ) from exc


def _check_is_readable_file(path: Path) -> None:
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except ValueError as exc:
        raise SlideOpenError(f"{path} can be no file's name ({exc})", "Check the name") from exc
    except OSError as exc:
        raise SlideOpenError(
            f"{path} cannot be reached ({exc.strerror})", "Check the drive and its permissions"
        ) from exc
    if not exists:
        raise SlideOpenError(
            f"{path} does not exist", "Check the name and whether its drive is mounted"
        )
    if is_folder:
        raise SlideOpenError(
            f"{path} is a folder", "Name a slide file; of a MIRAX slide the .mrxs file beside it"
        )
    if not os.access(path, os.R_OK):
        raise SlideOpenError(f"{path} may not be read", "Ask its owner for permission to read it")
    if path.stat().st_size == 0:
        raise SlideOpenError(f"{path} is empty (0 bytes)", "Copy it again from the scanner")
