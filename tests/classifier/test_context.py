from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.phantoms import Phantom
from wsi_pipeline.classifier import ContextRefinement, logit, read_card
from wsi_pipeline.classifier.context import ring_features
from wsi_pipeline.cli.main import main
from wsi_pipeline.errors import DatasetError, ModelError
from wsi_pipeline.geometry import Box
from wsi_pipeline.learning.context import LabelledMap, add_context, fit_context, leave_one_out

IDENTITY = ContextRefinement((1.0, 0.0, 0.0), 0.0, 0.5)


def test_without_ring_weights_the_map_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.01, 0.99, (9, 7)).astype(np.float32)
    values[3, 2] = np.nan
    np.testing.assert_allclose(IDENTITY.refine(values), values, atol=1e-6)


def test_rings_are_means_over_the_cells_around() -> None:
    values = np.full((7, 7), 0.5, np.float32)
    values[3, 4] = 0.9
    values[1, 1] = 0.2
    own, near, far = ring_features(values)[3, 3]
    assert own == pytest.approx(0.0, abs=1e-6)
    assert near == pytest.approx(np.log(9) / 9, abs=1e-5)
    assert far == pytest.approx(np.log(0.25) / 17, abs=1e-5)


def test_missing_neighbors_do_not_pull_a_cell_down() -> None:
    values = np.full((5, 5), np.nan, np.float32)
    values[2, 2] = 0.8
    features = ring_features(values)
    np.testing.assert_allclose(features[2, 2], logit(np.array([0.8], np.float32))[0], atol=1e-5)
    assert np.isnan(features[0, 0]).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 5]))
def test_unclassified_stays_unclassified_at_every_stride(rows: int, cols: int, step: int) -> None:
    rng = np.random.default_rng(rows * 7 + cols)
    values = rng.uniform(0, 1, (rows * step, cols * step)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    refined = ContextRefinement((0.5, 0.3, 0.2), -0.1, 0.4).refine(values, step)
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


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"weights": [1, 2], "bias": 0, "threshold": 0.5},
        {"weights": [1, 2, 3], "bias": "x", "threshold": 0.5},
        {"weights": [1, 2, 3], "bias": 0, "threshold": 1.5},
    ],
)
def test_an_unusable_card_entry_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="`context` of the model card"):
        ContextRefinement.from_dict(data)


def test_it_survives_the_card() -> None:
    context = ContextRefinement((0.5, 0.3, 0.2), -0.1, 0.4)
    assert ContextRefinement.from_dict(context.to_dict()) == context


def test_train_on_slides_extends_a_model(
    tmp_path: Path, phantom_factory: Callable[..., Phantom], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for number in range(3):
        hot = Box(800 + 400 * number, 800, 800, 800)
        phantom = phantom_factory(f"slides/s{number}.tif", hot_box_l0=hot)
        truth = np.ones((8, 11), np.uint8)
        truth[2:4, 2 + number : 4 + number] = 2
        Image.fromarray(truth).save(folder / f"s{number}_truth.png")
        assert phantom.path.parent == folder
    model = Path(__file__).parents[1] / "models" / "darkness"
    words = ["train", str(folder), "--slides", "--model", str(model), "-o", str(tmp_path / "m")]
    assert main(words) == 0
    assert "with neighbors: AUC 1.0000" in capsys.readouterr().out
    card = read_card(tmp_path / "m")
    assert card.context is not None
    assert card.sha256 == read_card(model).sha256
    assert read_card(model).context is None


def test_too_few_slides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no \*_truth\.png"):
        add_context(
            read_card(Path(__file__).parents[1] / "models" / "darkness"), tmp_path, tmp_path / "m"
        )
