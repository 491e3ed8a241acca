"""Plain RGB pictures as slides of one level, held in memory."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tifffile import COMPRESSION

from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.geometry import Mpp, RgbArray, Size
from wsi_pipeline.slides.array_reader import ArrayReader
from wsi_pipeline.slides.codestreams import MOST_SCANS, jpeg_has_few_scans, jpeg_size
from wsi_pipeline.slides.color import plan_icc, profile_from_bytes
from wsi_pipeline.slides.formats import is_tiff, read_head
from wsi_pipeline.slides.pyramid import SlideInfo
from wsi_pipeline.slides.resolution import NO_SOURCE, Resolution, resolve, tiff_resolution, with_ome
from wsi_pipeline.slides.tiff_contents import TiffContents, colorless

LARGEST_PICTURE_PX: Final = 1_000_000_000
"""3 GB as RGB: what is larger belongs in a pyramidal TIFF."""

PICTURE_FORMATS: Final = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
"""What Pillow is asked for. Others of its formats start programs (EPS: Ghostscript)."""
_BOUNDED: Final = frozenset(
    {COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE}
    | {COMPRESSION.PACKBITS, COMPRESSION.ZSTD, COMPRESSION.LZMA}
)
"""Their decoders fill what the page states, and no more."""
_MOST_SAMPLES: Final = 4
"""Of a pixel, RGB with transparency."""
_WHITE: Final = (255, 255, 255)
_PYRAMID_ADVICE: Final = "Convert it to a tiled pyramidal TIFF, for instance with vips or QuPath"
_pillow_limit = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    rgb: RgbArray
    resolution: Resolution
    icc_profile: bytes | None
    warnings: tuple[str, ...] = ()


def open_picture(
    path: Path,
    *,
    mpp: Mpp | None = None,
    mpp_override: Mpp | None = None,
    apply_icc: bool = False,
    contents: TiffContents | None = None,
) -> ArrayReader:
    """Open a PNG, JPEG or TIFF picture; parameters as in `open_slide`.

    `contents` says what a TIFF holds: its chosen image is read.

    Only a TIFF states its µm/px: the dots per inch of a PNG or JPEG speak of a screen or printer.

    Raises
    ------
    SlideOpenError
        Where it is no picture, damaged, too large for memory, or has no color.
    """
    picture = _load(path, contents)
    to_srgb, icc, icc_warnings = plan_icc(
        lambda: profile_from_bytes(picture.icc_profile), apply_icc=apply_icc
    )
    rgb = picture.rgb if to_srgb is None else to_srgb(picture.rgb)
    size, unread = Size(rgb.shape[1], rgb.shape[0]), contents.unread if contents else ()
    resolution = resolve(
        with_ome(contents.chosen.mpp if contents else None, picture.resolution, size),
        size,
        mpp=mpp,
        mpp_override=mpp_override,
    )
    info = SlideInfo(
        path=path,
        vendor="image",
        n_bytes=path.stat().st_size,
        quickhash=_sha256(path),
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective_power=None,
        background_rgb=_WHITE,
        icc=icc,
        warnings=unread + resolution.warnings + picture.warnings + icc_warnings,
        unread=unread,
    )
    return ArrayReader([rgb], info=info)


def _load(path: Path, contents: TiffContents | None) -> _Picture:
    if path.suffix.lower() in {".tif", ".tiff", ".svs"} or is_tiff(read_head(path)):
        return _load_tiff(path, contents.chosen.page if contents else 0)
    return _load_with_pillow(path)


def _load_tiff(path: Path, number: int) -> _Picture:
    try:
        with tifffile.TiffFile(path) as tiff:
            _check_is_whole(path, tiff)
            page = tiff.pages[number]
            _check_size(path, page.imagewidth, page.imagelength, -(-page.size // _MOST_SAMPLES))
            _check_segments(path, page)
            pixels, photometric = page.asarray(), page.photometric.name
            resolution = page_resolution(page)
            profile = page.tags.valueof("InterColorProfile")
    except SlideOpenError:
        raise
    # a damaged TIFF surfaces as any of a dozen exceptions of its decoders
    except Exception as exc:
        raise SlideOpenError(
            f"{path.name} is no slide or TIFF that can be read ({exc})",
            "It may be truncated or damaged: copy it again",
        ) from exc
    rgb, warnings = _as_rgb(path, pixels, photometric)
    return _Picture(rgb, resolution, profile, warnings)


def _check_is_whole(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a TIFF cut short: its finest level may read well while the others are lost.

    OpenSlide does not take such a pyramid, and it must not pass for a picture.
    """
    size, end = tiff.filehandle.size, 0
    for page in tiff.pages:
        stops = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        end = max(end, *stops)
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    next_directory = tiff.filehandle.read(tiff.tiff.offsetsize)
    if end > size or any(next_directory):
        raise SlideOpenError(
            f"{path.name} is truncated: it has {size} bytes and points beyond them",
            "Copy it again from the scanner",
        )


