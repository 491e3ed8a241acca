"""One uploaded picture through the model: probability, spread, calls and what it rests on."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Annotated, Final, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import (
    ModelCard,
    PatchClassifier,
    logit,
    operating_points,
    predict_views,
)
from wsi_pipeline.errors import DatasetError, SlideOpenError
from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.pipeline.decoding import DecodedPicture, decoded
from wsi_pipeline.pipeline.pictures import (
    CutPicture,
    at_scale,
    cut_picture,
    normalize_stain,
    stain_words,
)
from wsi_pipeline.slides.codestreams import MOST_SCANS, jpeg_has_few_scans
from wsi_pipeline.slides.tiff_bounds import check_tiff_file
from wsi_pipeline.web.answers import ModelCardAnswer
from wsi_pipeline.web.errors import BusyError, TooLargeError, UnusableError

FORMATS: Final = ("PNG", "JPEG", "TIFF")
MAX_UPLOAD_BYTES: Final = 24 * 2**20
MAX_PIXELS: Final = 16_000_000
MAX_PATCHES: Final = 900
"""Of a field: 12 x 12 mm at 400 µm a patch. Larger pictures are slides and belong to `run`."""
SMALLEST_SHARE: Final = 0.5
"""A picture with a side below this share of a patch shows too little; above it is padded."""
OCCLUDER_SHARE: Final = 0.2
"""Side of the square that hides a part of the patch, as a share of the patch's."""
WAIT_SECONDS: Final = 20.0
CardPart = Literal["training_data", "metrics", "architecture", "license"]
SHOWN_OF_CARD: Final[tuple[CardPart, ...]] = get_args(CardPart)

DECODER_ERRORS: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError),
    *(MemoryError, struct.error, Warning, Image.DecompressionBombError),
)
"""What Pillow's decoders raise on damaged or hostile files."""


class Call(BaseModel):
    """What the model says at one operating point."""

    operating_point: str
    threshold: float
    is_idc: bool


class Occlusion(BaseModel):
    """How much the log-odds of IDC fall when a square of the patch is hidden (Zeiler 2014)."""

    patch: int
    """Index of the explained patch: that of the highest probability."""
    side: int
    """The map has side x side values, row by row, over the whole patch."""
    drop: list[float]
    """Positive: what was hidden spoke for IDC; negative: against it."""


class Classification(BaseModel):
    """The answer to a picture."""

    notice: str = NOTICE
    model: str
    width_px: int
    """Of the picture as uploaded."""
    height_px: int
    um_px: float
    """At which the picture was taken to be."""
    is_scale_assumed: bool
    """True where none was given: the model's own was assumed."""
    notes: list[str] = []
    """What a user should know of the file: pages that were left out, a picture that was turned."""
    is_padded: bool
    """True where the picture did not fill its patches; the rest was taken for glass."""
    stain: str
    """What was done to the stain; "" where the model asks for nothing."""
    rows: int
    cols: int
    """The picture as rows x cols patches."""
    probability: Annotated[float, Field(ge=0, le=1)]
    """Of the patch with the highest, mean over eight views."""
    spread: float
    """Standard deviation over the eight views of that patch."""
    probabilities: list[float]
    """Of every patch, row by row."""
    spreads: list[float]
    calls: list[Call]
    """Of the patch with the highest probability."""
    occlusion: Occlusion


class UploadClassifier:
    """Classifies uploads, one at a time: the slide viewers keep their cores.

    Parameters
    ----------
    card : ModelCard
        Of the model.
    load : callable
        Returns the classifier; called with the first upload.
    """

    def __init__(self, card: ModelCard, load: Callable[[], PatchClassifier]) -> None:
        self._card, self._load = card, load
        self._classifier: PatchClassifier | None = None
        self.turn = threading.Lock()
        """Held while the model is at work."""

    def classify(self, data: bytes, um_px: float | None) -> Classification:
        """Return what the model says about a picture.

        Parameters
        ----------
        data : bytes
            A PNG, JPEG or TIFF file.
        um_px : float or None
            µm per px of the picture; None means the model's own.

        Raises
        ------
        TooLargeError, UnusableError, BusyError
        """
        if not self.turn.acquire(timeout=WAIT_SECONDS):
            raise BusyError("the model is at work for others", "Try again in a few seconds")
        try:  # unpacking too: one picture at a time is in memory
            return self._answer(decode(data), um_px)
        finally:
            self.turn.release()

    def card_record(self) -> ModelCardAnswer:
        """Return the model's card for display, with the operating points."""
        card = self._card
        answer: ModelCardAnswer = {
            "name": card.name,
            "sha256": card.sha256,
            "patch_size_px": card.patch_size_px,
            "spacing_um_px": card.spacing_um_px,
            "stain": card.stain,
            "operating_points": operating_points(card),
            "notice": NOTICE,
        }
        for name in SHOWN_OF_CARD:
            if name in card.record:
                answer[name] = card.record[name]
        return answer

    def _answer(self, decoded: DecodedPicture, um_px: float | None) -> Classification:
        picture = decoded.rgb
        if self._classifier is None:
            self._classifier = self._load()
        classifier = self._classifier
        card = classifier.card
        scale = card.spacing_um_px if um_px is None else um_px
        field, stain = prepare(picture, scale, card)
        probability, spread = predict_views(classifier, field.patches)
        best = int(probability.argmax())
        return Classification(
            model=card.name,
            width_px=picture.shape[1],
            height_px=picture.shape[0],
            um_px=scale,
            is_scale_assumed=um_px is None,
            notes=list(decoded.notes),
            is_padded=any(field.notes),
            stain=stain,
            rows=field.rows,
            cols=field.cols,
            probability=float(probability[best]),
            spread=float(spread[best]),
            probabilities=[round(p, 6) for p in probability.tolist()],
            spreads=[round(s, 6) for s in spread.tolist()],
            calls=calls(float(probability[best]), operating_points(card)),
            occlusion=occlusion(classifier, field.patches[best], best),
        )


