"""The slide as Deep Zoom tiles.

Four frames: level-0 px of the slide; *image* px, level 0 less the origin of the scanned bounds,
which is what the viewer and `regions.geojson` speak; *zoom* px of one Deep Zoom level, image px
divided by a power of two; and a tile's own px. The last zoom level is the image itself, the first
is one pixel.

References
----------
Deep Zoom file format, Microsoft 2008, as OpenSeadragon and OpenSlide's deepzoom.py read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from wsi_pipeline.classifier import available_cores
from wsi_pipeline.errors import ReadError
from wsi_pipeline.files import read_below
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.results.layout import THUMBNAIL_NAME
from wsi_pipeline.slides import Pyramid, ReadPlan, SlideReader, read_canvas
from wsi_pipeline.web.cache import ByteBoundCache
from wsi_pipeline.web.catalog import Catalog, CatalogEntry
from wsi_pipeline.web.errors import BusyError, NotFoundError
from wsi_pipeline.web.open_slides import OpenSlides

TILE_PX: Final = 256
"""A divisor of the pieces that the reader reads in, and the tile of most scanners: a tile of the
finest level is then one decoded tile of the file."""
JPEG_QUALITY: Final = 88
CACHE_BYTES: Final = 64 * 2**20
"""Some thousand tiles; with the other caches' limits it bounds the server's memory."""
TILE_SECONDS: Final = 30.0
"""How long a tile is waited for."""
STORED_FORMATS: Final = ("JPEG", "PNG")
MOST_PICTURE_BYTES: Final = 256 * 2**20
MOST_PICTURE_PX: Final = 100_000_000
PICTURE_ERRORS: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, Warning, Image.DecompressionBombError),
)
"""What reading a picture raises where it is missing, damaged, too large or another's."""
THUMBNAIL_CACHE_BYTES: Final = 32 * 2**20
CHEAP_RATIO: Final = 2.5
"""Level px per zoom px up to which a tile is read from the slide. Beyond it, on levels coarser than
the slide's last, the stored thumbnail is taken wherever it has the detail."""
LARGEST_RATIO: Final = 12.0
"""From here on the thumbnail is taken even if it shows blurred: only a slide without a pyramid
comes here, and one tile of it would read hundreds of megapixels."""
LEVEL_TOLERANCE: Final = 1.001
"""A level whose downsample is 4.0002 serves a zoom of 4."""


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """The tile pyramid of an image: pure arithmetic."""

    size: Size
    """Image px."""
    tile_px: int = TILE_PX

    def __post_init__(self) -> None:
        if min(self.size.width, self.size.height, self.tile_px) < 1:
            raise ValueError(f"an image and its tiles have pixels, received {self}")

    @property
    def max_level(self) -> int:
        """The level that is the image itself; level 0 is one pixel."""
        return (max(self.size.width, self.size.height) - 1).bit_length()

    def downsample(self, level: int) -> int:
        """Return the image px per zoom px of a level."""
        return 1 << (self.max_level - level)

    def size_zoom(self, level: int) -> Size:
        """Return the size of a level, zoom px."""
        factor = self.downsample(level)
        return Size(-(-self.size.width // factor), -(-self.size.height // factor))

    def n_tiles(self, level: int) -> tuple[int, int]:
        """Return the columns and rows of tiles of a level."""
        size = self.size_zoom(level)
        return (-(-size.width // self.tile_px), -(-size.height // self.tile_px))

    def box_zoom(self, level: int, col: int, row: int) -> Box:
        """Return the place of a tile, zoom px; tiles of the last column and row may be smaller.

        Raises
        ------
        NotFoundError
            Where the pyramid has no such tile.
        """
        if not 0 <= level <= self.max_level:
            raise NotFoundError(f"there is no zoom level {level}", f"0 to {self.max_level} are")
        cols, rows = self.n_tiles(level)
        if not (0 <= col < cols and 0 <= row < rows):
            raise NotFoundError(
                f"zoom level {level} has no tile in column {col}, row {row}",
                f"It has {cols} columns and {rows} rows",
            )
        size = self.size_zoom(level)
        whole = Box(0, 0, size.width, size.height)
        return whole.intersection(
            Box(col * self.tile_px, row * self.tile_px, self.tile_px, self.tile_px)
        )


def plan_zoom(pyramid: Pyramid, downsample: int) -> ReadPlan:
    """Return which slide level serves a zoom level: the coarsest that has its detail."""
    fits = [
        number
        for number, (x, y) in enumerate(pyramid.level_downsamples)
        if max(x, y) <= downsample * LEVEL_TOLERANCE
    ]
    level = max(fits, default=0)
    x, y = pyramid.level_downsamples[level]
    bounds = pyramid.bounds_l0
    return ReadPlan(level, (downsample / x, downsample / y), (bounds.x / x, bounds.y / y))


class TileServer:
    """Tiles of the slides of a run, as JPEG. Safe between threads."""

    def __init__(self, catalog: Catalog, cache_bytes: int = CACHE_BYTES) -> None:
        self._catalog = catalog
        self._tiles: ByteBoundCache[tuple[str, ...], bytes] = ByteBoundCache(cache_bytes, len)
        self._thumbnails: ByteBoundCache[tuple[str, ...], RgbArray] = ByteBoundCache(
            THUMBNAIL_CACHE_BYTES, lambda picture: picture.nbytes
        )
        self._slides = OpenSlides()
        # More readers than cores take the interpreter from each other; a queue serves in turn,
        # where a lock lets whoever comes just then go first.
        self._readers = ThreadPoolExecutor(available_cores(), "tiles")

    def reader(self, entry: CatalogEntry) -> SlideReader | None:
        """Return the open slide; None where its file is gone or cannot be opened any more."""
        source = self._catalog.source(entry)
        if source is None:
            return None
        return self._slides.get(source)

    def tile(self, entry: CatalogEntry, level: int, col: int, row: int) -> bytes:
        """Return one tile as JPEG.

        Raises
        ------
        NotFoundError
            Where there is no such tile, the slide is gone, or it is damaged there.
        """
        key = (entry.slide_id, entry.fingerprint, str(level), f"{col}_{row}")
        return self._tiles.get_or_make(key, lambda: self._make(entry, level, col, row))

    def picture(self, entry: CatalogEntry, name: str, width_px: int) -> bytes:
        """Return a stored picture of a slide, scaled down to a width, as JPEG."""
        key = (entry.slide_id, entry.fingerprint, name, str(width_px))
        return self._tiles.get_or_make(key, lambda: _scaled(entry, name, width_px))

    def _make(self, entry: CatalogEntry, level: int, col: int, row: int) -> bytes:
        reader = self.reader(entry)
        if reader is None:
            raise NotFoundError(
                f"the file of slide {entry.slide_id} is not there any more",
                "Start the server with --slides DIR and the folder where the slides are now",
            )
        bounds = reader.pyramid.bounds_l0
        zoom = DeepZoom(Size(bounds.width, bounds.height))
        box_zoom = zoom.box_zoom(level, col, row)
        plan = plan_zoom(reader.pyramid, zoom.downsample(level))
        thumbnail = self._thumbnail(entry, max(plan.ratio), zoom.size_zoom(level))
        if thumbnail is not None:
            return jpeg(_cut_out(thumbnail, box_zoom, zoom.size_zoom(level)))
        try:
            return self._readers.submit(_read, reader, plan, box_zoom).result(TILE_SECONDS)
        except TimeoutError:
            raise BusyError("the slide's file takes long to be read", "Try again") from None
        except ReadError as error:
            raise NotFoundError(error.problem, error.advice) from error

    def _thumbnail(self, entry: CatalogEntry, ratio: float, size_zoom: Size) -> RgbArray | None:
        """Return the stored thumbnail where it should stand in for the slide, else None."""
        if ratio <= CHEAP_RATIO or not (entry.folder / THUMBNAIL_NAME).is_file():
            return None
        key = (entry.slide_id, entry.fingerprint)
        picture = self._thumbnails.get_or_make(key, lambda: _decoded(entry, THUMBNAIL_NAME))
        has_detail = picture.shape[1] >= size_zoom.width
        return picture if has_detail or ratio > LARGEST_RATIO else None


def jpeg(rgb: RgbArray) -> bytes:
    """Return a picture as JPEG; chroma at full resolution, stains are told apart by color."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _read(reader: SlideReader, plan: ReadPlan, box_zoom: Box) -> bytes:
    return jpeg(read_canvas(reader, plan, box_zoom))


def _cut_out(thumbnail: RgbArray, box_zoom: Box, size_zoom: Size) -> RgbArray:
    """Return a tile from a picture of the whole image."""
    picture = Image.fromarray(thumbnail)
    x, y = picture.width / size_zoom.width, picture.height / size_zoom.height
    part = (box_zoom.x * x, box_zoom.y * y, box_zoom.right * x, box_zoom.bottom * y)
    size = (box_zoom.width, box_zoom.height)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=part))


def _decoded(entry: CatalogEntry, name: str) -> RgbArray:
    with _stored(entry, name) as picture:
        return np.asarray(picture.convert("RGB"))


def _scaled(entry: CatalogEntry, name: str, width_px: int) -> bytes:
    with _stored(entry, name) as picture:
        picture.draft("RGB", (width_px, 4 * width_px))  # JPEG: decode no more than is shown
        rgb = picture.convert("RGB")
        rgb.thumbnail((width_px, 4 * width_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return jpeg(np.asarray(rgb))


@contextmanager
def _stored(entry: CatalogEntry, name: str) -> Iterator[Image.Image]:
    """Open a picture of the results: of the two kinds that a run writes, through no link."""
    try:
        data = read_below(entry.folder / name, root=entry.out, most_bytes=MOST_PICTURE_BYTES)
        with Image.open(BytesIO(data), formats=STORED_FORMATS) as picture:
            if picture.width * picture.height > MOST_PICTURE_PX:
                raise ValueError(f"{picture.width} x {picture.height} px")
            yield picture
    except PICTURE_ERRORS as error:
        raise NotFoundError(
            f"slide {entry.slide_id} has no {name} that can be read",
            "It was not finished, or was run with --outputs map",
        ) from error
