import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.phantoms import Phantom
from wsi_pipeline.classifier import ContextRefinement, logit, read_card, sigmoid
from wsi_pipeline.classifier.context import METHOD, AloneCalibration, ring_features
from wsi_pipeline.cli.main import main
from wsi_pipeline.errors import DatasetError, ModelError
from wsi_pipeline.geometry import Box
from wsi_pipeline.learning.data.folds import OutOfFold
from wsi_pipeline.learning.training.context import (
    OTHER_SHARE,
    LabelledMap,
    add_context,
    add_context_by_teachers,
    fit_context,
    fit_logistic,
    leave_one_out,
)
from wsi_pipeline.learning.training.small_pieces import fit_alone

DARKNESS = Path(__file__).parents[1] / "models" / "darkness"
IDENTITY = ContextRefinement((1.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.5)
SMOOTHING = ContextRefinement((0.5, 0.2, 0.1, 0.1, 0.1), -0.1, 0.4)


def test_without_ring_weights_the_map_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.01, 0.99, (9, 7)).astype(np.float32)
    values[3, 2] = np.nan
    np.testing.assert_allclose(IDENTITY.refine(values), values, atol=1e-6)


def test_rings_are_means_and_maxima_over_the_cells_around() -> None:
    values = np.full((7, 7), 0.5, np.float32)
    values[3, 4] = 0.9
    values[1, 1] = 0.2
    values[5, 5] = 0.6
    own, near, near_largest, far, far_largest, there = ring_features(values)[3, 3]
    assert there == 1
    assert own == pytest.approx(0.0, abs=1e-6)
    assert near == pytest.approx(-(8 * np.log(0.5) + np.log(0.1)) / 9, abs=1e-5)
    assert far == pytest.approx(-(15 * np.log(0.5) + np.log(0.8) + np.log(0.4)) / 17, abs=1e-5)
    assert near_largest == pytest.approx(-np.log(0.1), abs=1e-5)
    assert far_largest == pytest.approx(-np.log(0.4), abs=1e-5)


def test_neighbors_surely_free_of_tumor_take_nothing_away() -> None:
    """However sure the network is of the stroma around a small focus, that stays as it is."""
    near = []
    for sure in (0.05, 1e-4):
        values = np.full((7, 7), sure, np.float32)
        values[3, 3:5] = 0.9
        near.append(ring_features(values)[3, 3])
    np.testing.assert_allclose(near[0], near[1], atol=0.06)


def test_missing_neighbors_do_not_pull_a_cell_down() -> None:
    values = np.full((5, 5), np.nan, np.float32)
    values[2, 2] = 0.8
    features = ring_features(values)
    assert features[2, 2, -1] == 0
    assert features[2, 2, 0] == pytest.approx(np.log(4), abs=1e-5)
    np.testing.assert_allclose(features[2, 2, 1:-1], -np.log(0.2), atol=1e-5)
    assert np.isnan(features[0, 0]).all()


def test_nothing_is_smoothed_across_glass() -> None:
    values = np.full((9, 12), 0.02, np.float32)
    values[:, 5] = np.nan  # two pieces with a cell of glass between them
    values[:, 6:] = 0.98
    features = ring_features(values)
    np.testing.assert_allclose(features[4, 4, 1:5], -np.log(0.98), atol=1e-5)
    joined = ring_features(np.where(np.isnan(values), np.float32(0.5), values))
    assert joined[4, 4, 4] > 3  # the other side is seen where tissue leads there


def test_cells_mostly_glass_are_no_evidence() -> None:
    values = np.full((5, 5), 0.9, np.float32)
    values[:, 3:] = 0.01
    tissue = np.where(np.arange(5) < 3, 1.0, 0.1)[None].repeat(5, 0).astype(np.float32)
    evidence = -np.log(0.1)
    np.testing.assert_allclose(ring_features(values, 1, tissue)[2, 2, 1:5], evidence, atol=1e-5)
    assert ring_features(values)[2, 2, 1] < evidence - 0.5


@pytest.mark.parametrize(("side", "by_itself"), [(3, True), (4, False)], ids=["9 cells", "16"])
def test_a_piece_of_few_cells_is_judged_by_itself(side: int, by_itself: bool) -> None:
    values = np.full((8, 8), np.nan, np.float32)
    values[2 : 2 + side, 2 : 2 + side] = 0.2
    values[2, 2] = 0.8
    alone = AloneCalibration(1.0, 0.5)
    context = replace(SMOOTHING, alone=alone)
    expected = sigmoid(logit(np.array([0.8], np.float32)) + np.float32(0.5))[0]
    found = float(context.refine(values)[2, 2])
    assert (abs(found - expected) < 1e-5) == by_itself


def test_cells_with_neighbors_do_not_feel_how_others_are_judged() -> None:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (9, 9)).astype(np.float32)
    context = replace(SMOOTHING, alone=AloneCalibration(2.0, 3.0))
    np.testing.assert_array_equal(context.refine(values), SMOOTHING.refine(values))


