"""The card of a model folder: what the weights expect, and the threshold to call IDC."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.context import ContextRefinement
from wsi_pipeline.classifier.familiarity import FamiliarityReference
from wsi_pipeline.errors import ModelError

logger = logging.getLogger(__name__)

DEFAULT_MODEL: Final = "idc-compact"
REQUIRED_KEYS: Final = {
    "name": '"mine"',
    "patch_size_px": "50, the side of a patch in px",
    "spacing_um_px": "8.0, the µm/px of the patches that it was trained on",
    "class_names": '["IDC"], a name for each output, in order',
    "input_range": "[0, 255], or what else black and white become before the network sees them",
}
"""Without these nobody can know at which scale a model works: an example and meaning of each."""
POSITIVE_WORDS: Final = ("idc", "invasive", "tumor", "tumour", "malignant", "cancer", "positive")
TOLERANCE: Final = 1e-3
"""Half precision may end a hair beyond 0 or 1."""
OUTPUTS: Final = ("probability", "logit")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What stands in `model.json` beside the weights. The pipeline takes its scale from here."""

    folder: Path
    name: str
    patch_size_px: int
    """Side of a patch, px at `spacing_um_px`."""
    spacing_um_px: float
    """Resolution of the patches the model was trained on, µm/px."""
    class_names: tuple[str, ...]
    input_range: tuple[float, float]
    """What intensities 0 and 255 become before the model sees them."""
    sha256: str
    """Of `model.keras`."""
    architecture: str = ""
    stain: str = "none"
    """Stain normalization that the model was trained with."""
    threshold: float = 0.5
    """Calibrated probability from which a patch is called IDC."""
    temperature: float = 1.0
    """Divides the logit (Guo et al. 2017)."""
    output: str = "probability"
    """What the last layer gives: "probability" or "logit"."""
    glass_rgb: tuple[int, int, int] | None = None
    """Empty glass of the training data, to which the light of other slides is brought; None: it is
    not known, and light is left as it is."""
    context: ContextRefinement | None = None
    """Refinement of a map by the neighbors of each cell, where the model brings one."""
    familiarity: FamiliarityReference | None = None
    """What the training data look like in the network's second output, where it has one; None: it
    cannot be known whether a slide is like them."""
    record: dict[str, Any] = field(default_factory=dict)
    """All of `model.json`, for display and for keys that the pipeline does not need."""

    @property
    def weights_path(self) -> Path:
        """The Keras model."""
        return self.folder / "model.keras"

    @property
    def litert_path(self) -> Path | None:
        """The same network for LiteRT, where the folder has it."""
        path = self.folder / "model.tflite"
        return path if path.exists() else None

    @property
    def stain_reference_path(self) -> Path | None:
        """Stain statistics of the training set, where the folder has them."""
        path = self.folder / "stain_reference.json"
        return path if path.exists() else None

    def require_fitting(self, outputs: NDArray[np.floating]) -> None:
        """Refuse outputs of the last layer, one row a patch, that are not what the card says.

        Raises
        ------
        ModelError
            Where there is not one number a patch or a class, one is not finite (in a map it would
            pass for "not classified"), or a probability lies outside 0 to 1.
        """
        n_outputs = outputs.size // len(outputs)
        if n_outputs not in (1, len(self.class_names)):
            raise ModelError(
                f"{self.name} gives {n_outputs} numbers a patch, its card names "
                f"{len(self.class_names)} classes",
                "Give one name an output, in order, in class_names",
            )
        low, high = float(outputs.min()), float(outputs.max())
        if not math.isfinite(low + high):
            raise ModelError(
                f"{self.name} gives numbers that are not finite",
                "Check input_range in model.json, and the weights",
            )
        if self.output == "probability" and not -TOLERANCE <= low <= high <= 1 + TOLERANCE:
            raise ModelError(
                f"{self.name} gives {low:.3g} to {high:.3g}, its card says these are probabilities",
                'Say "output": "logit" in model.json where the last layer has no sigmoid',
            )

    @property
    def positive_class(self) -> int:
        """Index of IDC among the outputs of a model with one output a class."""
        for index, name in enumerate(self.class_names):
            if any(word in name.lower() for word in POSITIVE_WORDS) and "non" not in name.lower():
                return index
        return len(self.class_names) - 1


def find_model(name_or_folder: str) -> ModelCard:
    """Return the card of a bundled model or of a model folder.

    Raises
    ------
    ModelError
        Where there is no such model, a file is missing or altered, or the card makes no sense.
    """
    bundled = bundled_folders()
    if name_or_folder in bundled:
        return read_card(bundled[name_or_folder])
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise ModelError(
            f"there is no model {name_or_folder!r}: neither a bundled name nor a folder",
            f"Bundled are {', '.join(sorted(bundled)) or 'none'}; or give a folder with "
            "model.keras and model.json",
        )
    return read_card(folder)


def bundled_folders() -> dict[str, Path]:
    """Return the folders of the models inside the package by name."""
    root = Path(str(files("wsi_pipeline.classifier").joinpath("models")))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/model.json"))}


