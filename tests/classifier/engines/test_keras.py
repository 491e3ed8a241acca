"""The Keras engine gives the same on every backend that it runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.classifier import find_model

PREDICT = """
import sys, numpy as np
from wsi_pipeline.classifier import find_model
from wsi_pipeline.classifier.engines.keras import KerasClassifier
classifier = KerasClassifier(find_model("idc-compact"), batch_size=8, device="CPU")
patches = np.load(sys.argv[1])
probability, features = classifier.predict_features(patches)
np.savez(sys.argv[2], probability=probability, features=features, device=classifier.device)
"""


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    pytest.importorskip("jax", reason="the second backend is not installed")
    folder = tmp_path_factory.mktemp("backends")
    side = find_model("idc-compact").patch_size_px
    patches = np.random.default_rng(0).integers(60, 250, (11, side, side, 3), dtype=np.uint8)
    np.save(folder / "patches.npy", patches)
    found = {}
    for backend in ("tensorflow", "jax"):
        subprocess.run(
            [sys.executable, "-c", PREDICT, folder / "patches.npy", folder / f"{backend}.npz"],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "JAX_PLATFORMS": "cpu",
            },
            check=True,
            capture_output=True,
        )
        found[backend] = dict(np.load(folder / f"{backend}.npz"))
    return found


@pytest.mark.tensorflow
def test_the_backends_agree(predicted: dict[str, dict[str, np.ndarray]]) -> None:
    one, other = predicted["tensorflow"], predicted["jax"]
    np.testing.assert_allclose(one["probability"], other["probability"], atol=1e-5)
    np.testing.assert_allclose(one["features"], other["features"], atol=1e-3)


@pytest.mark.tensorflow
def test_each_says_which_it_is(predicted: dict[str, dict[str, np.ndarray]]) -> None:
    assert {name: str(found["device"]) for name, found in predicted.items()} == {
        "tensorflow": "CPU, Keras on tensorflow",
        "jax": "CPU, Keras on jax",
    }