def test_how_pieces_are_judged_is_fitted_on_them() -> None:
    rng = np.random.default_rng(0)
    values = np.full((40, 40), np.nan, np.float32)
    truth = np.zeros((40, 40), np.uint8)
    for number in range(100):  # pieces of two cells, far apart; their logits are 2 too low
        row, col = 4 * (number // 10), 4 * (number % 10)
        label = number % 2
        logits = (4 * label - 4) + rng.normal(0, 1, 2)
        values[row, col : col + 2] = 1 / (1 + np.exp(-logits))
        truth[row, col : col + 2] = label + 1
    alone = fit_alone(SMOOTHING, [LabelledMap("a", values, truth)])
    assert alone.bias / alone.weight == pytest.approx(2.0, abs=0.5)
    refined = replace(SMOOTHING, alone=alone).refine(values)
    assert ((refined >= 0.5) == (truth == 2))[truth > 0].mean() > 0.95


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 5]))
def test_unclassified_stays_unclassified_at_every_stride(rows: int, cols: int, step: int) -> None:
    rng = np.random.default_rng(rows * 7 + cols)
    values = rng.uniform(0, 1, (rows * step, cols * step)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    refined = SMOOTHING.refine(values, step)
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(values))
    known = refined[~np.isnan(refined)]
    assert ((known >= 0) & (known <= 1)).all()


def test_the_fit_learns_that_neighbors_matter() -> None:
    rng = np.random.default_rng(1)
    labelled = []
    for name in "abcd":
        tumor = np.zeros((40, 40), bool)
        tumor[8:25, 10:30] = True
        noisy = np.where(tumor, 0.8, -0.8) + rng.normal(0, 1.5, tumor.shape)
        values = (1 / (1 + np.exp(-noisy))).astype(np.float32)
        labelled.append(LabelledMap(name, values, np.where(tumor, 2, 1).astype(np.uint8)))
    assert fit_context(labelled).weights[1] > 0
    for item, refined in zip(labelled, leave_one_out(labelled), strict=True):
        before = ((item.values >= 0.5) == (item.truth == 2)).mean()
        assert ((refined >= 0.5) == (item.truth == 2)).mean() > before + 0.1


def test_a_small_slide_counts_as_much_as_a_large_one_and_little_tumor_as_much_as_the_rest() -> None:
    large = LabelledMap("a", np.full((20, 20), 0.5, np.float32), np.ones((20, 20), np.uint8))
    small = LabelledMap("b", np.full((1, 2), 0.5, np.float32), np.full((1, 2), 2, np.uint8))
    large.truth[0, 0] = 2
    small.truth[0, 0] = 1
    weights, bias = fit_logistic([np.zeros((20, 20, 1)), np.zeros((1, 2, 1))], [large, small])
    assert weights == pytest.approx([0.0], abs=1e-3)
    assert bias == pytest.approx(0.0, abs=1e-3)


def test_other_tissue_has_its_share_of_the_weight_whatever_its_size() -> None:
    truth = np.ones((1, 2), np.uint8)
    truth[0, 0] = 2
    own = LabelledMap("a", np.full((1, 2), 0.5, np.float32), truth)
    for n in (1, 3):
        for side in (2, 9):
            organ = LabelledMap(
                "o", np.full((side, side), 0.5, np.float32), np.ones((side, side), np.uint8)
            )
            features = [np.zeros((1, 2, 1)), *[np.zeros((side, side, 1))] * n]
            _, bias = fit_logistic(features, [own], [organ] * n)
            idc = 0.5 * (1 - OTHER_SHARE)
            assert bias == pytest.approx(np.log(idc / (1 - idc)), abs=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"method": "of an older version", "weights": [1, 2, 3, 4, 5], "bias": 0, "threshold": 0.5},
        {"method": METHOD, "weights": [1, 2], "bias": 0, "threshold": 0.5},
        {"method": METHOD, "weights": [1, 2, 3, 4, 5], "bias": "x", "threshold": 0.5},
        {"method": METHOD, "weights": [1, 2, 3, 4, 5], "bias": 0, "threshold": 1.5},
    ],
)
def test_an_unusable_card_entry_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="`context` of the model card"):
        ContextRefinement.from_dict(data)


@pytest.mark.parametrize("alone", [None, AloneCalibration(0.9, 0.3)])
def test_it_survives_the_card(alone: AloneCalibration | None) -> None:
    context = replace(SMOOTHING, alone=alone)
    assert ContextRefinement.from_dict(context.to_dict()) == context


