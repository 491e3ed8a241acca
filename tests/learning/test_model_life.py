"""Train, package, serve, evaluate and classify with real networks, small and short."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE, main

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


QUICK_TRAINING = ["train", "--architecture", "baseline-cnn", "--epochs", "1", "--batch-size", "8",
                  "--patch-size-px", "32", "--learning-rate", "0.005", "--no-jpeg"]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, paint_patch: Any) -> Path:
    """Two patients to train and two to validate, by the published lists."""
    root = tmp_path_factory.mktemp("archive")
    for patient in ("8865", "8913", "8867", "9022"):
        for label in (0, 1):
            folder = root / patient / str(label)
            folder.mkdir(parents=True)
            for i in range(12):
                name = f"{patient}_idx5_x{1 + 32 * i}_y1_class{label}.png"
                pixels = paint_patch(label, seed=int(patient) * 100 + i)
                Image.fromarray(pixels).save(folder / name)
    return root


@pytest.fixture(scope="module")
def model_folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained by the command itself."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    words = ["train", archive, "-o", folder, "--architecture", "baseline-cnn", "--epochs", "3",
             "--batch-size", "8", "--patch-size-px", "32", "--learning-rate", "0.005",
             "--loss", "focal", "--sampling", "balanced", "--patience", "2"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        assert main([str(word) for word in words]) == EXIT_DONE
    return folder


def test_training_leaves_a_whole_model_folder(model_folder: Path) -> None:
    for name in ("model.keras", "model.tflite", "model.json", "README.md", "report/index.html"):
        assert (model_folder / name).is_file(), name
    card = json.loads((model_folder / "model.json").read_text())
    assert card["split"]["train"] == ["8865", "8913"]
    assert card["split"]["validation"] == ["8867", "9022"]
    assert card["training"]["loss"] == "focal"
    assert "auc_ci95" in card["metrics"]
    metrics = json.loads((model_folder / "report" / "metrics.json").read_text())
    assert metrics["auc"] == pytest.approx(card["metrics"]["auc"], abs=1e-3)


@pytest.fixture(scope="module")
def teachers(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that each did not see one of the two training patients."""
    folder = tmp_path_factory.mktemp("teachers") / "t"
    assert main([*QUICK_TRAINING, str(archive), "--folds", "2", "-o", str(folder)]) == EXIT_DONE
    return folder


def test_a_teacher_never_saw_the_patients_of_its_fold(teachers: Path) -> None:
    rows = list(csv.DictReader((teachers / "out_of_fold.csv").read_text().splitlines()))
    assert len(rows) == 48
    assert {row["patient"] for row in rows} == {"8865", "8913"}
    for row in rows:
        card = json.loads((teachers / f"fold-{row['fold']}" / "model.json").read_text())
        assert row["patient"] in card["split"]["left_out"]
        assert row["patient"] not in card["split"]["train"]
        assert card["split"]["validation"] == ["8867", "9022"]


def test_a_student_is_taught_and_its_card_says_so(
    archive: Path, teachers: Path, tmp_path: Path
) -> None:
    words = [*QUICK_TRAINING, str(archive), "-o", str(tmp_path / "s"), "--teacher", str(teachers)]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("mixup: 0.2\nepochs: 9\n")
    words += ["-c", str(recipe)]
    assert main([*words, "--teacher-weight", "0.7"]) == EXIT_DONE
    training = json.loads((tmp_path / "s" / "model.json").read_text())["training"]
    assert (training["teacher_weight"], training["mixup"], training["epochs"]) == (0.7, 0.2, 1)
    assert "out_of_fold.csv sha256" in training["teacher"]
    assert "taught by out-of-fold logits" in (tmp_path / "s" / "README.md").read_text()
    assert all(0 <= entry["accuracy"] <= 1 for entry in training["history"])
    assert max(entry["accuracy"] for entry in training["history"]) > 0.4
    assert main([*words, "--teacher-weight", "0.2"]) == EXIT_USAGE
    assert main([*words, "--folds", "2"]) == EXIT_USAGE


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_both_engines_say_the_same_whatever_comes_together(
    precision: str, model_folder: Path, paint_patch: Any, tmp_path: Path
) -> None:
    """The contract of a classifier, held by LiteRT and by Keras."""
    from wsi_pipeline.classifier import PatchClassifier, read_card
    from wsi_pipeline.classifier.engines.keras import KerasClassifier, load_keras_model
    from wsi_pipeline.classifier.engines.litert import LiteRTClassifier
    from wsi_pipeline.learning.networks.packaging import write_card, write_networks

    card = read_card(model_folder)
    assert card.record["litert"]["precision"] == "int8"
    # like those it was calibrated with: eight bits promise nothing of others
    patches = np.stack([paint_patch(i % 2, seed=i) for i in range(21)])
    tolerance = 0.1
    if precision == "float32":
        write_networks(load_keras_model(card), tmp_path)
        card = write_card(tmp_path, dict(card.record))
        patches = np.random.default_rng(0).integers(0, 255, (21, 32, 32, 3), dtype=np.uint8)
        tolerance = 1e-3
    engines: list[PatchClassifier] = [
        LiteRTClassifier(card, 1),
        KerasClassifier(card, batch_size=4, device="CPU"),
        KerasClassifier(card, batch_size=64, device="CPU"),
    ]
    reference, expected = engines[0].predict_features(patches)
    assert card.familiarity is not None
    n_features = card.familiarity.n_features
    assert card.record["parameters"] == load_keras_model(card).count_params()
    for engine in engines:
        whole = engine.predict(patches)
        assert whole.dtype == np.float32
        assert whole.shape == (21,)
        assert ((whole >= 0) & (whole <= 1)).all()
        np.testing.assert_allclose(whole, reference, atol=tolerance)
        np.testing.assert_allclose(engine.predict(patches[::-1])[::-1], whole, atol=1e-6)
        np.testing.assert_allclose(engine.predict(patches[7:8]), whole[7:8], atol=1e-6)
        assert engine.predict(patches[:0]).shape == (0,)
        again, features = engine.predict_features(patches)
        np.testing.assert_array_equal(again, whole)
        assert features is not None
        assert expected is not None
        assert features.shape == (21, n_features)
        if precision == "float32":
            np.testing.assert_allclose(features, expected, atol=0.02)


