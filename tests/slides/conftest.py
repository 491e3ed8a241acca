"""Small pyramidal TIFFs with known pixels, and readers over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi_pipeline.geometry import RgbArray

WriteSlide = Callable[..., Path]


@pytest.fixture
def picture() -> Callable[[int, int], RgbArray]:
    """Return a function that paints a smooth picture with a gradient in every channel."""

    def paint(width: int, height: int) -> RgbArray:
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        red = 127 + 120 * np.sin(x / 23) * np.cos(y / 31)
        return np.stack([red, x * 255 / width, y * 255 / height], axis=-1).astype(np.uint8)

    return paint


@pytest.fixture
def write_slide(tmp_path: Path) -> WriteSlide:
    """Return a function that writes levels as a tiled TIFF that OpenSlide opens."""

    def write(
        levels: list[RgbArray],
        *,
        name: str = "slide.tif",
        resolution: tuple[float, float] | None = (10_000.0, 10_000.0),
        unit: str = "CENTIMETER",
        description: str | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        with tifffile.TiffWriter(path) as tiff:
            for k, level in enumerate(levels):
                tiff.write(
                    level,
                    tile=(64, 64),
                    photometric="rgb",
                    compression="deflate",
                    subfiletype=1 if k else 0,
                    resolution=resolution if k == 0 else None,
                    resolutionunit=unit if resolution and k == 0 else None,
                    description=description,
                    metadata=None,
                    software=False,
                    **options,
                )
        return path

    return write


@pytest.fixture
def pyramid_levels(picture: Callable[[int, int], RgbArray]) -> list[RgbArray]:
    """Levels 1, 2 and 8 of a picture whose sides 8 divides: downsamples are whole numbers."""
    level_0 = picture(640, 480)
    return [level_0, _shrink(level_0, 2), _shrink(level_0, 8)]


@pytest.fixture
def odd_levels() -> list[RgbArray]:
    """Levels 1 and 2 whose sides differ by a part of a pixel: OpenSlide says 2.0008.

    Level 0 is blank, for speed. Level 1 is noise, which shows every shift, and crosses the
    reader's lattice twice.
    """
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1300, 3), dtype=np.uint8)
    return [np.full((2401, 2601, 3), 255, np.uint8), noise]


def _shrink(level: RgbArray, factor: int) -> RgbArray:
    height, width = level.shape[0] // factor, level.shape[1] // factor
    blocks = level[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    shrunk: RgbArray = np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)
    return shrunk


@pytest.fixture
def corrupt_tile() -> Callable[[Path, int], None]:
    """Return a function that overwrites the compressed bytes of one tile of level 0."""

    def corrupt(path: Path, index: int) -> None:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            offset, count = page.dataoffsets[index], page.databytecounts[index]
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * count)

    return corrupt


@pytest.fixture
def slide_data() -> Path:
    """Return the folder of the real slides, or skip."""
    folder = Path(__file__).parents[2].parent / "shared/data/slides"
    if not folder.is_dir():
        pytest.skip("needs the real slides in ../shared/data")
    return folder


@pytest.fixture
def write_leica(tmp_path: Path) -> Callable[[RgbArray], Path]:
    """Return a function that writes a Leica file: 1 x 0.8 mm at 0.5 µm/px, scanned from (200, 100).

    Nothing was scanned elsewhere: OpenSlide returns transparent pixels there.
    """

    def write(scan: RgbArray) -> Path:
        height, width = scan.shape[:2]
        path = tmp_path / "slide.scn"
        with tifffile.TiffWriter(path, bigtiff=True) as tiff:
            for k, level in enumerate([scan, scan[::4, ::4]]):
                tiff.write(
                    level,
                    tile=(64, 64),
                    photometric="rgb",
                    compression="deflate",
                    description=None
                    if k
                    else _LEICA_XML.format(
                        width=width,
                        height=height,
                        nm_x=width * 500,
                        nm_y=height * 500,
                        width_1=width // 4,
                        height_1=height // 4,
                    ),
                    metadata=None,
                    resolution=None if k else (20_000, 20_000),
                    resolutionunit=None if k else "CENTIMETER",
                )
        return path

    return write


_LEICA_XML = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="made up" uuid="1" sizeX="1000000" sizeY="800000"><image name="scan" uuid="2">
<creationDate>2020-01-01T00:00:00Z</creationDate><device model="none" version="0"/>
<pixels sizeX="{width}" sizeY="{height}">
<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/>
<dimension sizeX="{width_1}" sizeY="{height_1}" r="1" ifd="1"/></pixels>
<view sizeX="{nm_x}" sizeY="{nm_y}" offsetX="100000" offsetY="50000" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
</image></collection></scn>"""
