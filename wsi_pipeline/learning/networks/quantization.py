"""A network of eight-bit integers for CPUs: some three times as fast, kept only where as good."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_pipeline.classifier import ModelCard, available_cores
from wsi_pipeline.classifier.engines.litert import BATCH, LiteRTClassifier
from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.reports import metrics

logger = logging.getLogger(__name__)

N_CALIBRATION: Final = 1024
"""Training patches that show the range of each layer."""
LARGEST_AUC_LOSS: Final = 0.001
"""On the validation patches, beyond which the network stays as it was."""
ANYWHERE: Final = ".*"
STEM: Final = ".*(stem|Conv1_|expanded_conv).*"
"""The first convolutions, by their names in our networks and in MobileNetV2: in eight bits they
make two thirds of the difference, and five sixths, at little gain in time."""
IN_FLOAT: Final = (
    (ANYWHERE, ("INPUT", "OUTPUT", "MEAN", "CONCATENATION", "FULLY_CONNECTED", "LOGISTIC")),
    (STEM, ("CONV_2D", "DEPTHWISE_CONV_2D")),
)
"""Places by a pattern, and operations there. The pooled features and the head cost no time, and 256
probabilities would be few."""


def quantize_where_as_good(
    litert: Path, training: PatchDataset, validation: PatchDataset, raw: FloatArray
) -> tuple[FloatArray, dict[str, Any]]:
    """Replace a converted network by its eight-bit copy, unless the validation AUC falls by it.

    Parameters
    ----------
    litert : Path
        The converted network, float32; may be missing.
    training : PatchDataset
        Some of its patches calibrate the ranges.
    validation : PatchDataset
    raw : ndarray of float32, shape (N,)
        What the float network says of the validation patches, uncalibrated.

    Returns
    -------
    raw : ndarray of float32, shape (N,)
        What the network that was kept says of them.
    record : dict
        Of the model card: `precision` ("int8" or "float32") and what the change costs.
    """
    if not litert.exists() or importlib.util.find_spec("ai_edge_quantizer") is None:
        return raw, {"precision": "float32"}
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(training))[: N_CALIBRATION // BATCH * BATCH]
    with tempfile.TemporaryDirectory(dir=litert.parent) as scratch:
        copy = Path(scratch, litert.name)
        quantize(litert, training.images[chosen], copy)
        found = _predict(copy, validation.images)
        before, after = (metrics.auc(validation.labels, p) for p in (raw, found))
        if not after >= before - LARGEST_AUC_LOSS:  # also where there is no AUC to compare
            logger.warning("stays in float32: AUC %.4f, in eight bits %.4f", before, after)
            return raw, {"precision": "float32"}
        copy.chmod(litert.stat().st_mode)  # it was written as a program
        copy.replace(litert)
    difference = np.abs(found - raw)
    return found, {
        "precision": "int8",
        "calibration_patches": len(chosen),
        "auc_float32": round(before, 4),
        "auc_int8": round(after, 4),
        "mean_difference": round(float(difference.mean()), 4),
        "largest_difference": round(float(difference.max()), 4),
    }


def quantize(litert: Path, patches: RgbArray, out: Path) -> None:
    """Write a copy of a converted network with weights and activations of eight bits.

    Parameters
    ----------
    litert : Path
        A ``.tflite`` file, float32.
    patches : ndarray of uint8, shape (N, side, side, 3)
        The ranges of the activations are those that these show.
    out : Path
        The file to write.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager

    recipe = RecipeManager()
    recipe.add_static_config(
        regex=ANYWHERE,
        operation_name=TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
    )
    for place, operations in IN_FLOAT:
        for name in operations:
            recipe.add_quantization_config(
                regex=place,
                operation_name=TFLOperationName[name],
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
    ((signature, ends),) = Interpreter(str(litert)).get_signature_list().items()
    batches = [
        {ends["inputs"][0]: patches[start : start + BATCH].astype(np.float32)}
        for start in range(0, len(patches), BATCH)
    ]
    with _in_silence():
        quantizer = Quantizer(str(litert))
        quantizer.load_quantization_recipe(recipe.get_quantization_recipe())
        ranges = quantizer.calibrate({signature: batches})
        quantizer.quantize(ranges).export_model(str(out))


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Keep progress bars, and a warning about what calibration needs, out of the terminal."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(action="ignore", category=UserWarning),
    ):
        yield


def _predict(litert: Path, images: RgbArray) -> FloatArray:
    """Return what the network says, as the pipeline will run it, uncalibrated."""
    card = ModelCard(
        litert.parent, "", images.shape[1], 1.0, ("IDC",), (0.0, 255.0), sha256="", threshold=0.5
    )
    return LiteRTClassifier(card, available_cores()).predict(images)