@pytest.fixture
def slides(tmp_path: Path, phantom_factory: Callable[..., Phantom]) -> Path:
    """Three slides with truth."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for number in range(3):
        hot = Box(800 + 400 * number, 800, 800, 800)
        phantom = phantom_factory(f"slides/s{number}.tif", hot_box_l0=hot)
        truth = np.ones((8, 11), np.uint8)
        truth[2:4, 2 + number : 4 + number] = 2
        Image.fromarray(truth).save(folder / f"s{number}_truth.png")
        assert phantom.path.parent == folder
    return folder


def test_train_on_slides_extends_a_model(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(slides), "--slides", "--model", str(DARKNESS), "-o", str(tmp_path / "m")]
    assert main(words) == 0
    assert "with neighbors: AUC 1.0000" in capsys.readouterr().out
    card = read_card(tmp_path / "m")
    assert card.context is not None
    assert card.sha256 == read_card(DARKNESS).sha256
    assert read_card(DARKNESS).context is None
    assert "| pooled, refined | 1.000" in (tmp_path / "m" / "README.md").read_text()


def _model(folder: Path, **changes: object) -> Path:
    """Copy the darkness model with changes to its card."""
    shutil.copytree(DARKNESS, folder)
    record = json.loads((folder / "model.json").read_text()) | changes
    (folder / "model.json").write_text(json.dumps(record))
    return folder


def _teachers(folder: Path, fold_of: dict[str, int]) -> Path:
    """Write teachers that all go by darkness."""
    n = len(fold_of)
    for fold in set(fold_of.values()):
        _model(folder / f"fold-{fold}", name=f"fold-{fold}")
    OutOfFold(
        tuple(f"{patient}.png" for patient in fold_of),
        np.array(list(fold_of)),
        np.zeros((n, 2), np.int32),
        np.zeros(n, np.int8),
        np.array(list(fold_of.values())),
        np.zeros(n, np.float32),
    ).write(folder)
    return folder


def test_weights_come_from_training_slides_and_the_threshold_from_validation_slides(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = _teachers(tmp_path / "teachers", {"s0": 1, "s1": 2, "other": 1})
    model = _model(tmp_path / "m", split={"train": ["s0", "s1"], "validation": ["s2"]})
    words = ["train", slides, "--slides", "--model", model, "--teacher", teachers, "-o", model]
    assert main([str(word) for word in words]) == 0
    assert "judged on validation slides" in capsys.readouterr().out
    context = read_card(model).record["context"]
    assert context["slides"] == ["s0", "s1"]
    assert context["validation_slides"] == ["s2"]
    assert set(context["teachers"]) == {"1", "2"}
    assert context["metrics"]["mean_over_slides"]["refined"]["auc"] == 1.0


def test_with_pieces_cells_without_neighbors_are_judged_by_themselves(
    tmp_path: Path, phantom_factory: Callable[..., Phantom]
) -> None:
    for number in range(2):  # tumor of 1.6 mm: room for a core of 1 mm off the grid
        phantom_factory(f"s{number}.tif", hot_box_l0=Box(1200, 800, 1600, 1600))
        truth = np.ones((8, 11), np.uint8)
        truth[2:6, 3:7] = 2
        Image.fromarray(truth).save(tmp_path / f"s{number}_truth.png")
    model = _model(tmp_path / "m", split={"train": ["s0"], "validation": ["s1"]})
    (tmp_path / "organs").mkdir()
    phantom_factory("organs/liver.tif", hot_box_l0=Box(0, 0, 0, 0))
    words = ["train", tmp_path, "--slides", "--pieces", "--model", model, "-o", model]
    words += ["--negatives", tmp_path / "organs"]
    assert main([str(word) for word in words]) == 0
    card = read_card(model)
    assert card.record["context"]["other_slides"] == ["liver"]
    assert card.context is not None
    assert card.context.alone is not None
    cores = card.record["context"]["metrics"]["cores"]
    assert cores["idc_0.6_mm"]["called"] == cores["idc_0.6_mm"]["cores"] > 10
    assert cores["other_0.6_mm"]["called"] == 0


def test_teachers_that_saw_a_validation_patient_are_refused(slides: Path, tmp_path: Path) -> None:
    teachers = _teachers(tmp_path / "teachers", {"s0": 1, "s1": 2, "s2": 1})
    model = _model(tmp_path / "m", split={"validation": ["s2"]})
    with pytest.raises(DatasetError, match=r"trained on 1 of the patients that validate"):
        add_context_by_teachers(read_card(model), slides, teachers, model)


def test_teachers_need_training_slides_and_the_models_scale(slides: Path, tmp_path: Path) -> None:
    model = _model(tmp_path / "m", split={"validation": ["s2"]})
    few = _teachers(tmp_path / "few", {"s0": 1})
    with pytest.raises(DatasetError, match=r"1 slides of the teachers' patients"):
        add_context_by_teachers(read_card(model), slides, few, model)
    teachers = _teachers(tmp_path / "teachers", {"s0": 1, "s1": 1})
    shutil.rmtree(teachers / "fold-1")
    _model(teachers / "fold-1", spacing_um_px=4.0)
    with pytest.raises(ModelError, match=r"at 4 µm/px, darkness of 50 px at 8 µm/px"):
        add_context_by_teachers(read_card(model), slides, teachers, model)


def test_too_few_slides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no \*_truth\.png"):
        add_context(read_card(DARKNESS), tmp_path, tmp_path / "m")
