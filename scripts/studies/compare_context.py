#!/usr/bin/env python3
"""What each way of refining a map by its neighbors brings, on whole mounts of patches.

    python scripts/studies/compare_context.py PATCHES --teachers TEACHERS [--model DIR]

PATCHES: the IDC archive's layout; its patients that are complete are put together to maps.
TEACHERS: folder of `wsi-pipeline train PATCHES --folds K`. The maps of the training patients hold
what networks say that did not see them, those of the validation patients what the model says (one
view).

Every variant is fitted on the training maps alone. Settings named in brackets had the least
cross-entropy on training maps left out in turn (one at a time; networks: in so many parts). The
validation maps choose the threshold, all together and by the same rule for all variants. Networks
are trained with several seeds: mean ± standard deviation. An entry is AUC / balanced accuracy /
Dice. The table is printed, and written into compare_context.md beside this script.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from context_features import (
    NEIGHBORS,
    Fit,
    Maps,
    WholeMount,
    best_window,
    bundled,
    color,
    of_the_slide,
    orbit_means,
    ordered,
    random_fields,
    regression_on,
    rings,
    stacked,
    twice,
    unchanged,
    with_bundled,
)
from context_networks import filter_network, network, u_net
from numpy.typing import NDArray
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import find_model, load_classifier, logit, sigmoid
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.division import divide
from wsi_pipeline.learning.data.folds import OutOfFold
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.reports import metrics

MIN_PATCHES = 300
MIN_NEIGHBORS = 4.0
"""A patient is a whole mount where patches of both classes have so many of eight neighbors, on
average: of the others the archive's extract holds a few patches here and there."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of refining, with the settings to choose from."""

    settings: Mapping[str, Fit]
    parts: int = 0
    """Training maps are left out in so many parts to choose a setting, 0 = one at a time."""
    seeds: int = 1


