import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rule_classifier import RuleClassifier
from wsi_pipeline.classifier import ModelCard, find_model, logit, read_card, sigmoid
from wsi_pipeline.classifier.classifier import calibrated, dihedral_views, predict_views
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

WriteFolder = Callable[..., Path]


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Write a model folder whose weights are any bytes: a card is read without a framework."""

    def write(**changes: Any) -> Path:
        (tmp_path / "model.keras").write_bytes(b"weights")
        record = {
            "name": "mine",
            "patch_size_px": 50,
            "spacing_um_px": 8.0,
            "class_names": ["IDC"],
            "input_range": [0, 255],
            "sha256": hashlib.sha256(b"weights").hexdigest(),
        }
        record |= changes
        record = {key: value for key, value in record.items() if value != "absent"}
        (tmp_path / "model.json").write_text(json.dumps(record))
        return tmp_path

    return write


def test_a_card_with_the_required_keys_has_the_documented_defaults(
    write_folder: WriteFolder,
) -> None:
    card = find_model(str(write_folder()))
    assert (card.threshold, card.temperature, card.stain, card.output) == (
        0.5,
        1.0,
        "none",
        "probability",
    )
    assert card.litert_path is None
    assert card.stain_reference_path is None
    assert card.glass_rgb is None


def test_a_card_may_state_the_glass_of_its_training_data(write_folder: WriteFolder) -> None:
    assert read_card(write_folder(glass_rgb=[241, 239, 241])).glass_rgb == (241, 239, 241)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "absent"}, "lacks name"),
        ({"spacing_um_px": "absent", "class_names": "absent"}, "lacks spacing_um_px, class_names"),
        ({"patch_size_px": 0}, "patch_size_px is 0, expected a positive"),
        ({"patch_size_px": "large"}, r'"patch_size_px" is "large", expected 50, the side of'),
        ({"spacing_um_px": None}, r'lacks spacing_um_px\. Add "spacing_um_px": 8\.0, the µm/px'),
        ({"spacing_um_px": 500}, r"spacing_um_px is 500.0, expected 0.05 to 50"),
        ({"threshold": 1.5}, "threshold is 1.5, expected between 0 and 1"),
        ({"temperature": -1}, "temperature is -1.0, expected positive"),
        ({"class_names": ["a", "b", "c"]}, "expected one or two classes"),
        ({"input_range": [1, 0]}, r"input_range is \(1.0, 0.0\)"),
        ({"input_range": [1]}, r'"input_range" is \[1\], expected \[0, 255\]'),
        ({"output": "log"}, "output is log, expected probability or logit"),
        ({"glass_rgb": [241, 239]}, "value of the wrong kind"),
        ({"glass_rgb": [241, 239, 20]}, r"glass_rgb is \(241, 239, 20\), expected three levels"),
        ({"sha256": "0" * 64}, "is not the file its card names"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    changes: dict[str, Any], message: str, write_folder: WriteFolder
) -> None:
    with pytest.raises(ModelError, match=message):
        read_card(write_folder(**changes))


@pytest.mark.parametrize("name", ["model.json", "model.keras"])
def test_a_folder_that_lacks_a_file_is_refused(name: str, write_folder: WriteFolder) -> None:
    folder = write_folder()
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"has no {name}"):
        read_card(folder)


def test_a_card_that_is_no_json_is_refused(write_folder: WriteFolder) -> None:
    folder = write_folder()
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match="not readable JSON"):
        read_card(folder)


def test_a_model_of_no_name_and_no_folder_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no model 'nothing-like-it'.*or give a folder"):
        find_model("nothing-like-it")


def test_weights_without_a_checksum_are_told(
    write_folder: WriteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "wsi_pipeline"):
        assert read_card(write_folder(sha256="absent")).sha256 == ""
    assert "states no sha256" in caplog.text


def test_a_litert_file_of_another_model_is_refused(write_folder: WriteFolder) -> None:
    folder = write_folder(litert_sha256=hashlib.sha256(b"this").hexdigest())
    (folder / "model.tflite").write_bytes(b"that")
    with pytest.raises(ModelError, match="does not match litert_sha256"):
        read_card(folder)


@pytest.mark.parametrize(
    ("names", "index"),
    [
        (["IDC"], 0),
        (["normal", "tumor"], 1),
        (["Invasive carcinoma", "benign"], 0),
        (["non-IDC", "IDC"], 1),
        (["a", "b"], 1),
    ],
)
def test_the_class_of_idc_is_found_by_its_name(
    names: list[str], index: int, write_folder: WriteFolder
) -> None:
    assert read_card(write_folder(class_names=names)).positive_class == index


def _card(write_folder: WriteFolder, **changes: Any) -> ModelCard:
    return read_card(write_folder(**changes))


def test_outputs_become_calibrated_probabilities(write_folder: WriteFolder) -> None:
    p = np.array([[0.1], [0.5], [0.9]], np.float32)
    np.testing.assert_array_equal(calibrated(p, _card(write_folder)), p[:, 0])
    cooled = calibrated(p, _card(write_folder, temperature=2.0))
    np.testing.assert_allclose(cooled, sigmoid(logit(p[:, 0]) / np.float32(2)), rtol=1e-6)
    np.testing.assert_allclose(
        calibrated(logit(p), _card(write_folder, output="logit")), p[:, 0], rtol=1e-5
    )


def test_two_outputs_give_the_one_of_idc(write_folder: WriteFolder) -> None:
    card = _card(write_folder, class_names=["IDC", "other"])
    two = np.array([[0.7, 0.3], [0.2, 0.8]], np.float32)
    np.testing.assert_allclose(calibrated(two, card), [0.7, 0.2])
    logits = _card(write_folder, class_names=["IDC", "other"], output="logit")
    np.testing.assert_allclose(
        calibrated(np.log(two), logits), [0.7, 0.2], rtol=1e-5
    )  # softmax of two is the sigmoid of their difference


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([[0.1], [-3.0]], r"gives -3 to 0\.1, its card says these are probabilities.*logit"),
        ([[0.1], [1.2]], "its card says these are probabilities"),
        ([[0.1], [np.nan]], "not finite"),
        ([[np.inf], [0.2]], "not finite"),
        ([[0.1, 0.2, 0.7]], "gives 3 numbers a patch, its card names 1 classes"),
    ],
)
def test_outputs_that_are_not_what_the_card_says_are_refused(
    outputs: list[list[float]], message: str, write_folder: WriteFolder
) -> None:
    with pytest.raises(ModelError, match=message):
        read_card(write_folder()).require_fitting(np.array(outputs, np.float32))


def test_outputs_as_the_card_says_pass(write_folder: WriteFolder) -> None:
    read_card(write_folder()).require_fitting(np.array([[0.0], [1.0]], np.float32))
    logits = read_card(write_folder(output="logit"))
    logits.require_fitting(np.array([[-30.0], [30.0]], np.float32))


def test_logit_and_sigmoid_undo_each_other_and_stay_finite() -> None:
    p = np.array([0, 1e-6, 0.3, 0.999, 1], np.float32)
    assert np.isfinite(logit(p)).all()
    np.testing.assert_allclose(sigmoid(logit(p)), p, atol=2e-7)


def test_the_eight_views_are_distinct_and_of_the_same_pixels() -> None:
    patch = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    views = dihedral_views(patch)
    assert len({view.tobytes() for view in views}) == 8
    assert all(np.array_equal(np.sort(view.ravel()), np.arange(27)) for view in views)


def corner(patches: RgbArray) -> FloatArray:
    """Return the brightness of the upper left pixel: every view differs."""
    return patches[:, 0, 0, 0].astype(np.float32) / np.float32(255)


def test_views_are_averaged_as_logits_and_their_spread_is_the_uncertainty(
    write_folder: WriteFolder,
) -> None:
    patch = np.full((1, 2, 2, 3), 51, np.uint8)
    patch[0, 0, 0] = 204
    probability, spread = predict_views(RuleClassifier(_card(write_folder), corner), patch)
    corners = np.array([0.8, 0.2, 0.2, 0.2], np.float32)
    assert probability[0] == pytest.approx(float(sigmoid(logit(corners).mean(keepdims=True))[0]))
    assert spread[0] == pytest.approx(float(corners.std()), abs=1e-6)
