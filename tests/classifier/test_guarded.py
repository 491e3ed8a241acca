"""A device that fails: a smaller batch, then the CPU."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.classifier.faulty import FaultyClassifier
from wsi_pipeline.classifier.guarded import GuardedClassifier

PATCHES = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1) * np.ones((1, 50, 50, 3), np.uint8)


def guarded(*, least: int, error: str) -> GuardedClassifier:
    """Return a classifier whose device takes batches below `least` and fails at the others."""
    return GuardedClassifier(lambda size: FaultyClassifier(size, least, error), 1024)


def test_a_full_memory_makes_the_batch_smaller(caplog: pytest.LogCaptureFixture) -> None:
    classifier = guarded(least=200, error="RESOURCE_EXHAUSTED: Out of memory allocating")
    with caplog.at_level(logging.WARNING, "wsi_pipeline"):
        probability, _ = classifier.predict_features(PATCHES)
    np.testing.assert_array_equal(probability, PATCHES[:, 0, 0, 0] / np.float32(255))
    assert classifier.device == "batches of 64"
    assert [record.getMessage().split(": going on with ")[1] for record in caplog.records] == [
        "batches of 256",
        "batches of 64",
    ]


def test_a_memory_that_is_too_small_for_any_batch_leads_to_the_cpu() -> None:
    classifier = guarded(least=0, error="CUDA_ERROR_OUT_OF_MEMORY")
    classifier.predict(PATCHES)
    assert classifier.device == "CPU"


def test_any_other_fault_leads_to_the_cpu_at_once(caplog: pytest.LogCaptureFixture) -> None:
    classifier = guarded(least=0, error="CUDA_ERROR_ILLEGAL_ADDRESS")
    with caplog.at_level(logging.WARNING, "wsi_pipeline"):
        classifier.predict(PATCHES)
    assert len(caplog.records) == 1
    assert classifier.device == "CPU"


def test_a_fault_of_the_cpu_is_raised() -> None:
    classifier = guarded(least=-1, error="broken")
    with pytest.raises(RuntimeError, match="broken"):
        classifier.predict(PATCHES)


def test_patches_that_do_not_fit_are_no_fault_of_the_device() -> None:
    classifier = guarded(least=2000, error="")
    with pytest.raises(ValueError, match="patches"):
        classifier.predict(PATCHES[:, :20])
    assert classifier.device == "batches of 1024"
