#!/usr/bin/env python3
"""What changed stain, light, focus and files do to a model, under each stain normalization.

    python scripts/studies/measure_robustness.py PATCHES [--slides SLIDES] [--model DIR]

PATCHES: a folder PATIENT/0|1/*.png; the model's validation patients are taken, the same number of
patches each. SLIDES: slides with their truth beside them, gone through by the pipeline itself as
they are and re-saved as a scanner would. Rows are conditions, columns methods, an entry is AUC /
balanced accuracy at the model's threshold, labelled cells of all patients pooled. The tables are
printed, and written into measure_robustness.md beside this script.

Every method is fitted once a patient, on the pixels of the changed patches, as on a slide.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
from conditions import CONDITIONS, Condition
from numpy.typing import NDArray
from PIL import Image
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import ModelCard, PatchClassifier, find_model, load_classifier
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.splits import published_cases
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.slide_evaluation import compare_slides, pooled_predictions
from wsi_pipeline.pipeline.stain import stain_reference
from wsi_pipeline.slides import open_slide
from wsi_pipeline.stain import METHODS, StainReference, fit_with_fallback
from wsi_pipeline.tissue import estimate_glass

PER_PATIENT = 60
FIT_PIXELS = 40_000
"""Pooled pixels of a patient that the methods are fitted on."""
TILE_PX = 256


def main() -> None:
    """Measure, print the tables, and write them beside the script."""
    arguments = parse()
    start = time.perf_counter()
    card = find_model(arguments.model)
    classifier, reference = load_classifier(card, device="cpu"), stain_reference(card)
    data = of_validation(read_dataset(arguments.patches, card.patch_size_px), card)
    data = data.sample(arguments.per_patient, np.random.default_rng(0))
    facts = (
        f"{card.name} (sha256 {card.sha256[:12]}), {len(data)} patches of "
        f"{len(set(data.patients.tolist()))} patients, {data.labels.mean():.1%} IDC, threshold "
        f"{card.threshold:g}"
    )
    print(f"{facts}\n", flush=True)
    lines = table("patches", patch_rows(data, classifier, reference))
    if arguments.slides:
        lines += ["", *table("slides", slide_rows(find_truths(arguments.slides), arguments.model))]
    minutes = (time.perf_counter() - start) / 60
    write_table(arguments.out, [measured_today(f"{facts}, {minutes:.0f} minutes"), "", *lines])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patches", type=Path)
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--model", default="idc-compact", metavar="NAME_OR_DIR")
    parser.add_argument("--per-patient", type=int, default=PER_PATIENT, metavar="N")
    parser.add_argument("-o", "--out", type=Path, default=beside(__file__), metavar="FILE.md")
    return parser.parse_args()


def of_validation(data: PatchDataset, card: ModelCard) -> PatchDataset:
    """Return the patients that the card names as its validation set, else the published ones."""
    named = (card.record.get("split") or {}).get("validation") or published_cases("val")
    return data.of_patients(sorted(map(str, named)))


def table(what: str, rows: Iterator[tuple[str, dict[str, str]]]) -> list[str]:
    """Print a Markdown table row by row as it is measured; return its lines."""
    lines = [f"| {what} | {' | '.join(METHODS)} |", "|---" * (len(METHODS) + 1) + "|"]
    print("\n".join(lines), flush=True)
    for condition, cells in rows:
        lines.append(f"| {condition} | {' | '.join(cells[method] for method in METHODS)} |")
        print(lines[-1], flush=True)
    print()
    return lines


def entry(labels: NDArray[np.int8], probabilities: NDArray[np.float32], threshold: float) -> str:
    """Return AUC / balanced accuracy."""
    called = metrics.call_scores(labels, probabilities, threshold)
    return f"{metrics.auc(labels, probabilities):.3f} / {called['balanced_accuracy']:.3f}"


def patch_rows(
    data: PatchDataset, classifier: PatchClassifier, reference: StainReference
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each condition with the entries of all methods."""
    order = np.argsort(data.patients, kind="stable")
    labels, images = data.labels[order], data.images[order]
    starts = np.unique(data.patients[order], return_index=True)[1][1:]
    patients = np.split(images, starts)
    for name, change in CONDITIONS.items():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            changed = list(pool.map(partial(all_methods, change, reference), patients))
        predicted = {
            method: classifier.predict(np.concatenate([one[method] for one, _ in changed]))
            for method in METHODS
        }
        cells = {m: entry(labels, p, classifier.card.threshold) for m, p in predicted.items()}
        yield name, {m: cells[m] + fallen(m, [used for _, used in changed]) for m in METHODS}


def all_methods(
    change: Condition, reference: StainReference, patches: RgbArray
) -> tuple[dict[str, RgbArray], dict[str, str]]:
    """Return a patient's changed patches after each method, and the method that it came to."""
    changed = change(patches)
    pixels = changed.reshape(-1, 3)
    glass = estimate_glass(pixels[None])
    some = pixels[:: len(pixels) // FIT_PIXELS + 1]
    fits = {m: fit_with_fallback(some, m, reference, glass_rgb=glass)[0] for m in METHODS}
    return (
        {method: normalizer.transform(changed) for method, normalizer in fits.items()},
        {method: normalizer.method for method, normalizer in fits.items()},
    )


def fallen(method: str, used: list[Mapping[str, str]]) -> str:
    """Return how many patients another method was used for, "" for none."""
    n = sum(one[method] != method for one in used)
    return f" ({n} fell back)" if n else ""


def slide_rows(truths: list[SlideTruth], model: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the slides as they are, and re-saved at finer µm/px as a scanner stores them."""
    with TemporaryDirectory() as folder:
        yield "as stored", slide_cells(truths, model, Path(folder) / "stored")
        for zoom in (1, 2, 4):
            place = Path(folder) / str(zoom)
            place.mkdir()
            saved = [replace(t, slide_path=resaved(t.slide_path, zoom, place)) for t in truths]
            name = f"read from {8 / zoom:g} µm/px, JPEG 80 4:2:0"
            yield name, slide_cells(saved, model, place)
            for truth in saved:
                truth.slide_path.unlink()


def slide_cells(truths: list[SlideTruth], model: str, work: Path) -> dict[str, str]:
    """Return the pipeline's entry under each method."""
    card, cells = find_model(model), {}
    for method in METHODS:
        config = load_config(None, {"model": model, "outputs": "map", "stain": {"method": method}})
        comparisons = list(compare_slides(truths, card, config, work / method))
        pooled = pooled_predictions(comparisons)
        cells[method] = entry(pooled.labels, pooled.probabilities, comparisons[0].threshold)
    return cells


def resaved(path: Path, zoom: int, folder: Path) -> Path:
    """Write the slide enlarged, as tiled JPEG with averaged chroma; return the file."""
    with open_slide(path) as slide:
        size, mpp = slide.pyramid.size_l0, slide.info.mpp
        rgb = slide.thumbnail(max(size.width, size.height))
    assert mpp is not None, f"{path} states no µm/px"
    large = Image.fromarray(rgb).resize(
        (size.width * zoom, size.height * zoom), Image.Resampling.BICUBIC
    )
    target = folder / f"{path.stem}.tif"
    tifffile.imwrite(
        target,
        np.asarray(large),
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 80},
        subsampling=(2, 2),
        resolution=(1e4 * zoom / mpp.x, 1e4 * zoom / mpp.y),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    return target


if __name__ == "__main__":
    main()
