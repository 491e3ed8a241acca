"""A network trained elsewhere becomes a model folder: what its file tells, and what it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.classifier import find_model, load_classifier, read_card
from wsi_pipeline.classifier.new_card import new_model_folder
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_USAGE, main
from wsi_pipeline.errors import ModelError

DARKNESS = Path(__file__).parents[1] / "models/darkness/model.keras"
pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def test_what_the_file_cannot_tell_is_refused_until_it_is_filled_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "mine.keras"
    shutil.copyfile(DARKNESS, weights)
    assert main(["models", "--new", str(weights)]) == EXIT_DONE
    said = capsys.readouterr().out
    assert "spacing_um_px: 8.0, the µm/px of the patches that it was trained on" in said
    assert "input_range" not in said  # its Rescaling layer tells
    with pytest.raises(ModelError, match=r'lacks spacing_um_px\. Add "spacing_um_px": 8\.0'):
        read_card(tmp_path / "mine")
    card_file = tmp_path / "mine/model.json"
    record = json.loads(card_file.read_text())
    assert record["name"] == "mine"
    assert record["patch_size_px"] == 50
    assert record["output"] == "probability"
    card_file.write_text(json.dumps(record | {"spacing_um_px": 8.0}))
    classifier = load_classifier(read_card(tmp_path / "mine"), device="cpu")
    dark = np.zeros((1, 50, 50, 3), np.uint8)
    assert classifier.predict(dark)[0] > 0.99


def test_the_card_of_the_bundled_network_counts_as_a_new_one_does(tmp_path: Path) -> None:
    card = find_model("idc-compact")
    new_model_folder(card.weights_path, tmp_path)
    counted = json.loads((tmp_path / "model.json").read_text())["parameters"]
    assert card.record["parameters"] == counted
    assert f"{counted:,} parameters in all" in (card.folder / "README.md").read_text()


def test_a_network_without_its_own_scaling_asks_for_the_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    assert main(["models", "--new", str(tmp_path / "model.keras")]) == EXIT_DONE
    said = capsys.readouterr().out
    assert "input_range: [0, 255], or what else" in said
    record = json.loads((tmp_path / "model.json").read_text())
    assert record["input_range"] is None
    assert record["output"] == "logit"
    assert record["class_names"] == ["not IDC", "IDC"]
    assert (tmp_path / "model.keras").is_file()


def test_a_network_that_gives_features_too_is_told_by_the_output_of_its_classes(
    tmp_path: Path,
) -> None:
    import keras

    inputs = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(inputs))
    classes = keras.layers.Dense(1, activation="sigmoid")(features)
    keras.Model(inputs, [classes, features]).save(tmp_path / "two.keras")
    assert main(["models", "--new", str(tmp_path / "two.keras")]) == EXIT_DONE
    record = json.loads((tmp_path / "two/model.json").read_text())
    assert (record["output"], record["class_names"]) == ("probability", ["IDC"])
    keras.Model(inputs, [classes, features, features]).save(tmp_path / "three.keras")
    with pytest.raises(ModelError, match="has 3 outputs"):
        new_model_folder(tmp_path / "three.keras", tmp_path / "three")


def test_a_card_that_exists_and_a_file_that_does_not_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--new", str(tmp_path / "no.keras")]) == EXIT_USAGE
    assert "there is no" in capsys.readouterr().err
    shutil.copyfile(DARKNESS, tmp_path / "model.keras")
    (tmp_path / "model.json").write_text("{}")
    assert main(["models", "--new", str(tmp_path / "model.keras")]) == EXIT_USAGE
    assert "exists. Edit it" in capsys.readouterr().err.replace("\n       ", ". ")
    (tmp_path / "text.keras").write_text("no network")
    assert main(["models", "--new", str(tmp_path / "text.keras")]) == EXIT_USAGE
    assert "cannot be loaded" in capsys.readouterr().err
