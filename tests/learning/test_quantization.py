"""Networks in eight-bit integers: as good as the float ones, or not used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.networks import quantization
from wsi_pipeline.learning.networks.quantization import quantize_where_as_good

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
pytest.importorskip("ai_edge_quantizer")


@pytest.fixture(scope="module")
def data(make_dataset: Callable[..., PatchDataset]) -> PatchDataset:
    return make_dataset("abc", 12)


@pytest.fixture(scope="module")
def trained(data: PatchDataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a converted network that has learned a little, and what it says of the patches."""
    from wsi_pipeline.learning.networks.packaging import write_networks
    from wsi_pipeline.learning.training.options import TrainingOptions
    from wsi_pipeline.learning.training.trainer import predict, train

    folder = tmp_path_factory.mktemp("trained")
    options = TrainingOptions(
        architecture="compact-residual-small", epochs=2, batch_size=12, jpeg=False, stain=False
    )
    network, _ = train(data, data, options, folder / "training")
    return write_networks(network, folder).read_bytes(), predict(network, data.images)


@pytest.fixture
def litert(trained: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(trained[0])
    return path


def test_the_copy_is_smaller_and_says_nearly_the_same(
    trained: Any, litert: Path, data: PatchDataset
) -> None:
    before, raw = litert.stat().st_size, trained[1]
    found, record = quantize_where_as_good(litert, data, data, raw)
    assert litert.stat().st_size < 0.4 * before
    assert record["precision"] == "int8"
    assert record["auc_int8"] >= record["auc_float32"] - quantization.LARGEST_AUC_LOSS
    assert 0 < np.abs(found - raw).max() < 0.1
    assert record["largest_difference"] == pytest.approx(np.abs(found - raw).max(), abs=1e-4)
    assert len(np.unique(found)) > len(found) // 2  # the head is not in eight bits
    assert [path.name for path in litert.parent.iterdir()] == ["model.tflite"]


def test_where_it_would_cost_accuracy_the_float_network_stays(
    trained: Any,
    litert: Path,
    data: PatchDataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(quantization, "LARGEST_AUC_LOSS", -1.0)
    raw, record = quantize_where_as_good(litert, data, data, trained[1])
    assert record == {"precision": "float32"}
    assert raw is trained[1]
    assert litert.read_bytes() == trained[0]
    assert "stays in float32" in caplog.text


def test_without_an_auc_to_compare_the_float_network_stays(
    trained: Any, litert: Path, data: PatchDataset
) -> None:
    one_class = replace(data, labels=np.zeros_like(data.labels))
    _, record = quantize_where_as_good(litert, data, one_class, trained[1])
    assert record == {"precision": "float32"}
    assert litert.read_bytes() == trained[0]


def test_a_network_that_was_not_converted_is_left_alone(
    trained: Any, tmp_path: Path, data: PatchDataset
) -> None:
    found, record = quantize_where_as_good(tmp_path / "model.tflite", data, data, trained[1])
    assert record == {"precision": "float32"}
    assert found is trained[1]


def test_the_first_layers_of_mobilenet_stay_in_float(data: PatchDataset, tmp_path: Path) -> None:
    """They are known by names that Keras gives: in eight bits they cost 0.002 of the AUC."""
    from ai_edge_litert.interpreter import Interpreter

    from wsi_pipeline.learning.networks.architectures import build
    from wsi_pipeline.learning.networks.packaging import write_networks

    network = build("mobilenet-v2-short", data.images.shape[1], input_px=32)
    copy = tmp_path / "copy.tflite"
    quantization.quantize(write_networks(network, tmp_path), data.images, copy)
    kinds: dict[bool, set[type]] = {True: set(), False: set()}
    for tensor in Interpreter(str(copy)).get_tensor_details():
        if "_BN" in tensor["name"] and len(tensor["shape"]) == 4:
            is_first = "Conv1" in tensor["name"] or "expanded_conv" in tensor["name"]
            kinds[is_first].add(tensor["dtype"])
    assert np.int8 in kinds[False]
    assert kinds[True] == {np.float32}
