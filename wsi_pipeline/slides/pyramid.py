"""What a slide is before a pixel is read: its levels, resolution and scanned bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from wsi_pipeline.geometry import Box, Mpp, RgbArray, Size
from wsi_pipeline.slides.scan_date import ScanDate


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels of a slide. Downsamples are corrected for the rounding of level sizes."""

    level_sizes: tuple[Size, ...]
    """Pixels of each level, level 0 first."""
    level_downsamples: tuple[tuple[float, float], ...]
    """Level-0 px per px of each level along (x, y), >= 1."""
    bounds_l0: Box
    """The scanned rectangle; the whole of level 0 where the file states none."""
    has_bounds: bool
    """True where the file itself states its scanned bounds."""

    @property
    def size_l0(self) -> Size:
        """Width and height of level 0."""
        return self.level_sizes[0]


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Facts of a slide that a record keeps."""

    path: Path
    vendor: str
    """OpenSlide's vendor word, or "image" for a plain picture."""
    n_bytes: int
    quickhash: str
    """OpenSlide's quickhash-1, or, where it gives none, of pieces of the file; for a plain picture
    the sha256 of the file."""
    mpp: Mpp | None
    """µm/px of level 0 as stated or overridden; None where unknown."""
    mpp_source: str
    """Where `mpp` comes from, e.g. "aperio.MPP", "tiff.XResolution", "override"."""
    objective_power: float | None
    """Nominal magnification, for display only: never a stand-in for mpp."""
    background_rgb: tuple[int, int, int]
    """Color of what was not scanned."""
    icc: str
    """"none", "present, not applied" or "applied to sRGB"."""
    warnings: tuple[str, ...] = ()
    """What a user should know about the slide (mpp that disagrees with the magnification ...)."""
    unread: tuple[str, ...] = ()
    """What the file holds beside what is read (scenes, focal planes); in `warnings` too."""
    scan_date: ScanDate | None = None
    """The day of the scan, where the file states one."""


class SlideReader(Protocol):
    """A slide that is open for reading. Not shared between processes; safe between threads."""

    @property
    def info(self) -> SlideInfo:
        """Facts of the slide."""
        ...

    @property
    def pyramid(self) -> Pyramid:
        """Levels and bounds of the slide."""
        ...

    def read_level(self, level: int, box_level: Box) -> RgbArray:
        """Return the pixels of a box of one level, uint8 (height, width, 3).

        Transparent pixels and what lies outside the level are the background color.

        Raises
        ------
        ReadError
            Where the file is damaged there. The handle is reopened: the next read works.
        """
        ...

    def thumbnail(self, max_side_px: int) -> RgbArray:
        """Return the scanned bounds as a picture, longest side at most `max_side_px`."""
        ...

    def close(self) -> None:
        """Release the file; a later read raises `ValueError`."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