def calls(probability: float, points: dict[str, float]) -> list[Call]:
    """Return the call at every operating point."""
    return [
        Call(operating_point=name, threshold=threshold, is_idc=probability >= threshold)
        for name, threshold in points.items()
    ]


def decode(data: bytes) -> DecodedPicture:
    """Return the pixels of an uploaded file, as `classify` reads them.

    Raises
    ------
    TooLargeError
        Where it has more pixels than are taken, or parts that are larger than it: found out from
        the header, nothing is unpacked.
    UnusableError
        Where it is no picture, damaged, or of a kind that cannot be classified.
    """
    try:
        _check_stream(data)
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            _check_header(picture)
            return decoded(picture)
    except DatasetError as error:
        raise UnusableError(error.problem, error.advice) from error
    except DECODER_ERRORS as error:
        raise UnusableError(
            "the file is no readable picture", "Send a whole PNG, JPEG or TIFF file"
        ) from error


def _check_stream(data: bytes) -> None:
    """Refuse what is not bounded by the picture's own size: tiles, tags, pages, scans."""
    try:
        check_tiff_file(BytesIO(data), "the file")
    except SlideOpenError as error:
        raise TooLargeError(error.problem, "Save it as a plain PNG") from error
    if data.startswith(b"\xff\xd8") and not jpeg_has_few_scans(data):
        raise TooLargeError(f"a JPEG of more than {MOST_SCANS} scans", "Save it as a plain PNG")


def _check_header(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise TooLargeError(
            f"the picture has {picture.width} x {picture.height} px, at most "
            f"{MAX_PIXELS / 1e6:.0f} megapixels are taken",
            "Cut out a field, or run the whole slide with `wsi-pipeline run`",
        )


def prepare(picture: RgbArray, um_px: float, card: ModelCard) -> tuple[CutPicture, str]:
    """Bring a picture to the model's scale and stain and cut it, as `classify` does.

    Returns
    -------
    field : CutPicture
    stain : str
        What was done to the stain.

    Raises
    ------
    TooLargeError, UnusableError
        Where that would be too many patches, less than half of one, or is too coarse.
    """
    try:
        scaled = at_scale(picture, um_px, card)
    except DatasetError as error:
        raise UnusableError(error.problem, error.advice) from error
    side = card.patch_size_px
    height, width = scaled.shape[:2]
    if min(height, width) < SMALLEST_SHARE * side:
        raise UnusableError(
            f"at the model's scale the picture has {width} x {height} px, a patch {side} x {side}",
            "Send a larger field, or check the µm per pixel",
        )
    field = cut_picture(scaled, side)
    if len(field.patches) > MAX_PATCHES:
        raise TooLargeError(
            f"the field has {len(field.patches)} patches, at most {MAX_PATCHES} are taken",
            "Cut out a part, or run the whole slide with `wsi-pipeline run`",
        )
    patches, health = normalize_stain(field.patches, card)
    return replace(field, patches=patches), stain_words(health) if health else ""


def occlusion(classifier: PatchClassifier, patch: RgbArray, index: int) -> Occlusion:
    """Return how the log-odds fall as a square wanders over the patch, hiding it.

    Notes
    -----
    The square has the patch's own mean color, so that no new edge to glass appears. Each value of
    the map is the mean over the squares that cover it.

    References
    ----------
    Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """
    side = patch.shape[0]
    square = max(1, round(side * OCCLUDER_SHARE))
    step = max(1, square // 2)
    starts = range(0, side - square + 1, step)
    hidden = np.repeat(patch[None], len(starts) ** 2, axis=0)
    color = patch.reshape(-1, 3).mean(0).round().astype(np.uint8)
    places = [(y, x) for y in starts for x in starts]
    for image, (y, x) in zip(hidden, places, strict=True):
        image[y : y + square, x : x + square] = color
    whole = logit(classifier.predict(patch[None]))[0]
    falls = whole - logit(classifier.predict(hidden))
    return _spread_out(falls, places, square // step, step, index, len(starts))


def _spread_out(
    falls: FloatArray,
    places: list[tuple[int, int]],
    n_covered: int,
    step: int,
    index: int,
    n_starts: int,
) -> Occlusion:
    """Average the falls of the squares over each cell of `step` px that they cover."""
    side = n_starts - 1 + n_covered
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for fall, (y, x) in zip(falls.tolist(), places, strict=True):
        window = np.s_[y // step : y // step + n_covered, x // step : x // step + n_covered]
        total[window] += fall
        count[window] += 1
    drop = (total / count).round(4).ravel().tolist()
    return Occlusion(patch=index, side=side, drop=drop)