def page_resolution(page: tifffile.TiffPage) -> Resolution:
    """Return µm/px by the resolution tags of a page."""
    x, y = page.tags.valueof("XResolution"), page.tags.valueof("YResolution")
    if not x or not y or not x[1] or not y[1]:
        return Resolution(None, NO_SOURCE)
    unit = page.tags.valueof("ResolutionUnit", 2)
    name = {2: "inch", 3: "centimeter"}.get(int(unit), "none")
    return tiff_resolution(x[0] / x[1], y[0] / y[1], name)


def _as_rgb(
    path: Path, pixels: NDArray[np.generic], photometric: str
) -> tuple[RgbArray, tuple[str, ...]]:
    """Return uint8 RGB; refuse what has no color."""
    if photometric not in {"RGB", "YCBCR"} or pixels.ndim != 3 or pixels.shape[-1] not in {3, 4}:
        raise colorless(path, f"{photometric.lower()} picture of shape {pixels.shape}")
    warnings: tuple[str, ...] = ()
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        warnings = ("16 bits a channel reduced to 8: 65535 is read as white",)
    if pixels.dtype != np.uint8:
        raise colorless(path, f"picture of {pixels.dtype} values")
    if pixels.shape[-1] == 4:
        return _on_white(Image.fromarray(pixels)), warnings
    return np.ascontiguousarray(pixels, np.uint8), warnings


def _load_with_pillow(path: Path) -> _Picture:
    try:
        with _open_unlimited(path) as image:
            _check_size(path, image.width, image.height)
            if image.format == "JPEG" and not jpeg_has_few_scans(path.read_bytes()):
                raise too_many_scans(path.name)
            image.load()
            return _Picture(
                _rgb_from_pillow(path, image),
                Resolution(None, NO_SOURCE),
                image.info.get("icc_profile"),
            )
    except UnidentifiedImageError as exc:
        raise SlideOpenError(
            f"{path.name} is neither a slide that OpenSlide reads nor a picture",
            "It may be truncated, or of another kind: convert it to a pyramidal TIFF",
        ) from exc
    except (OSError, SyntaxError, ValueError) as exc:
        raise SlideOpenError(
            f"{path.name} cannot be read ({exc})", "It may be truncated or damaged: copy it again"
        ) from exc


def _open_unlimited(path: Path) -> Image.Image:
    """Open without Pillow's size limit; ours is larger, and checked before decoding."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=PICTURE_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _rgb_from_pillow(path: Path, image: Image.Image) -> RgbArray:
    if image.mode in {"RGBA", "PA"} or (image.mode == "P" and "transparency" in image.info):
        return _on_white(image.convert("RGBA"))
    if image.mode in {"RGB", "P", "CMYK", "YCbCr"}:
        return np.array(image.convert("RGB"))
    raise colorless(path, f"picture of Pillow mode {image.mode}")


def _on_white(rgba: Image.Image) -> RgbArray:
    white = Image.new("RGBA", rgba.size, (*_WHITE, 255))
    return np.array(Image.alpha_composite(white, rgba).convert("RGB"))


def _check_segments(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse compressed parts that state another size than the page: decoders believe them.

    Raises
    ------
    SlideOpenError
        Also where the compression is none whose parts can be looked at.
    """
    if page.compression in _BOUNDED:
        return
    if page.compression != COMPRESSION.JPEG:
        name = getattr(page.compression, "name", str(page.compression))
        raise SlideOpenError(
            f"{path.name} is a plain TIFF compressed by {name}, which is not read",
            _PYRAMID_ADVICE,
        )
    height, width = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth)
    )
    for offset, n_bytes in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(offset)
        data = page.parent.filehandle.read(min(n_bytes, page.parent.filehandle.size))
        size = jpeg_size(data)
        if size is None or size.width > width or size.height > height:
            raise SlideOpenError(
                f"{path.name}: a part of {width} x {height} px holds a JPEG of "
                f"{size.width if size else '?'} x {size.height if size else '?'} px",
                "It is damaged or made to do harm: export it again",
            )
        if not jpeg_has_few_scans(data):
            raise too_many_scans(path.name)


def too_many_scans(name: str) -> SlideOpenError:
    """Return the refusal of a JPEG that is decoded in more passes than any encoder makes."""
    return SlideOpenError(
        f"{name}: a JPEG of more than {MOST_SCANS} scans", "Save it again as a plain JPEG or PNG"
    )


def _check_size(path: Path, width: int, height: int, n_px: int = 0) -> None:
    if max(width * height, n_px) > LARGEST_PICTURE_PX:
        raise SlideOpenError(
            f"{path.name} has {width} x {height} px, too many to hold in memory as a plain picture",
            _PYRAMID_ADVICE,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