def main() -> None:
    """Compare, print the table, and write it beside the script."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    start = time.perf_counter()
    training, validation = read_maps(options.patches, options.teachers, options.model)
    print(f"{len(training)} training maps, {len(validation)} validation maps", flush=True)
    lines = []
    for line in table(variants(options.seeds, options.parts), training, validation):
        lines.append(line)
        print(line, flush=True)
    card, minutes = find_model(options.model), (time.perf_counter() - start) / 60
    facts = (
        f"{card.name} (sha256 {card.sha256[:12]}), {len(training)} training maps, "
        f"{len(validation)} validation maps, {options.seeds} seeds, {minutes:.0f} minutes"
    )
    write_table(options.out, [measured_today(facts), "", *lines])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patches", type=Path)
    parser.add_argument("--teachers", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", default="idc-compact", metavar="NAME_OR_DIR")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--parts", type=int, default=3, metavar="N")
    parser.add_argument("-o", "--out", type=Path, default=beside(__file__), metavar="FILE.md")
    return parser.parse_args()


def read_maps(patches: Path, teachers: Path, model: str) -> tuple[Maps, Maps]:
    """Return the maps to learn from and those to judge by."""
    card = find_model(model)
    sides = divide(read_dataset(patches, card.patch_size_px), "auto", 0)
    predictions = OutOfFold.read(teachers)
    predictions.require_unseen(sides.validation.patients)
    logit_of = dict(zip(predictions.files, predictions.logits.tolist(), strict=True))
    training = whole_patients(sides.training)
    values = sigmoid(np.array([logit_of[name] for name in training.files], np.float32))
    judged = whole_patients(sides.validation)
    predicted = load_classifier(card, device="cpu").predict(judged.images)
    return whole_mounts(training, values), whole_mounts(judged, predicted)


def whole_patients(data: PatchDataset) -> PatchDataset:
    """Return the patches of the patients that stand as whole mounts."""
    whole = []
    for patient in np.unique(data.patients).tolist():
        mine = data.of_patients([patient])
        places = set(map(tuple, mine.positions.tolist()))
        side = mine.images.shape[1]
        counts = np.array(
            [sum((x + side * a, y + side * b) in places for a, b in NEIGHBORS)
             for x, y in mine.positions.tolist()]
        )  # fmt: skip
        by_class = [counts[mine.labels == label] for label in (0, 1)]
        if len(mine) >= MIN_PATCHES and min(c.mean() if len(c) else 0 for c in by_class) >= (
            MIN_NEIGHBORS
        ):
            whole.append(patient)
    return data.of_patients(whole)


def whole_mounts(data: PatchDataset, values: FloatArray) -> Maps:
    """Put the patches of each patient together."""
    maps = []
    for patient in np.unique(data.patients).tolist():
        mine = np.flatnonzero(data.patients == patient)
        cells = (data.positions[mine] - 1) // data.images.shape[1]
        cols, rows = (cells - cells.min(0)).T
        shape = (rows.max() + 1, cols.max() + 1)
        map_ = np.full(shape, np.nan, np.float32)
        truth, color = np.zeros(shape, np.uint8), np.full((*shape, 3), np.nan)
        map_[rows, cols], truth[rows, cols] = values[mine], 1 + data.labels[mine]
        color[rows, cols] = data.images[mine].mean((1, 2))
        maps.append(WholeMount(patient, map_, truth, color))
    return tuple(maps)


def variants(seeds: int, parts: int) -> dict[str, Variant]:
    """Return every variant by its name, in the order of the table."""

    def trained(body: Callable[[Any], Any], kind: str) -> Variant:
        settings = {
            f"{n} steps, jitter {jitter:g}": partial(network, body, kind, n, jitter)
            for n, jitter in ((100, 0.3), (300, 0.3), (300, 0.0))
        }
        return Variant(settings, parts, seeds)

    u_nets = trained(u_net, "rings")
    slide = {
        "share of hot cells": lambda own: np.log((1 + np.sum(own > 0)) / own.size),
        "95th percentile": lambda own: np.quantile(own, 0.95),
    }
    windows = {
        f"{n} x {n}": regression_on(stacked(rings, partial(best_window, n))) for n in (2, 3, 5)
    }
    return {
        "none": Variant({"": unchanged}),
        "mean of one ring": Variant({"": regression_on(lambda one: rings(one)[..., :2])}),
        "means of two rings": Variant({"": regression_on(lambda one: rings(one)[..., [0, 1, 3]])}),
        "means and maxima of two rings (bundled)": Variant({"": bundled}),
        "and its own result again": Variant({"": twice}),
        "and order of the neighbors, own x mean": Variant(
            {"": regression_on(stacked(rings, ordered))}
        ),
        "and best and worst window": Variant(windows),
        "and a number of the whole slide": Variant(
            {
                name: regression_on(stacked(rings, partial(of_the_slide, s)))
                for name, s in slide.items()
            }
        ),
        "and mean color": Variant({"": regression_on(stacked(rings, color))}),
        "symmetric filter": Variant(
            {
                f"{2 * n + 1} x {2 * n + 1}": regression_on(partial(orbit_means, n))
                for n in (2, 3, 4)
            }
        ),
        "random field": Variant(random_fields()),
        "bundled and random field": Variant(random_fields(rings)),
        "network of two layers on logits": trained(filter_network, "logits"),
        "network of two layers on the bundled form": trained(filter_network, "rings"),
        "U-Net on logits": trained(u_net, "logits"),
        "U-Net on the bundled form": u_nets,
        "mean of bundled form and U-Net on it": Variant(
            {name: partial(with_bundled, fit) for name, fit in u_nets.settings.items()},
            parts,
            seeds,
        ),
    }


def table(what: dict[str, Variant], training: Maps, validation: Maps) -> Iterator[str]:
    """Yield the lines of the table as they are measured."""
    least = min(validation, key=lambda one: (one.truth == 2).sum() / (one.truth > 0).sum())
    index = list(validation).index(least)
    yield (f"| refinement | training slides, left out | validation slides, pooled "
           f"| mean over slides | {least.slide_id}, least IDC |")  # fmt: skip
    yield "|---|---|---|---|---|"
    for name, variant in what.items():
        setting, fit, left = chosen(variant, training)
        runs = []
        for seed in range(variant.seeds):
            refine = fit(training, seed)
            runs.append(scores(validation, [refine(one) for one in validation]))
        entries = [scores(training, left)[0], *np.moveaxis(np.array(runs), 0, 1)[[0, 1, 2 + index]]]
        title = f"{name} ({setting})" if setting else name
        yield f"| {title} | {' | '.join(entry(np.atleast_2d(e)) for e in entries)} |"
    refine = bundled(training, 0)
    own = np.mean([scores((one,), [refine(one)])[0] for one in validation], axis=0)
    title = "bundled, each slide at its own best threshold, by its labels"
    yield f"| {title} | | | {entry(own[None])} | |"


def chosen(variant: Variant, training: Maps) -> tuple[str, Fit, list[FloatArray]]:
    """Return the setting with the least cross-entropy on maps left out, and these maps."""
    tried = []
    for name, fit in variant.settings.items():
        left = left_out(fit, training, variant.parts or len(training))
        tried.append((cross_entropy(training, left), name, fit, left))
    return min(tried, key=lambda one: one[0])[1:]


def left_out(fit: Fit, maps: Maps, parts: int) -> list[FloatArray]:
    """Return each map refined by what was learned from those of the other parts."""
    refined: dict[int, FloatArray] = {}
    for part in range(parts):
        refine = fit(tuple(one for i, one in enumerate(maps) if i % parts != part), 0)
        refined |= {i: refine(one) for i, one in enumerate(maps) if i % parts == part}
    return [refined[i] for i in range(len(maps))]


def cross_entropy(maps: Maps, refined: Sequence[FloatArray]) -> float:
    """Return the mean over slides of the mean over labelled cells."""
    losses = []
    for one, values in zip(maps, refined, strict=True):
        signs = np.where(one.truth == 2, 1, -1)[one.truth > 0]
        losses.append(np.mean(np.logaddexp(0, -signs * logit(values[one.truth > 0]))))
    return float(np.mean(losses))


def scores(maps: Maps, refined: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Return AUC, balanced accuracy and Dice: pooled, mean over slides, then slide by slide."""
    labels = [one.truth[one.truth > 0] == 2 for one in maps]
    values = [map_[one.truth > 0] for one, map_ in zip(maps, refined, strict=True)]
    pooled = np.concatenate(labels), np.concatenate(values)
    threshold = metrics.best_threshold(*pooled)

    def three(y: NDArray[np.bool_], p: FloatArray) -> list[float]:
        found = metrics.all_scores(y, p, threshold)
        return [found["auc"], found["balanced_accuracy"], found["f1"]]

    slides = np.array([three(y, p) for y, p in zip(labels, values, strict=True)])
    return np.vstack([three(*pooled), slides.mean(0), slides])


def entry(runs: NDArray[np.float64]) -> str:
    """Return the three scores of all seeds."""
    means = [f"{mean:.3f}" for mean in runs.mean(0)]
    if len(runs) == 1:
        return " / ".join(means)
    spread = runs.std(0, ddof=1)
    return " / ".join(f"{mean} ± {sd:.3f}" for mean, sd in zip(means, spread, strict=True))


if __name__ == "__main__":
    main()
