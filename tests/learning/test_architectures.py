"""Every named network through one short epoch: the slowest tests of the room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning"),
]

ARCHITECTURES = {
    "compact-residual": 0,
    "compact-residual-small": 0,
    "baseline-cnn": 0,
    "vgg16": 32,
    "vgg19": 32,
    "resnet50": 32,
    "inception-v3": 75,
    "inception-resnet-v2": 75,
    "densenet201": 32,
    "mobilenet-v2": 32,
    "mobilenet-v2-short": 32,
    "efficientnet-b0": 32,
}
"""With the smallest input each takes."""
COMPILED = {"compact-residual", "baseline-cnn", "mobilenet-v2-short"}
"""One small, one plain, one that began from ImageNet. Compiling all takes minutes on two cores and
tells nothing of a network that its steps do not."""


@pytest.fixture
def step_by_step(name: str) -> Iterator[None]:
    """Run the others operation by operation."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(name not in COMPILED)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize(("name", "input_px"), ARCHITECTURES.items(), ids=list(ARCHITECTURES))
def test_each_architecture_trains_saves_loads_and_predicts_the_same(
    name: str, input_px: int, make_dataset: Callable[..., Any], tmp_path: Path
) -> None:
    import keras

    from wsi_pipeline.learning.training.options import TrainingOptions
    from wsi_pipeline.learning.training.trainer import predict, train

    keras.backend.clear_session()
    data = make_dataset("ab", 2)
    options = TrainingOptions(
        architecture=name,
        input_px=input_px,
        head_epochs=1 if input_px else 0,  # the whole base takes minutes to compile
        epochs=1,
        batch_size=4,
        jpeg=False,
        stain=False,
    )
    network, history = train(data, data, options, tmp_path)
    assert np.isfinite(history[0]["loss"])
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    expected = predict(network, data.images)
    np.testing.assert_allclose(predict(loaded, data.images), expected, atol=1e-5)
    assert ((expected >= 0) & (expected <= 1)).all()


def test_the_list_of_architectures_is_whole() -> None:
    from wsi_pipeline.learning.networks.architectures import architecture_names

    assert set(architecture_names()) == set(ARCHITECTURES)


def test_fine_tuning_forgets_the_statistics_of_other_pictures() -> None:
    """MobileNetV2 alone keeps 0.999 of them a step: one epoch here would not move them."""
    from keras import layers

    from wsi_pipeline.learning.networks.architectures import build

    norms = [
        x for x in build("mobilenet-v2", 32).layers if isinstance(x, layers.BatchNormalization)
    ]
    assert len(norms) > 50
    assert max(norm.momentum for norm in norms) <= 0.98
