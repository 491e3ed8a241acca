"""The comparison of refinements: which patients count, what features say, what the table says."""

from functools import partial

import compare_context as comparison
import context_features as features
import numpy as np
import pytest
from context_networks import Sheet, batches, turned, turned_back
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_pipeline.learning.data.datasets import PatchDataset


def _map(
    values: NDArray[np.float64], truth: NDArray[np.bool_] | None = None
) -> features.WholeMount:
    labels = np.zeros(values.shape, np.uint8) if truth is None else truth.astype(np.uint8) + 1
    color = np.broadcast_to(np.array([200.0, 150.0, 180.0]), (*values.shape, 3))
    return features.WholeMount("s", values.astype(np.float32), labels, color)


def _noisy(seed: int) -> features.WholeMount:
    rng = np.random.default_rng(seed)
    tumor = np.zeros((24, 20), bool)
    tumor[4:14, 6:16] = True
    logits = np.where(tumor, 0.8, -0.8) + rng.normal(0, 1.5, tumor.shape)
    return _map(1 / (1 + np.exp(-logits)), tumor)


def _patients(**cells: tuple[list[tuple[int, int]], list[int]]) -> PatchDataset:
    """Return patches of 2 x 2 px at the columns and rows given, with their labels."""
    places = [(x, y) for where, _ in cells.values() for x, y in where]
    n = len(places)
    return PatchDataset(
        np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8),
        np.array([label for _, labels in cells.values() for label in labels], np.int8),
        np.array([name for name, (where, _) in cells.items() for _ in where]),
        tuple(str(i) for i in range(n)),
        np.array(places, np.int32) * 2 + 1,
    )


def test_a_patient_counts_where_patches_of_both_classes_have_neighbors() -> None:
    square = [(x, y) for x in range(20) for y in range(20)]
    half = [int(x < 10) for x, _ in square]
    lone = [(100 + 3 * i, 0) for i in range(30)]
    data = _patients(
        whole=(square, half),
        extract=(square + lone, [0] * len(square) + [1] * len(lone)),
        small=(square[:50], half[:50]),
    )
    assert set(comparison.whole_patients(data).patients.tolist()) == {"whole"}


def test_patches_lie_where_their_names_say() -> None:
    data = _patients(a=([(3, 5), (4, 5), (3, 7)], [0, 1, 0]))
    (one,) = comparison.whole_mounts(data, np.array([0.1, 0.9, 0.2], np.float32))
    np.testing.assert_array_equal(one.truth, [[1, 2], [0, 0], [1, 0]])
    np.testing.assert_allclose(one.values, [[0.1, 0.9], [np.nan, np.nan], [0.2, np.nan]])
    np.testing.assert_array_equal(one.color[0, 1], [1, 1, 1])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 7), st.integers(0, 10))
def test_features_know_no_upright(view: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.01, 0.99, (9, 7))
    values[rng.random(values.shape) < 0.3] = np.nan
    looks = (
        partial(features.orbit_means, 2),
        partial(features.best_window, 2),
        features.ordered,
        partial(features.random_field, 2.0, 2, 0.0, 1.0),
    )
    for look in looks:
        straight, other = look(_map(values)), look(_map(turned(values, view)))
        np.testing.assert_allclose(turned(straight, view), other, atol=1e-9)
        assert np.isfinite(straight[~np.isnan(values)]).all()


def test_the_best_window_takes_the_rim_with_the_focus() -> None:
    values = np.full((6, 6), 0.1)
    values[2:4, 2:4] = 0.9
    largest, smallest = features.best_window(2, _map(values))[2, 2]
    assert largest == pytest.approx(np.log(9), abs=1e-5)
    assert smallest == pytest.approx(-np.log(9) / 2, abs=1e-5)


def test_the_random_field_fills_a_hole_unless_its_color_differs() -> None:
    values = np.full((5, 5), 0.9)
    values[2, 2] = 0.3
    values[:, 4] = np.nan
    one = _map(values)
    color = np.array(one.color)
    color[2, 2] = 0.0
    apart = features.WholeMount("s", one.values, one.truth, color)
    assert features.random_field(4.0, 1, 20.0, 1.0, one)[2, 2, 0] > 0
    assert features.random_field(4.0, 1, 20.0, 1.0, apart)[2, 2, 0] < 0
    assert np.isnan(features.random_field(4.0, 1, 0.0, 1.0, one)[:, 4]).all()


@pytest.mark.parametrize("view", range(8))
def test_a_turn_is_undone(view: int) -> None:
    sheet = np.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(turned_back(turned(sheet, view), view), sheet)


def test_batches_turn_map_and_truth_together_and_leave_unknown_cells_at_zero() -> None:
    values = np.array([[0.9, 0.1], [np.nan, 0.1]])
    one = _map(values, values > 0.5)
    known = ~np.isnan(values)
    inputs = np.stack([np.where(known, features.logits(one), 0), known], axis=-1)
    for batch in batches([Sheet.of(one, inputs)], 5, 0.3, np.random.default_rng(0)):
        logits, classified = batch.inputs[..., 0], batch.inputs[..., 1]
        assert (logits[classified == 0] == 0).all()
        np.testing.assert_array_equal(batch.weight > 0, classified > 0)
        np.testing.assert_allclose(batch.weight.sum((1, 2)), 1, atol=1e-6)
        hottest = np.where(classified > 0, logits, -np.inf).reshape(len(logits), -1).argmax(1)
        np.testing.assert_array_equal(hottest, batch.truth.reshape(len(logits), -1).argmax(1))


def test_a_map_larger_than_the_sheet_is_refused() -> None:
    with pytest.raises(SystemExit, match="larger than 80 cells"):
        Sheet.of(_map(np.full((81, 3), 0.5)), np.zeros((81, 3, 2)))


def test_the_table_says_what_neighbors_bring_and_the_spread_of_seeds() -> None:
    training, validation = tuple(map(_noisy, range(3))), tuple(map(_noisy, range(3, 5)))

    def worse_by_seed(_: features.Maps, seed: int) -> features.Refine:
        return lambda one: np.where(np.arange(one.values.size) % 2 < seed, 0.5, one.values.ravel()
                                    ).reshape(one.values.shape).astype(np.float32)  # fmt: skip

    what = {
        "none": comparison.Variant({"": features.unchanged}),
        "neighbors": comparison.Variant({"on": features.bundled, "off": features.unchanged}),
        "noise": comparison.Variant({"": worse_by_seed}, parts=2, seeds=2),
    }
    head, _, none, neighbors, noise, own = comparison.table(what, training, validation)
    assert "s, least IDC" in head
    assert neighbors.startswith("| neighbors (on) |")
    before, after = (float(row.split("|")[3].split("/")[0]) for row in (none, neighbors))
    assert after > before + 0.05
    assert "±" in noise.split("|")[3]
    assert "±" not in noise.split("|")[2]
    assert own.startswith("| bundled, each slide at its own best threshold")
