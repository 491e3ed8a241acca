"""A model folder for a network that was trained elsewhere: what its file tells, and what it cannot.

What cannot be known from the file is left out of `model.json` (null) rather than guessed: a model
at the wrong scale, or fed with the wrong range, is wrong in silence, so until these are filled in
the folder is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from wsi_pipeline.classifier.card import REQUIRED_KEYS, sha256_of
from wsi_pipeline.errors import ModelError
from wsi_pipeline.files import write_atomic

SCALING_LAYERS = ("Rescaling", "Normalization")
MOST_OUTPUTS = 2
SQUASHING = ("sigmoid", "softmax")


def new_model_folder(weights: Path, folder: Path) -> list[str]:
    """Write `model.json` for a Keras file, beside its copy `model.keras`.

    Parameters
    ----------
    weights : Path
        A Keras 3 file (.keras).
    folder : Path
        The model folder; a `model.keras` that lies there already may be `weights` itself.

    Returns
    -------
    list of str
        What has to be filled in or looked at, a line a key.

    Raises
    ------
    ModelError
        Where the file is missing, is no network of RGB patches, or the folder has a card.
    """
    if not weights.is_file():
        raise ModelError(f"there is no {weights}", "Give a Keras 3 file, NAME.keras")
    if (folder / "model.json").exists():
        raise ModelError(f"{folder / 'model.json'} exists", "Edit it, or choose another folder")
    record, notes = _record(weights, folder.resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "model.keras"
    if not (target.exists() and target.samefile(weights)):
        shutil.copyfile(weights, target)
    text = json.dumps(record | {"sha256": sha256_of(target)}, indent=2)
    write_atomic(folder / "model.json", f"{text}\n".encode())
    return notes


def _record(weights: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the card as far as the file tells it, and what is left to do."""
    model = _loaded(weights)
    _, height, width, channels = model.input_shape
    if channels != 3 or height != width:
        raise ModelError(
            f"{weights} takes input {model.input_shape}",
            "Patches are squares in RGB: (side, side, 3)",
        )
    if len(model.outputs) > MOST_OUTPUTS:
        raise ModelError(
            f"{weights} has {len(model.outputs)} outputs",
            "Leave the one of the classes and, if there is one, that of the features",
        )
    # features for familiarity, where a network gives them too, are more than there are classes
    classes = min(model.outputs, key=lambda output: output.shape[-1])
    n_outputs = int(classes.shape[-1])
    last = next((layer for layer in model.layers if layer.output is classes), model.layers[-1])
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    scales = any(type(layer).__name__ in SCALING_LAYERS for layer in model.layers[:3])
    record = {
        "name": name,
        "architecture": model.name,
        "parameters": model.count_params(),
        "patch_size_px": height,
        "spacing_um_px": None,
        "class_names": ["IDC"] if n_outputs == 1 else ["not IDC", "IDC"],
        "input_range": [0, 255] if scales else None,
        "output": "probability" if activation in SQUASHING else "logit",
        "stain": "none",
        "threshold": 0.5,
        "temperature": 1.0,
        "license": "not stated",
    }
    notes = [f"{key}: {REQUIRED_KEYS[key]}" for key in REQUIRED_KEYS if record[key] is None]
    notes += [
        f"class_names: is this the order of the outputs? {record['class_names']}",
        f"output: the last layer seems to give a {record['output']}",
        "threshold: choose it on validation patients; `wsi-pipeline evaluate` shows the curve",
    ]
    return record, notes


def _loaded(weights: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(weights, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises a dozen kinds here
        raise ModelError(
            f"{weights} cannot be loaded: {str(error).splitlines()[0][:300]}",
            "It must be a Keras 3 file made of Keras layers only (no Lambda, no custom code)",
        ) from error
