"""From a trained network to a model folder that the pipeline takes."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import keras

from wsi_pipeline.classifier import ModelCard, read_card, sha256_of
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.stain import StainReference

logger = logging.getLogger(__name__)


def write_networks(network: keras.Model, folder: Path) -> Path:
    """Write the network for Keras and, on the TensorFlow backend, for LiteRT.

    A card that stood there is removed: it is written last, by `write_card`.

    Parameters
    ----------
    network : keras.Model
        Takes float32 patches, gives probabilities.
    folder : Path
        Made where missing.

    Returns
    -------
    Path
        Of ``model.tflite``, which may be missing.
    """
    litert = folder / "model.tflite"
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch, "model.keras")
            network.save(part)
            part.replace(folder / "model.keras")
            converted = _litert(network, Path(scratch))
            if converted is None:
                litert.unlink(missing_ok=True)
            else:
                converted.replace(litert)
    return litert


def write_card(
    folder: Path, record: dict[str, Any], stain_reference: StainReference | None = None
) -> ModelCard:
    """Write the stain reference and, at last, the card: a folder with a card is whole.

    Parameters
    ----------
    folder : Path
        Of `write_networks`.
    record : dict
        The card without the checksums.
    stain_reference : StainReference, optional
        Stains of the training set.
    """
    if stain_reference is not None:
        text = json.dumps(stain_reference.to_dict(), indent=2)
        write_atomic(folder / "stain_reference.json", text.encode())
    sums = {"sha256": sha256_of(folder / "model.keras")}
    if (folder / "model.tflite").exists():
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
