"""Log-odds and back."""

from __future__ import annotations

from typing import Final

import numpy as np

from wsi_pipeline.geometry import FloatArray

LIMIT: Final = 1e-7
"""Probabilities are kept this far from 0 and 1 where a logit is taken."""


def logit(probabilities: FloatArray) -> FloatArray:
    """Return the log-odds, float32, finite."""
    p = np.clip(probabilities.astype(np.float64), LIMIT, 1 - LIMIT)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return probabilities from log-odds, float32."""
    return (0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
