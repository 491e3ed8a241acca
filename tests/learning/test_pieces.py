"""Cores and strips cut from whole mounts with truth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.classifier import ContextRefinement
from wsi_pipeline.classifier.context import AloneCalibration
from wsi_pipeline.learning.data.pieces import (
    CORES,
    IDC,
    OTHER,
    STRIPS,
    Shape,
    cut_pieces,
    mount,
)
from wsi_pipeline.learning.data.truth import SlideTruth
from wsi_pipeline.learning.training.context import LabelledMap
from wsi_pipeline.learning.training.small_pieces import (
    PiecesMap,
    cores_called,
    shifted_for_cores,
)

PX = 50


@pytest.fixture
def truth(tmp_path: Path) -> SlideTruth:
    """A slide of 24 x 24 cells at 8 µm/px: IDC, dark, on the left, other tissue on the right."""
    cells = np.full((24, 24), OTHER, np.uint8)
    cells[:, :12] = IDC
    cells[:2] = 0
    rgb = np.where(np.repeat(np.repeat(cells == IDC, PX, 0), PX, 1)[..., None], 90, 200)
    path = tmp_path / "slide.tif"
    picture = Image.fromarray(rgb.repeat(3, -1).astype(np.uint8))
    picture.save(path, resolution=(10_000 / 8.0), resolution_unit=3)
    return SlideTruth("slide", path, cells)


def test_a_pure_core_lies_on_cells_of_its_label_alone(truth: SlideTruth) -> None:
    rng = np.random.default_rng(0)
    for label, gray in ((IDC, 90), (OTHER, 200)):
        pieces = cut_pieces(truth, PX, 8.0, [(CORES[1], label, 5)], rng)
        assert len(pieces) == 5
        for piece in pieces:
            assert piece.inside.shape == (125, 125)
            assert piece.inside.sum() == pytest.approx(np.pi * 62.5**2, rel=0.01)
            assert (piece.rgb[piece.inside] == gray).all()
            assert (piece.truth[piece.inside] == label).all()
            assert (piece.rgb[~piece.inside] == (241, 239, 241)).all()


def test_a_strip_may_hold_both_and_a_slide_without_room_gives_none(truth: SlideTruth) -> None:
    rng = np.random.default_rng(0)
    strips = cut_pieces(truth, PX, 8.0, [(STRIPS[1], IDC, 12)], rng)
    assert any({IDC, OTHER} <= set(np.unique(piece.truth)) for piece in strips)
    assert not cut_pieces(truth, PX, 8.0, [(Shape(12_000, 12_000), IDC, 3)], rng)


def test_a_mount_knows_the_label_piece_and_share_of_its_cells(truth: SlideTruth) -> None:
    rng = np.random.default_rng(1)
    wanted = [(CORES[0], OTHER, 4), (CORES[0], IDC, 4)]
    laid = mount(cut_pieces(truth, PX, 8.0, wanted, rng), PX, 8.0, rng)
    assert set(np.unique(laid.piece_of_cell)) == set(range(-1, 8))
    area = [laid.share_of_cell[laid.piece_of_cell == k].sum() * PX**2 for k in range(8)]
    np.testing.assert_allclose(area, np.pi * 37.5**2, rtol=0.03)
    found = [set(laid.cells[laid.piece_of_cell == k]) - {0} for k in range(8)]
    assert found == [{OTHER}] * 4 + [{IDC}] * 4
    tissue = (laid.rgb != (241, 239, 241)).any(-1)
    assert tissue.sum() == pytest.approx(sum(area), rel=1e-6)


def test_a_core_is_called_where_half_of_its_tissue_is(truth: SlideTruth) -> None:
    rng = np.random.default_rng(2)
    laid = mount(cut_pieces(truth, PX, 8.0, [(CORES[1], IDC, 3)], rng), PX, 8.0, rng)
    refined = np.where(laid.piece_of_cell >= 0, 0.9, np.nan).astype(np.float32)
    assert cores_called(laid, refined, 0.5) == [(IDC, True)] * 3
    rim = laid.share_of_cell < 0.9
    refined[laid.piece_of_cell == 1] = 0.1
    refined[(laid.piece_of_cell == 2) & rim] = np.nan
    calls = [called for _, called in cores_called(laid, refined, 0.5)]
    assert calls[:2] == [True, False]


def test_the_judgement_of_cells_alone_is_shifted_to_between_the_cores_of_either_label(
    truth: SlideTruth,
) -> None:
    rng = np.random.default_rng(3)
    wanted = [(CORES[0], OTHER, 8), (CORES[0], IDC, 8)]
    laid = mount(cut_pieces(truth, PX, 8.0, wanted, rng), PX, 8.0, rng)
    # of IDC all lie at a logit of -0.9; what is not lies at -1.2: the border comes between
    logits = np.where(laid.cells == IDC, -0.9, -1.2)
    values = np.where(laid.piece_of_cell >= 0, 1 / (1 + np.exp(-logits)), np.nan)
    share = laid.share_of_cell.astype(np.float32)
    item = PiecesMap(LabelledMap("a", values.astype(np.float32), laid.cells, tissue=share), laid)
    context = ContextRefinement(
        (1.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.4, AloneCalibration(1.0, 0.0)
    )  # of threshold 0.4, a logit of -0.405
    shifted = shifted_for_cores(context, [item])
    assert shifted.alone is not None
    assert shifted.alone.bias == pytest.approx(0.65, abs=0.051)
    refined = shifted.refine(item.map.values, 1, item.map.tissue)
    assert all(called == (label == IDC) for label, called in cores_called(laid, refined, 0.4))
    assert (shifted.weights, shifted.threshold) == (context.weights, context.threshold)
