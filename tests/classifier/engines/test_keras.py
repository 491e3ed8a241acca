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
from wsi_pipeline.classifier.engines.device import cache_folder, keep_compiled_code
from wsi_pipeline.classifier.engines.keras import KerasClassifier
keep_compiled_code(cache_folder())
classifier = KerasClassifier(find_model("idc-compact"), batch_size=8, device="CPU")
patches = np.load(sys.argv[1])
probability, features = classifier.predict_features(patches)
def n_kept():
    return sum(path.is_file() for path in cache_folder().rglob("*-cache"))
n_files, n_new = n_kept(), 0
if n_files:  # what is compiled once more is taken from there
    import jax
    jax.clear_caches()
    classifier.predict(patches)
    n_new = n_kept() - n_files
np.savez(sys.argv[2], probability=probability, features=features, device=classifier.device,
         kept=[n_files, n_new])
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
                "XDG_CACHE_HOME": str(folder),
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


@pytest.mark.tensorflow
def test_jax_keeps_what_it_compiles_and_finds_it_again(
    predicted: dict[str, dict[str, np.ndarray]],
) -> None:
    n_files, n_new = predicted["jax"]["kept"]
    assert n_files > 0
    assert n_new == 0
