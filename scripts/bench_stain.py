"""Measure stain normalization: the look-up table against the plain numpy formula, on one core.

    python scripts/bench_stain.py [PICTURE]

PICTURE: any RGB picture of tissue, repeated to 2048 x 2048; a synthetic mixture of stains if none
is given. The plain formula is the one that fills the table, float64, with rounding to levels.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain import METHODS, StainNormalizer, StainReference, fit_normalizer

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SIDE_PX = 2048
MIN_RATIO = 20.0
MAX_DIFFERENCE = 1.0  # levels of 255
ROUNDS = 5


def main() -> int:
    """Print one line a method; exit 1 where one is too slow or too far off."""
    picture = read_picture(Path(sys.argv[1])) if len(sys.argv) > 1 else synthetic(1.2, 0.8)
    reference = StainReference.fit(synthetic(1.0, 1.0)[::8], source="synthetic")
    results = [
        measure(fit_normalizer(picture[::8], method, reference), picture)
        for method in METHODS
        if method != "none"
    ]
    for result in results:
        print(json.dumps(result))
    good = all(
        result["ratio"] >= MIN_RATIO and result["mean_difference_levels"] < MAX_DIFFERENCE
        for result in results
    )
    return 0 if good else 1


def measure(normalizer: StainNormalizer, picture: RgbArray) -> dict[str, Any]:
    """Return times and differences of one normalizer."""
    start = time.perf_counter()
    normalizer.transform(picture[:1])
    table_seconds = time.perf_counter() - start

    def plain() -> RgbArray:
        return np.clip(np.rint(normalizer.evaluate(picture)), 0, 255).astype(np.uint8)

    plain_seconds, expected = best_of(plain, 2)
    fast_seconds, found = best_of(lambda: normalizer.transform(picture), ROUNDS)
    difference = np.abs(found.astype(np.int16) - expected)
    return {
        "method": normalizer.method,
        "plain_ms": round(1e3 * plain_seconds, 1),
        "fast_ms": round(1e3 * fast_seconds, 1),
        "ratio": round(plain_seconds / fast_seconds, 1),
        "table_ms_once_a_slide": round(1e3 * table_seconds, 1),
        "mean_difference_levels": round(float(difference.mean()), 3),
        "largest_difference_levels": int(difference.max()),
    }


def best_of(work: Callable[[], RgbArray], rounds: int) -> tuple[float, RgbArray]:
    """Return the shortest time of some rounds, and the result."""
    times = []
    result = work()
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def synthetic(hematoxylin: float, eosin: float) -> RgbArray:
    """Return a picture of stains mixed in all amounts, a third of it blank."""
    rng = np.random.default_rng(0)
    vectors = np.array([[0.55, 0.73, 0.41], [0.13, 0.84, 0.52]])
    amounts = rng.random((SIDE_PX, SIDE_PX, 2)) * (1.6 * hematoxylin, 1.2 * eosin)
    amounts[rng.random((SIDE_PX, SIDE_PX)) < 1 / 3] = 0
    light = 250 * np.exp(-amounts @ vectors)
    noisy = light + rng.normal(0, 2, light.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def read_picture(path: Path) -> RgbArray:
    """Return a picture file as 2048 x 2048 px, repeated where it is smaller."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    down, right = (-(-SIDE_PX // side) for side in rgb.shape[:2])
    return np.ascontiguousarray(np.tile(rgb, (down, right, 1))[:SIDE_PX, :SIDE_PX])


if __name__ == "__main__":
    if not ONE_THREAD.items() <= os.environ.items():  # numpy's libraries read it when they load
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    sys.exit(main())
