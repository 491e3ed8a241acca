import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.errors import ConfigError, ModelError
from wsi_pipeline.learning.data.datasets import PatchDataset

pytestmark = [
    pytest.mark.tensorflow,
    # Keras 3.15 on numpy 2: TensorFlow's variables do not know `copy` yet.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

MakeDataset = Callable[..., PatchDataset]
SMALL = {"architecture": "baseline-cnn", "epochs": 3, "batch_size": 8}


def _options(**changes: Any) -> Any:
    from wsi_pipeline.learning.training.options import TrainingOptions

    return TrainingOptions(**{**SMALL, **changes})


def _weights(model: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(weight) for weight in model.get_weights()]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    precision: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.training import trainer as training

    data, validation = make_dataset("abc"), make_dataset("d")
    options = _options(precision=precision)
    undisturbed, history = training.train(data, validation, options, tmp_path / "whole")

    class KilledError(Exception):
        pass

    kept = training.save_checkpoint

    def checkpoint_then_die(*arguments: Any) -> None:
        kept(*arguments)
        if len(arguments[2]) == 2:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save_checkpoint", checkpoint_then_die)
        with pytest.raises(KilledError):
            training.train(data, validation, options, tmp_path / "killed")
    resumed, resumed_history = training.train(data, validation, options, tmp_path / "killed")
    for one, other in zip(_weights(undisturbed), _weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [e["loss"] for e in history] == [e["loss"] for e in resumed_history]
    assert not (tmp_path / "killed" / "writing.keras").exists()


def test_the_network_of_the_best_epoch_is_returned(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.reports import metrics
    from wsi_pipeline.learning.training.trainer import predict, train

    validation = make_dataset("c")
    network, history = train(make_dataset("ab"), validation, _options(), tmp_path)
    auc = metrics.auc(validation.labels, predict(network, validation.images))
    assert auc == pytest.approx(max(entry["validation_auc"] for entry in history))
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy"} <= set(history[0])


def test_what_was_trained_in_mixed_precision_is_kept_in_float32(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    import keras

    from wsi_pipeline.learning.training.trainer import train

    data = make_dataset("ab", 4)
    options = _options(precision="mixed_bfloat16", epochs=2, learning_rate=5e-3)
    network, history = train(data, data, options, tmp_path)
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert {str(weight.dtype) for weight in network.weights} == {"float32"}
    assert history[-1]["loss"] < history[0]["loss"]
    state = keras.models.load_model(tmp_path / "state-0002.keras")
    trained = state.get_layer("baseline-cnn")
    assert trained.get_layer("conv1").dtype_policy.name == "mixed_bfloat16"
    assert trained.layers[-1].dtype_policy.name == "float32"


def test_a_network_computes_alike_in_another_precision() -> None:
    from wsi_pipeline.classifier.engines.keras import in_precision
    from wsi_pipeline.learning.networks.architectures import build

    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    network = build("vgg16", 32, input_px=32)  # has an operation that is no layer
    half = in_precision(network, "mixed_bfloat16")
    assert half.get_layer("block1_conv1").compute_dtype == "bfloat16"
    expected = np.asarray(network(images))
    np.testing.assert_allclose(np.asarray(half(images)), expected, atol=0.02)
    again = in_precision(half, "float32")
    np.testing.assert_array_equal(np.asarray(again(images)), expected)


def test_a_folder_of_another_training_is_not_continued(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.training.trainer import train

    data = make_dataset("ab", 4)
    train(data, data, _options(epochs=1), tmp_path)
    with pytest.raises(ConfigError, match=r"other options \(label_smoothing\)"):
        train(data, data, _options(epochs=1, label_smoothing=0.1), tmp_path)


def test_early_stopping_counts_epochs_without_a_better_auc() -> None:
    from wsi_pipeline.learning.training.trainer import _has_stalled

    def history(*aucs: float) -> list[dict[str, float]]:
        return [{"validation_auc": a, "validation_loss": 1.0} for a in aucs]

    assert not _has_stalled(history(0.5, 0.6, 0.5), patience=2)
    assert _has_stalled(history(0.5, 0.6, 0.5, 0.55), patience=2)
    assert not _has_stalled(history(0.6, 0.5, 0.5, 0.5), patience=0)
    assert not _has_stalled([], patience=1)


def test_without_two_classes_in_validation_the_loss_decides(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.training.trainer import train

    data = make_dataset("ab", 4)
    one_class = data.subset(data.labels == 0)
    _, history = train(data, one_class, _options(epochs=2), tmp_path)
    assert all(math.isnan(entry["validation_auc"]) for entry in history)
    assert (tmp_path / "best.weights.h5").exists()


def test_balanced_sampling_draws_both_classes_alike(make_dataset: MakeDataset) -> None:
    from wsi_pipeline.learning.training.batches import PatchBatches

    data = make_dataset("ab", 10)
    rare = data.subset((data.labels == 0) | (np.arange(len(data)) % 5 == 0))
    batches = PatchBatches(rare, _options(sampling="balanced", batch_size=4), epoch=0)
    labels = np.concatenate([batches[i][1] for i in range(len(batches))])
    assert rare.labels.mean() < 0.2
    assert labels.mean() == pytest.approx(0.5, abs=0.15)


def test_sampling_by_patients_lets_a_whole_slide_outweigh_a_sample_less(
    make_dataset: MakeDataset,
) -> None:
    from wsi_pipeline.learning.training.batches import PatchBatches

    data = make_dataset("ab", 32)
    few = np.flatnonzero(data.patients == "b")[:4]
    data = data.subset((data.patients == "a") | np.isin(np.arange(len(data)), few))
    orders = [PatchBatches(data, _options(sampling="patients"), epoch).order for epoch in (0, 1)]
    drawn = np.bincount(orders[0], minlength=len(data))
    of_a, of_b = (drawn[data.patients == patient] for patient in "ab")
    assert of_a.sum() / of_b.sum() == pytest.approx(4.0, abs=0.3)  # 64 to 4 patches
    assert of_a.max() == 1
    assert of_b.min() == of_b.max() - 1 or of_b.min() == of_b.max()
    assert sorted(orders[0]) != sorted(orders[1])


def test_the_weight_of_idc_patches_reaches_the_loss(make_dataset: MakeDataset) -> None:
    from wsi_pipeline.learning.training.batches import PatchBatches

    _, labels, weights = PatchBatches(make_dataset(), _options(positive_weight=3.0), 0)[0]
    np.testing.assert_array_equal(weights, np.where(labels > 0, 3.0, 1.0))


def test_negatives_take_their_share_of_an_epoch_and_are_no_idc(make_dataset: MakeDataset) -> None:
    from wsi_pipeline.learning.training.batches import PatchBatches

    data = make_dataset("ab", 40)
    data = replace(data, targets=np.full(len(data), 0.9, np.float32))
    negatives = make_dataset("yz", 10)
    options = _options(negatives_share=0.25, batch_size=8)
    batches = PatchBatches(data, options, 0, negatives)
    drawn = batches.order >= len(data)
    assert drawn.mean() == pytest.approx(0.25, abs=0.02)
    targets = np.concatenate([batches[i][1] for i in range(len(batches))])[:, 0]
    np.testing.assert_allclose(targets, np.where(drawn[: len(targets)], 0.0, 0.9), atol=1e-6)
    first = batches.order[0]
    image = negatives.images[first - len(data)] if drawn[0] else data.images[first]
    np.testing.assert_array_equal(batches[0][0][0], image)


def test_a_training_goes_on_from_a_model_and_judges_altered_patches_too(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.networks.packaging import write_card, write_networks
    from wsi_pipeline.learning.training.trainer import predict, train

    data, validation = make_dataset("ab"), make_dataset("c")
    first, _ = train(data, validation, _options(learning_rate=5e-3), tmp_path / "first")
    write_networks(first, tmp_path / "model")
    facts = {"name": "m", "architecture": "baseline-cnn", "patch_size_px": 32}
    facts |= {"spacing_um_px": 8.0, "class_names": ["IDC"], "input_range": [0, 255]}
    write_card(tmp_path / "model", facts)
    options = _options(start=str(tmp_path / "model"), epochs=1, learning_rate=1e-9)
    options = replace(options, judge_altered=True, ink=0.5)
    second, history = train(data, validation, options, tmp_path / "second")
    assert 0 <= history[0]["altered_auc"] <= 1
    np.testing.assert_allclose(predict(second, data.images), predict(first, data.images), atol=0.02)
    half = replace(_options(epochs=1), blend=str(tmp_path / "model"), blend_share=0.25)
    blended, _ = train(data, validation, half, tmp_path / "half")
    alone, _ = train(data, validation, replace(half, blend=""), tmp_path / "alone")
    for mean, mine, other in zip(*map(_weights, (blended, alone, first)), strict=True):
        np.testing.assert_allclose(mean, 0.75 * mine + 0.25 * other, atol=1e-6)
    with pytest.raises(ConfigError, match="not compact-residual for 32 px"):
        train(data, data, replace(options, architecture="compact-residual"), tmp_path / "third")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blend": "idc-compact", "blend_share": 1.0}, "blend_share is 1"),
        ({"blend": "idc-compact"}, "is another network than baseline-cnn"),
        ({"negatives_share": 1.0}, "negatives_share is 1"),
        ({"start": "idc-compact", "weights": "imagenet"}, "brings its own weights"),
        ({"architecture": "alexnet"}, "no architecture 'alexnet'"),
        ({"optimizer": "lion"}, "no optimizer 'lion'"),
        ({"loss": "hinge"}, "no loss 'hinge'"),
        ({"sampling": "odd"}, "no sampling 'odd'"),
        ({"precision": "int8"}, "no precision 'int8'"),
        ({"head_epochs": 1}, "no base to keep still"),
        ({"weights": "imagenet"}, "starts from scratch"),
        ({"architecture": "vgg16", "weights": "missing.h5"}, "no weights file 'missing.h5'"),
    ],
)
def test_impossible_options_name_what_there_is(
    changes: dict[str, Any], message: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.training.trainer import train

    with pytest.raises(ConfigError, match=message):
        train(make_dataset("ab", 2), make_dataset("c", 2), _options(**changes), tmp_path)


@pytest.mark.parametrize(
    ("optimizer", "loss"), [("sgd", "focal"), ("adam", "cross-entropy"), ("adamw", "focal")]
)
def test_every_optimizer_and_loss_learns(
    optimizer: str, loss: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.training.trainer import train

    data = make_dataset("ab")
    options = _options(optimizer=optimizer, loss=loss, jpeg=False, stain=False, learning_rate=5e-3)
    _, history = train(data, data, options, tmp_path)
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_head_trains_first_and_the_top_of_the_base_later(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from wsi_pipeline.learning.networks.architectures import build
    from wsi_pipeline.learning.networks.imagenet import freeze_base
    from wsi_pipeline.learning.training.trainer import train

    network = build("mobilenet-v2", 32, input_px=32)
    freeze_base(network)
    assert {v.path.split("/")[0] for v in network.trainable_variables} == {"probability"}
    options = _options(
        architecture="mobilenet-v2",
        input_px=32,
        head_epochs=1,
        epochs=2,
        tuned_share=0.2,
        jpeg=False,
    )
    data = make_dataset("ab", 4)
    before = _initial(options)
    tuned, _ = train(data, data, options, tmp_path)
    changed, names = _changed(before, _by_layer(tuned)), list(before)
    assert "probability" in changed
    assert all(names.index(name) > 0.75 * len(names) for name in changed)
    assert not any("BN" in name or "bn" in name for name in changed)


def _initial(options: Any) -> dict[str, Any]:
    import keras

    from wsi_pipeline.learning.networks.architectures import build

    keras.utils.set_random_seed(options.seed)
    return _by_layer(build(options.architecture, 32, input_px=options.input_px))


def _by_layer(network: Any) -> dict[str, Any]:
    return {layer.name: _weights(layer) for layer in network.layers if layer.weights}


def _changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {
        name
        for name in before
        if any(not np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    }


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from wsi_pipeline.learning.networks.architectures import build

    other = tmp_path / "other.weights.h5"
    build("baseline-cnn", 16).save_weights(other)
    with pytest.raises(ModelError, match=r"cannot be loaded into MobileNetV2"):
        build("mobilenet-v2", 16, weights=str(other), input_px=32)


def test_imagenet_weights_from_a_file_are_those_of_keras() -> None:
    path = Path(__file__).parents[2].parent / "shared/data/weights"
    weights = path / "mobilenet_v2_imagenet_notop.weights.h5"
    if not weights.exists():
        pytest.skip("needs the weights in ../shared/data")
    import keras

    from wsi_pipeline.learning.networks.architectures import build

    ours = build("mobilenet-v2", 50, weights=str(weights))
    theirs = keras.applications.MobileNetV2(
        include_top=False, input_shape=(96, 96, 3), weights=str(weights)
    )
    for one, other in zip(_weights(ours)[:-2], _weights(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_batch_is_told(make_dataset: Any, tmp_path: Path) -> None:
    from wsi_pipeline.learning.training.trainer import train

    told: list[tuple[int, int, int]] = []
    data = make_dataset("ab", 8)
    options = _options(epochs=2, batch_size=8)
    train(data, data, options, tmp_path, progress=lambda *steps: told.append(steps))
    assert told == [(epoch, done, 32) for epoch in (1, 2) for done in (8, 16, 24, 32)]
