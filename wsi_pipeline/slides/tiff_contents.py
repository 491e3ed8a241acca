"""What a TIFF holds beside its first image: scenes, focal planes, a macro picture, channels.

OpenSlide shows the first image of a plain TIFF and the pages marked as reduced; a picture reader
shows the first page. Whatever else lies in the file would be left out without a word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image
from tifffile import PHOTOMETRIC

from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.geometry import Box, Mpp, Size
from wsi_pipeline.slides.ome_xml import OmeImage, is_ome_xml, read_ome_xml
from wsi_pipeline.slides.tiff_tiles import tiles_of_page

COARSER: Final = 3.0
"""An unnamed first image this much coarser than another, and smaller, is its macro picture."""
MOST_NAMED: Final = 4
"""Images named one by one in a warning."""
_BESIDE: Final = re.compile(
    r"\b(label|macro|overview|thumbnail|thumb|map|preview|barcode)\b", re.IGNORECASE
)
_REDUCED, _MASK, _UNSIGNED = 1, 4, 1
_MOST_SAMPLES: Final = 4
"""Of a pixel: red, green, blue, and alpha or the black of print."""
_SAME_PICTURE: Final = 0.8
"""Correlation of the gray values from which a smaller page is a level of the first."""
_SAME_GRAY: Final = 10.0
"""Difference of the means where both are blank, of 255."""
_LARGEST_PROBE_PX: Final = 2048
"""Side of what is read of the first image to compare."""
_IMAGEJ_PAGES: Final = re.compile(r"^ImageJ=.*?^images=(\d+)", re.DOTALL | re.MULTILINE)
_QPTIFF_KIND: Final = re.compile(r"<ImageType>\s*(\w+)\s*</ImageType>")

DAMAGED: Final = (tifffile.TiffFileError, ValueError, RuntimeError, OSError, EOFError, IndexError)


# What it complains of in damaged files is said by the error that follows.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class TiffImage:
    """One image of a TIFF: a scene, a macro picture."""

    page: int
    """Of its finest level, along the main chain of directories."""
    size: Size
    name: str
    """As the file calls it; may be empty."""
    mpp: Mpp | None
    """µm/px by the OME-XML; None where that states none."""
    n_planes: int = 1
    """Pictures of this size: a focal stack or a series in time."""

    @property
    def is_beside(self) -> bool:
        """True for a label, a macro picture and the like."""
        return bool(_BESIDE.search(self.name.replace("_", " ")))

    def __str__(self) -> str:
        name = f'"{self.name}", ' if self.name else ""
        return f"page {self.page + 1} ({name}{self.size.width} x {self.size.height} px)"


@dataclass(frozen=True, slots=True)
class TiffContents:
    """The images of a TIFF and what its pixels are."""

    images: tuple[TiffImage, ...]
    chosen: TiffImage
    """The one to read: the first, unless that is a macro picture of another."""
    colorless: str
    """Why there is no color in it, "" where there is."""
    bits: int
    """Of a sample."""
    is_blank: bool = False
    """True where the file holds no tile of the chosen image: nothing was scanned, or written."""

    @property
    def unread(self) -> tuple[str, ...]:
        """What is left out, a sentence each."""
        others = [im for im in self.images if im is not self.chosen and not im.is_beside]
        words = []
        if self.chosen.page != self.images[0].page:
            words.append(f"the first image is a macro picture: {self.chosen} was read instead")
        if others:
            named = ", ".join(map(str, others[:MOST_NAMED]))
            more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
            words.append(
                f"only one of {len(others) + 1} images in the file was read, {self.chosen}; NOT "
                f"READ: {named}{more}. Export each scene as a file of its own"
            )
        return (*words, *self.unread_planes)

    @property
    def unread_planes(self) -> tuple[str, ...]:
        """The pictures of the chosen image's size that are left out, as a sentence."""
        if self.chosen.n_planes == 1:
            return ()
        return (
            f"only the first of {self.chosen.n_planes} pictures of one size (focal planes, points "
            "in time) was read",
        )


