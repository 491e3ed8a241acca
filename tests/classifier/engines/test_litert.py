"""The bundled model on LiteRT: one value a patch, however it is run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.classifier import DEFAULT_MODEL, ModelCard, find_model
from wsi_pipeline.classifier.engines.litert import BATCH, LiteRTClassifier
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray


@pytest.fixture(scope="module")
def card() -> ModelCard:
    pytest.importorskip("ai_edge_litert")
    card = find_model(DEFAULT_MODEL)
    if card.litert_path is None:
        pytest.skip("the bundled model has no model.tflite")
    return card


@pytest.fixture(scope="module")
def patches(card: ModelCard) -> RgbArray:
    side = card.patch_size_px
    return np.random.default_rng(0).integers(0, 256, (3 * BATCH + 5, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def alone(card: ModelCard, patches: RgbArray) -> FloatArray:
    """Each patch by itself, on one thread."""
    classifier = LiteRTClassifier(card, 1)
    return np.concatenate([classifier.predict(patch[None]) for patch in patches])


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_and_company_change_no_bit(
    card: ModelCard, patches: RgbArray, alone: FloatArray, n_threads: int
) -> None:
    classifier = LiteRTClassifier(card, n_threads)
    np.testing.assert_array_equal(classifier.predict(patches), alone)
    np.testing.assert_array_equal(classifier.predict(patches[::-1]), alone[::-1])


def test_callers_share_one_classifier(
    card: ModelCard, patches: RgbArray, alone: FloatArray
) -> None:
    classifier = LiteRTClassifier(card, 2)
    with ThreadPoolExecutor(4) as callers:
        for probabilities in callers.map(lambda _: classifier.predict(patches), range(6)):
            np.testing.assert_array_equal(probabilities, alone)


def test_no_patch_gives_no_probability(card: ModelCard, patches: RgbArray) -> None:
    assert LiteRTClassifier(card, 1).predict(patches[:0]).shape == (0,)


def test_outputs_that_do_not_fit_the_card_are_refused(card: ModelCard, patches: RgbArray) -> None:
    class Broken:
        def run(self, patches: RgbArray) -> FloatArray:
            return np.full((len(patches), 1), np.nan, np.float32)

    wrong = LiteRTClassifier(card, 1)
    wrong._idle[:] = [Broken()]  # type: ignore[list-item]
    with pytest.raises(ModelError, match="not finite"):
        wrong.predict(patches[:2])


def test_a_damaged_model_is_refused_when_it_is_loaded(card: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"no model")
    damaged = replace(card, folder=tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        LiteRTClassifier(damaged, 1)