def test_the_card_knows_what_the_training_data_look_like(model_folder: Path, archive: Path) -> None:
    from wsi_pipeline.classifier import load_classifier, read_card

    card = read_card(model_folder)
    assert card.familiarity is not None
    assert card.record["familiarity"]["slides"] == 4
    assert "## Familiarity" in (model_folder / "README.md").read_text()
    classifier = load_classifier(card, device="cpu")
    noise = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3), dtype=np.uint8)
    seen = np.stack([np.asarray(Image.open(p)) for p in sorted(archive.rglob("8865*.png"))])
    found = []
    for patches in (seen, noise):
        _, features = classifier.predict_features(patches)
        assert features is not None
        found.append(card.familiarity.judge(features))
    assert [one is not None and one.familiar for one in found] == [True, False]


def test_patches_are_evaluated_by_the_command(
    archive: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", archive, "-o", tmp_path, "--model", model_folder, "--tta"]
    assert main([str(word) for word in words]) == EXIT_DONE
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["patches"] == 96
    assert metrics["patients"] == 4
    assert "2 of 4 patients are in the model's training set" in metrics["notes"][0]
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 96
    assert "training set" in capsys.readouterr().out


def test_one_group_of_patients_can_be_evaluated(
    archive: Path, model_folder: Path, tmp_path: Path
) -> None:
    words = ["evaluate", archive, "-o", tmp_path, "--model", model_folder,
             "--patients", "published-val"]  # fmt: skip
    assert main([str(word) for word in words]) == EXIT_DONE
    assert json.loads((tmp_path / "metrics.json").read_text())["patients"] == 2


def test_a_data_set_that_is_not_there_ends_with_a_message(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", tmp_path / "no", "-o", tmp_path / "r", "--model", model_folder]
    assert main([str(word) for word in words]) == EXIT_SOME_FAILED
    assert "there is no data set" in capsys.readouterr().err
    words[-1] = tmp_path
    assert main([str(word) for word in words]) == EXIT_USAGE


def _slide(path: Path, truth: NDArray[np.uint8], paint_patch: Any) -> None:
    """Write a slide at 8 µm/px whose 50 px cells are painted by the truth."""
    cells = [
        [
            np.full((50, 50, 3), 245, np.uint8)
            if value == 0
            else paint_patch(int(value == 2), seed=int(row * 100 + col), side=50)
            for col, value in enumerate(line)
        ]
        for row, line in enumerate(truth)
    ]
    picture = np.vstack([np.hstack(line) for line in cells])
    tifffile.imwrite(
        path, picture, photometric="rgb", tile=(256, 256), compression="zlib",
        resolution=(1e4 / 8, 1e4 / 8), resolutionunit="CENTIMETER", metadata=None,
    )  # fmt: skip


def test_whole_slides_are_evaluated_by_the_command(
    model_folder: Path, tmp_path: Path, paint_patch: Any
) -> None:
    card = json.loads((model_folder / "model.json").read_text())
    truth = np.zeros((14, 16), np.uint8)
    truth[2:12, 2:14] = 1
    truth[4:9, 5:10] = 2
    slides = tmp_path / "slides"
    slides.mkdir()
    _slide(slides / "8867.tif", truth, paint_patch)
    Image.fromarray(truth).save(slides / "8867_truth.png")
    words = ["evaluate", slides, "--slides", "-o", tmp_path / "r", "--model", model_folder]
    assert main([str(word) for word in words]) == EXIT_DONE
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    (row,) = metrics["slides"]
    assert row["cells"] == 120
    assert row["coverage"] > 0.9
    assert metrics["threshold"] == card["threshold"]
    assert (tmp_path / "r" / "slides" / "8867" / "probability.zarr").is_dir()
    assert (tmp_path / "r" / "figures" / "slide-8867.png").exists()


def test_pictures_are_classified_by_the_command(
    archive: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    table = tmp_path / "calls.csv"
    words = ["classify", archive / "8867", bad, "--model", model_folder, "-o", table]
    assert main([str(word) for word in words]) == EXIT_SOME_FAILED
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 24
    assert {"call_balanced", "call_high_sensitivity"} <= set(rows[0])
    assert "bad.png cannot be read" in capsys.readouterr().err
