"""Single pictures: brought to the model's scale and stain, cut into patches, classified, called.

What is done to a picture before the model sees it stands here once, for `classify` and for the
page of the review application.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.classifier import ModelCard, PatchClassifier, operating_points, predict_views
from wsi_pipeline.errors import ConfigError, DatasetError, SlideOpenError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.names import is_hidden
from wsi_pipeline.pipeline.decoding import DecodedPicture, decoded
from wsi_pipeline.pipeline.stain import stain_reference
from wsi_pipeline.slides import IMAGE_FORMATS, IMAGE_SUFFIXES
from wsi_pipeline.slides.tiff_bounds import check_tiff
from wsi_pipeline.stain import StainHealth, fit_with_fallback
from wsi_pipeline.tables import csv_bytes

SCALE_TOLERANCE: Final = 0.02
"""A picture within 2 % of the model's µm/px is taken as it is."""
MAX_PIXELS: Final = 40_000_000
"""Larger pictures are slides: `run` reads them in blocks and leaves the glass out."""
UNREADABLE: Final = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError)
"""What Pillow's decoders raise on damaged files."""
STAIN_PIXELS: Final = 200_000
"""Most pixels of a picture that its stain is fitted on."""


@dataclass(frozen=True, slots=True)
class ImageCall:
    """One patch of a picture and what the model says."""

    file: str
    x: int
    """Left edge of the patch, px of the picture at the model's µm/px."""
    y: int
    probability: float
    calls: dict[str, bool]
    """IDC or not, by the name of the operating point."""
    uncertainty: float | None
    """Spread over the views of test-time augmentation."""
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class CutPicture:
    """A picture as patches."""

    patches: RgbArray
    """uint8, shape (N, side, side, 3), row by row."""
    rows: int
    cols: int
    corners: tuple[tuple[int, int], ...]
    """x, y of each."""
    notes: tuple[str, ...]
    """Of each; "" where there is nothing to say."""


def find_images(inputs: Iterable[Path]) -> list[Path]:
    """Return the pictures named by files and folders (searched recursively).

    Raises
    ------
    ConfigError
        Where an input does not exist or a folder holds no picture.
    """
    found: list[Path] = []
    for item in inputs:
        if item.is_dir():
            inside = [
                path
                for path in sorted(item.rglob("*"))
                if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.relative_to(item))
            ]
            if not inside:
                raise ConfigError(
                    f"{item} holds no picture", f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}"
                )
            found += inside
        elif item.exists():
            found.append(item)
        else:
            raise ConfigError(f"there is no {item}", "Name pictures or folders of pictures")
    return list(dict.fromkeys(found))


def classify_image(
    path: Path, classifier: PatchClassifier, *, tta: bool = False, mpp: float | None = None
) -> Iterator[ImageCall]:
    """Classify the patches of one picture.

    Parameters
    ----------
    path : Path
    classifier : PatchClassifier
    tta : bool
        Average eight views.
    mpp : float, optional
        µm/px of the picture; None takes it to be the model's.

    Raises
    ------
    DatasetError
        Where the picture cannot be read, is coarser than the model's µm/px, or is a slide.
    """
    card = classifier.card
    read = read_picture(path, mpp, card)
    cut = cut_picture(read.rgb, card.patch_size_px)
    patches, health = normalize_stain(cut.patches, card)
    stain = [stain_words(health)] if health else []
    if tta:
        probabilities, spread = predict_views(classifier, patches)
    else:
        probabilities, spread = classifier.predict(patches), None
    points = operating_points(card)
    for i, (x, y) in enumerate(cut.corners):
        p = float(probabilities[i])
        yield ImageCall(
            str(path),
            x,
            y,
            p,
            {name: p >= threshold for name, threshold in points.items()},
            None if spread is None else float(spread[i]),
            "; ".join(filter(None, (cut.notes[i], *read.notes, *stain))),
        )