def read_contents(path: Path) -> TiffContents | None:
    """Return what a TIFF holds, None where the file is none or too damaged to tell."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return _contents(path, tiff)
    except DAMAGED:
        return None


def require_color(path: Path, contents: TiffContents) -> None:
    """Refuse a TIFF that cannot show the colors of a stain.

    Raises
    ------
    SlideOpenError
        Where it is gray, a palette, of more than 16 bits, or holds no pixels at all.
    """
    if contents.is_blank:
        raise SlideOpenError(
            f"{path.name} holds no pixels: its first level has no tile",
            "Its export was cut off or went wrong: export it again",
        )
    if contents.colorless:
        raise colorless(path, contents.colorless)


def colorless(path: Path, what: str) -> SlideOpenError:
    """Return the refusal of a picture without the colors of a stain."""
    return SlideOpenError(
        f"{path.name} is a {what}, not 8-bit RGB",
        "The classifier needs the colors of the stain: export the slide in color. A label mask is "
        "no slide: leave it out",
    )


def _contents(path: Path, tiff: tifffile.TiffFile) -> TiffContents:
    pages = list(tiff.pages)
    description = str(pages[0].description)
    images = tuple(
        _ome_images(read_ome_xml(description), pages)
        if is_ome_xml(description)
        else _plain_images(path, pages)
    ) or (_image(pages[0], 0),)
    chosen = _choose(images)
    page = pages[chosen.page]
    colorless_as = _why_colorless(page, len(pages))
    return TiffContents(images, chosen, colorless_as, _bits(page), not any(page.databytecounts))


def _ome_images(images: tuple[OmeImage, ...], pages: list[Any]) -> Iterator[TiffImage]:
    for image in images:
        here = [page for page in image.pages if page < len(pages)]
        if here:
            first = pages[here[0]]
            size = Size(first.imagewidth, first.imagelength)
            yield TiffImage(here[0], size, image.name, image.mpp, image.n_planes)


def _plain_images(path: Path, pages: list[Any]) -> Iterator[TiffImage]:
    """Yield the first page and those that are neither its levels nor its planes."""
    first = pages[0]
    size = (first.imagewidth, first.imagelength)
    rest = [(n, p) for n, p in enumerate(pages) if n and not _is_marked(p)]
    same = [p for _, p in rest if (p.imagewidth, p.imagelength) == size]
    stack = _IMAGEJ_PAGES.search(str(first.description))
    n_planes = int(stack.group(1)) if stack and len(pages) == 1 else 1 + len(same)
    if _is_gray(first):  # channels, not planes; it is refused for that
        n_planes = 1
    yield _image(first, 0, n_planes)
    for number, page in rest:
        if (page.imagewidth, page.imagelength) != size and not _belongs_to(path, page, first):
            yield _image(page, number)


def _image(page: Any, number: int, n_planes: int = 1) -> TiffImage:
    size = Size(page.imagewidth, page.imagelength)
    return TiffImage(number, size, _page_name(page), None, n_planes)


def _page_name(page: Any) -> str:
    """Return what the file calls a page; a long description is no name."""
    description = str(page.description)
    kind = _QPTIFF_KIND.search(description)
    if kind:
        return kind.group(1)
    name = str(page.tags.valueof("PageName") or description).strip()
    return name if len(name) <= 60 and "\n" not in name and not name.startswith(("{", "<")) else ""


def _is_marked(page: Any) -> bool:
    """Tell whether a page says itself that it is a level or a mask of another."""
    kind = _QPTIFF_KIND.search(str(page.description))
    if kind and kind.group(1) != "FullResolution":
        return True
    return bool(int(page.subfiletype) & (_REDUCED | _MASK))


def _belongs_to(path: Path, page: Any, first: Any) -> bool:
    """Tell whether an unmarked page is a label of the first image, or a level of its pyramid."""
    n_px, first_px = page.imagewidth * page.imagelength, first.imagewidth * first.imagelength
    if first.is_tiled and not page.is_tiled and 4 * n_px <= first_px:
        return True
    x, y = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength
    rounding = 1.5 * max(x / page.imagewidth, y / page.imagelength)
    if min(x, y) < 1.5 or abs(x - y) > rounding + 0.01 * x:
        return False
    return _shows_the_same(path, page, first)


def _shows_the_same(path: Path, page: Any, first: Any) -> bool:
    """Compare the middle of a smaller page's fullest tile with its place in the first image."""
    small, large = tiles_of_page(path, page), tiles_of_page(path, first)
    if small is None or large is None:
        return False
    x, y = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength
    tile = small.box(small.largest)
    side = min(tile.width, tile.height, max(8, int(_LARGEST_PROBE_PX / max(x, y))))
    left, top = tile.x + (tile.width - side) // 2, tile.y + (tile.height - side) // 2
    a = small.read(Box(left, top, side, side))
    b = large.read(Box(int(left * x), int(top * y), int(side * x), int(side * y)))
    if a is None or b is None:
        return False
    fine = np.asarray(Image.fromarray(b).convert("L").resize((side, side), Image.Resampling.BOX))
    coarse = np.asarray(Image.fromarray(a).convert("L"))
    if min(fine.std(), coarse.std()) < 1:
        return bool(abs(fine.mean() - coarse.mean()) < _SAME_GRAY)
    return bool(np.corrcoef(fine.ravel(), coarse.ravel())[0, 1] >= _SAME_PICTURE)


def _choose(images: tuple[TiffImage, ...]) -> TiffImage:
    """Return the slide among the images: the first, unless that is a macro picture of another."""
    first = images[0]
    others = [image for image in images[1:] if not image.is_beside]
    if not others:
        return first
    largest = max(others, key=lambda image: image.size.width * image.size.height)
    return largest if first.is_beside or _is_macro_of(first, largest) else first


def _is_macro_of(image: TiffImage, other: TiffImage) -> bool:
    if image.mpp is None or other.mpp is None:
        return False
    smaller = image.size.width * image.size.height < other.size.width * other.size.height
    return smaller and image.mpp.mean >= COARSER * other.mpp.mean


def _why_colorless(page: Any, n_pages: int) -> str:
    name = getattr(page.photometric, "name", str(page.photometric)).lower()
    shape = f"{page.imagewidth} x {page.imagelength} px, {_bits(page)} bits"
    if _is_gray(page):
        channels = f", one of {n_pages} pages" if n_pages > 1 else ""
        return f"gray picture ({name}, {shape}{channels})"
    if page.photometric == PHOTOMETRIC.PALETTE:
        return f"palette picture ({shape})"
    if page.samplesperpixel < 3:
        return f"picture of {page.samplesperpixel} samples a pixel ({name}, {shape})"
    if page.samplesperpixel > _MOST_SAMPLES:
        return f"picture of {page.samplesperpixel} samples a pixel ({shape}), as of many bands"
    if _bits(page) not in (8, 16) or int(page.sampleformat) != _UNSIGNED:
        kind = "integers" if int(page.sampleformat) in (1, 2) else "fractions"
        return f"picture of {_bits(page)}-bit {kind} ({name})"
    return ""


def _is_gray(page: Any) -> bool:
    return page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MASK)


def _bits(page: Any) -> int:
    bits = page.bitspersample
    return int(max(bits) if isinstance(bits, tuple) else bits)