def read_card(folder: Path) -> ModelCard:
    """Read and check `model.json`; verify that the weights are those it names."""
    for name in ("model.json", "model.keras"):
        if not (folder / name).is_file():
            raise ModelError(
                f"model folder {folder} has no {name}",
                "A model folder needs model.keras and model.json",
            )
    try:
        record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'model.json'} is not readable JSON: {error}") from error
    missing = [key for key in REQUIRED_KEYS if record.get(key) is None]
    if missing:
        raise ModelError(
            f"{folder / 'model.json'} lacks {', '.join(missing)}",
            "Add " + "; ".join(f'"{key}": {REQUIRED_KEYS[key]}' for key in missing),
        )
    try:
        card = _card(folder, record)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder / 'model.json'} has a value of the wrong kind: {error}",
            *_examples_for(record),
        ) from error
    _check_values(card)
    _check_weights(card)
    return card


def _card(folder: Path, record: dict[str, Any]) -> ModelCard:
    low, high = record["input_range"]
    return ModelCard(
        folder=folder,
        name=str(record["name"]),
        patch_size_px=int(record["patch_size_px"]),
        spacing_um_px=float(record["spacing_um_px"]),
        class_names=tuple(str(name) for name in record["class_names"]),
        input_range=(float(low), float(high)),
        sha256=str(record.get("sha256") or ""),
        architecture=str(record.get("architecture", "")),
        stain=_stain_name(record.get("stain")),
        threshold=float(record.get("threshold", 0.5)),
        temperature=float(record.get("temperature", 1.0) or 1.0),
        output=str(record.get("output", "probability")),
        glass_rgb=_color(record.get("glass_rgb")),
        context=ContextRefinement.from_dict(record["context"]) if record.get("context") else None,
        familiarity=_familiarity(record),
        record=record,
    )


def _familiarity(record: dict[str, Any]) -> FamiliarityReference | None:
    stated = record.get("familiarity")
    return FamiliarityReference.from_dict(stated) if stated else None


def _examples_for(record: dict[str, Any]) -> Iterator[str]:
    """Yield the advice for a value of the wrong kind: required keys as they stand, and should."""
    kinds: dict[str, Any] = {
        "name": str,
        "patch_size_px": int,
        "spacing_um_px": (int, float),
        "class_names": list,
    }
    wrong = [key for key, kind in kinds.items() if not isinstance(record[key], kind)]
    if not isinstance(record["input_range"], list) or len(record["input_range"]) != 2:
        wrong.append("input_range")
    if wrong:
        yield "; ".join(
            f'"{key}" is {json.dumps(record[key])}, expected {REQUIRED_KEYS[key]}' for key in wrong
        )


def _color(value: Any) -> tuple[int, int, int] | None:
    if value is None:
        return None
    r, g, b = (int(level) for level in value)
    return (r, g, b)


def _stain_name(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("method")
    return str(value or "none").lower()


def _check_values(card: ModelCard) -> None:
    where = card.folder / "model.json"
    checks = (
        (
            card.patch_size_px > 0,
            "patch_size_px",
            card.patch_size_px,
            "a positive number of pixels",
        ),
        (0.05 <= card.spacing_um_px <= 50, "spacing_um_px", card.spacing_um_px, "0.05 to 50 µm/px"),
        (0 < card.threshold < 1, "threshold", card.threshold, "between 0 and 1"),
        (card.temperature > 0, "temperature", card.temperature, "positive"),
        (len(card.class_names) in (1, 2), "class_names", card.class_names, "one or two classes"),
        (card.input_range[0] < card.input_range[1], "input_range", card.input_range, "[low, high]"),
        (
            card.glass_rgb is None or all(100 <= level <= 255 for level in card.glass_rgb),
            "glass_rgb",
            card.glass_rgb,
            "three levels of empty glass, 100 to 255",
        ),
        (card.output in OUTPUTS, "output", card.output, " or ".join(OUTPUTS)),
    )
    for holds, key, value, expected in checks:
        if not holds:
            raise ModelError(f"{where}: {key} is {value}, expected {expected}")


def _check_weights(card: ModelCard) -> None:
    found = sha256_of(card.weights_path)
    if not card.sha256:
        logger.warning("%s states no sha256: the weights are not verified", card.folder)
    elif card.sha256 != found:
        raise ModelError(
            f"{card.weights_path} is not the file its card names (sha256 {found[:12]}…, card "
            f"{card.sha256[:12]}…)",
            "Copy the model folder again, or correct the card if the change was meant",
        )
    litert = card.litert_path
    stated = card.record.get("litert_sha256")
    if litert is not None and stated != sha256_of(litert):
        raise ModelError(
            f"{litert} does not match litert_sha256 of its card",
            "Delete model.tflite to use the Keras model, or make the folder again",
        )


@cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, remembered while size and time stay."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


def operating_points(card: ModelCard) -> dict[str, float]:
    """Return the thresholds of the card by name; "balanced" is always there."""
    stated = card.record.get("operating_points") or {}
    points = {"balanced": card.threshold}
    points.update({str(name): float(value) for name, value in stated.items()})
    return points
