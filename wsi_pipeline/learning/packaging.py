"""From a trained network to a model folder that the pipeline takes."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import keras

from wsi_pipeline.classifier import ModelCard, read_card, sha256_of
from wsi_pipeline.probability.files import storing, write_atomic
from wsi_pipeline.stain import StainReference

logger = logging.getLogger(__name__)


def write_model_folder(
    network: keras.Model,
    folder: Path,
    record: dict[str, Any],
    stain_reference: StainReference | None = None,
) -> ModelCard:
    """Write the network for Keras and LiteRT, the stain reference and the card.

    Parameters
    ----------
    network : keras.Model
        Takes float32 patches, gives probabilities.
    folder : Path
        Made where missing. The card is written last: a folder with a card is whole.
    record : dict
        The card without the checksums.
    stain_reference : StainReference, optional
        Stains of the training set.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch, "model.keras")
            network.save(part)
            part.replace(folder / "model.keras")
            litert = _litert(network, Path(scratch))
            if litert is None:
                (folder / "model.tflite").unlink(missing_ok=True)
            else:
                litert.replace(folder / "model.tflite")
    if stain_reference is not None:
        text = json.dumps(stain_reference.to_dict(), indent=2)
        write_atomic(folder / "stain_reference.json", text.encode())
    sums = {"sha256": sha256_of(folder / "model.keras")}
    if litert is not None:
        sums["litert_sha256"] = sha256_of(folder / "model.tflite")
    write_atomic(folder / "model.json", json.dumps({**record, **sums}, indent=2).encode())
    return read_card(folder)


def _litert(network: keras.Model, scratch: Path) -> Path | None:
    """Return the network converted for LiteRT, None where that cannot be done here."""
    if keras.backend.backend() != "tensorflow":
        logger.warning(
            "model.tflite is made on the TensorFlow backend only; on the CPU this model will run "
            "on Keras, which takes seconds to start"
        )
        return None
    path = scratch / "model.tflite"
    network.export(path, format="litert", verbose=False)
    return path