def read_picture(path: Path, mpp: float | None, card: ModelCard) -> DecodedPicture:
    """Return the picture in a file at the model's µm/px, see `decoded` and `at_scale`."""
    try:
        check_tiff(path)
        with Image.open(path, formats=IMAGE_FORMATS) as picture:
            _check_size(picture)
            found = decoded(picture)
        scale = card.spacing_um_px if mpp is None else mpp
        return DecodedPicture(at_scale(found.rgb, scale, card), found.notes)
    except SlideOpenError as error:
        raise DatasetError(f"{path}: {error.problem}", error.advice) from error
    except (*UNREADABLE, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as a picture") from error
    except DatasetError as error:
        raise DatasetError(f"{path}: {error.problem}", error.advice) from error


def _check_size(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise DatasetError(
            f"it has {picture.width} x {picture.height} px: that is a slide",
            "Use `wsi-pipeline run`, which reads it in blocks and leaves the glass out",
        )


def at_scale(picture: RgbArray, mpp: float, card: ModelCard) -> RgbArray:
    """Return a picture at the model's µm/px, reduced by area averaging where it is finer.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
    mpp : float
        µm/px of the picture.
    card : ModelCard

    Raises
    ------
    DatasetError
        Where the picture is coarser than the model needs.
    """
    ratio = mpp / card.spacing_um_px
    if ratio > 1 + SCALE_TOLERANCE:
        raise DatasetError(
            f"the picture at {mpp:g} µm/px is coarser than the model's {card.spacing_um_px:g} "
            "µm/px",
            "Detail that is not there cannot be made: take a finer picture",
        )
    if ratio >= 1 - SCALE_TOLERANCE:
        return picture
    size = (max(1, round(picture.shape[1] * ratio)), max(1, round(picture.shape[0] * ratio)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def normalize_stain(patches: RgbArray, card: ModelCard) -> tuple[RgbArray, StainHealth | None]:
    """Normalize the stain of a picture's patches where the model was trained with that.

    A slide is fitted on patches from all over it; here there is the picture alone, which may show
    one stain only. Where it cannot carry the fit its colors are left as they are.

    Parameters
    ----------
    patches : ndarray of uint8, shape (N, side, side, 3)
        All of one picture; white padding does no harm.
    card : ModelCard

    Returns
    -------
    patches : ndarray of uint8, shape (N, side, side, 3)
    health : StainHealth or None
        How the fit went; None where the model asks for none.
    """
    if card.stain == "none":
        return patches, None
    pixels = patches.reshape(-1, 3)
    pixels = pixels[:: len(pixels) // STAIN_PIXELS + 1]
    normalizer, health = fit_with_fallback(pixels, card.stain, stain_reference(card))
    return normalizer.transform(patches), health


def stain_words(health: StainHealth) -> str:
    """Return what was done to the stain of a picture, in words."""
    if health.used == health.requested:
        return f"stain normalized ({health.used}, fitted on this picture alone)"
    done = "not normalized" if health.used == "none" else f"normalized by {health.used}"
    return f"stain {done}: the model asks for {health.requested}, {'; '.join(health.reasons)}"


def cut_picture(picture: RgbArray, patch_px: int) -> CutPicture:
    """Cut a picture into patches from its upper left corner, padded with white at the edges.

    A remainder of less than half a patch at the right or the bottom is left out where the picture
    is larger than a patch: it would be more white than tissue.
    """
    height, width = picture.shape[:2]
    rows, cols = (max(1, int(side / patch_px + 0.5)) for side in (height, width))
    padded = np.full((rows * patch_px, cols * patch_px, 3), 255, np.uint8)
    part = picture[: padded.shape[0], : padded.shape[1]]
    padded[: part.shape[0], : part.shape[1]] = part
    cells = padded.reshape(rows, patch_px, cols, patch_px, 3).swapaxes(1, 2)
    corners = tuple((c * patch_px, r * patch_px) for r in range(rows) for c in range(cols))
    notes = tuple(
        "padded with white" if x + patch_px > width or y + patch_px > height else ""
        for x, y in corners
    )
    return CutPicture(
        np.ascontiguousarray(cells.reshape(-1, patch_px, patch_px, 3)), rows, cols, corners, notes
    )


def calls_table(calls: Sequence[ImageCall]) -> str:
    """Return the calls as CSV: file, x, y, probability, a column an operating point, note."""
    points = list(calls[0].calls) if calls else []
    spread = ["uncertainty"] if calls and calls[0].uncertainty is not None else []
    columns = ["file", "x", "y", "probability", *(f"call_{n}" for n in points), *spread, "note"]
    rows = []
    for call in calls:
        words = ["IDC" if call.calls[name] else "not IDC" for name in points]
        uncertainty = [f"{call.uncertainty:.6f}"] if call.uncertainty is not None else []
        rows.append(
            [call.file, call.x, call.y, f"{call.probability:.6f}", *words, *uncertainty, call.note]
        )
    return csv_bytes(columns, rows).decode()
