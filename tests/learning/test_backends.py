"""Training on another backend of Keras: compiled there too, and the same training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TRAIN = """
import json, sys
import keras, numpy as np
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.training import trainer
from wsi_pipeline.learning.training.batches import PatchBatches
from wsi_pipeline.learning.training.options import TrainingOptions

N, SIDE, STEPS = 96, 24, 6
rng = np.random.default_rng(0)
labels = (np.arange(N) % 3 == 0).astype(np.int8)
images = rng.integers(60, 250, (N, SIDE, SIDE, 3), dtype=np.uint8)
images[labels == 1] //= 2
# what a teacher says of them
targets = np.clip(labels + rng.normal(0, 0.1, N), 0, 1).astype(np.float32)
data = PatchDataset(
    images, labels, np.array(["a", "b"] * (N // 2)), tuple(map(str, range(N))),
    np.full((N, 2), -1, np.int32), targets=targets,
)
still = dict.fromkeys(("dihedral", "jpeg", "stain", "focus"), False)
still |= dict.fromkeys(("ink", "glass", "scale"), 0.0)
options = TrainingOptions(
    architecture="baseline-cnn", epochs=3, batch_size=N // STEPS, positive_weight=3.0,
    label_smoothing=0.05, optimizer="sgd", **still,
)
model = trainer.new_trainer(SIDE, options, STEPS)
network = model.get_layer("baseline-cnn")
network.get_layer("dropout").rate = 0.0  # what is drawn at random differs between backends
network.set_weights([rng.normal(0, 0.05, w.shape) for w in network.get_weights()])
n_calls, call = [0], type(network.get_layer("conv1")).call

def counted(self, *arguments, **more):
    n_calls[0] += self.name == "conv1"
    return call(self, *arguments, **more)

type(network.get_layer("conv1")).call = counted
losses = [
    model.fit(PatchBatches(data, options, epoch), shuffle=False, verbose=0).history
    for epoch in range(2)
]
json.dump(losses, open(sys.argv[1] + ".json", "w"))
np.savez(sys.argv[1] + ".npz", n_calls=n_calls[0], *network.get_weights())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Return history and weights of the same training on either backend."""
    pytest.importorskip("jax", reason="the second backend is not installed")
    folder = tmp_path_factory.mktemp("backends")
    for backend in ("tensorflow", "jax"):
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(folder / backend)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "JAX_PLATFORMS": "cpu",
                "CUDA_VISIBLE_DEVICES": "-1",
            },
            check=True,
            capture_output=True,
        )
    return {
        backend: (
            json.loads((folder / f"{backend}.json").read_text()),
            dict(np.load(folder / f"{backend}.npz")),
        )
        for backend in ("tensorflow", "jax")
    }


@pytest.mark.tensorflow
def test_either_backend_trains_the_same(trained: dict[str, tuple[Any, Any]]) -> None:
    (history, weights), (other_history, other_weights) = trained["tensorflow"], trained["jax"]
    for epoch, other in zip(history, other_history, strict=True):
        assert epoch["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert epoch["accuracy"] == pytest.approx(other["accuracy"], abs=1e-6)
    for name in set(weights) - {"n_calls"}:
        np.testing.assert_allclose(weights[name], other_weights[name], atol=1e-6)
    assert history[0]["loss"] != history[1]["loss"], "it learns"


@pytest.mark.tensorflow
def test_either_backend_compiles_its_steps(trained: dict[str, tuple[Any, Any]]) -> None:
    for _, weights in trained.values():
        assert weights["n_calls"] < 12, "twelve steps run the network's Python code less often"
