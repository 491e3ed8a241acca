#!/usr/bin/env python3
"""How the bundled model fares outside its own archive: other laboratories, organs, ink, pieces.

    python scripts/studies/outside.py OUTSIDE SLIDES PATCHES [--model DIR] [--left-out MODEL]

OUTSIDE: frozen sections and slides of other organs with `measure.py` beside them, run as `run`
does by default. SLIDES: whole mounts with truth. PATCHES: the IDC archive's layout. Of the last two
the validation patients are used. LEFT-OUT: a model of the same recipe that was trained without some
of the slides of other organs; those alone are judged by it. The tables are printed, and written
into outside.md. Nothing here trains or chooses anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from conditions import Condition
from numpy.typing import NDArray
from study_table import beside, measured_today, write_table
from tints import TINTS

from wsi_pipeline.classifier import (
    ModelCard,
    find_model,
    load_classifier,
    predict_views,
)
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.truth import find_truths
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.changed_copies import blurred
from wsi_pipeline.learning.training.context import classify_truth
from wsi_pipeline.learning.training.small_pieces import judge_cores
from wsi_pipeline.tissue import WhiteBalance
from wsi_pipeline.tissue.glass import Glass

FROZEN_UM_PX = 2.0647
INKS = {
    "black": (20, 20, 25),
    "blue": (25, 45, 140),
    "green": (20, 100, 60),
    "red": (170, 25, 40),
    "violet": (95, 35, 130),
}
WIDTHS_UM = (8, 16, 24, 40)
MIN_PATCHES = 20
"""Of a patient that counts as a slide."""
DAB = np.array([[0.650, 0.704, 0.286], [0.268, 0.570, 0.776], [0.0, 0.0, 0.0]])


def main() -> None:
    """Measure, print the tables, and write them beside the script."""
    arguments = parse()
    card = find_model(arguments.model)
    lines = []
    for line in study(arguments, card):
        lines.append(line)
        print(line, flush=True)
    facts = f"{card.name} (sha256 {card.sha256[:12]})"
    write_table(arguments.out, [measured_today(facts), "", *lines])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("outside", "slides", "patches"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--model", default="idc-compact", metavar="NAME_OR_DIR")
    parser.add_argument("--left-out", metavar="MODEL")
    parser.add_argument("-o", "--out", type=Path, default=beside(__file__), metavar="FILE.md")
    return parser.parse_args()


def study(arguments: argparse.Namespace, card: ModelCard) -> Iterator[str]:
    """Yield the lines of all tables."""
    split = card.record["split"]
    validation = read_dataset(arguments.patches, card.patch_size_px).of_patients(
        split["validation"]
    )
    yield from patch_table(card, validation)
    yield from slide_table(card, arguments.slides)
    yield from familiarity_table(card, validation)
    yield from outside_tables(arguments.outside, arguments.model, trained_on(card))
    if arguments.left_out:
        left_out = find_model(arguments.left_out)
        yield "By a model that was trained without them:"
        yield ""
        yield from outside_tables(arguments.outside, arguments.left_out, trained_on(left_out), True)


def patch_table(card: ModelCard, data: PatchDataset) -> Iterator[str]:
    """Yield what light, blur and pen lines do to validation patches, after white balance."""
    classifier = load_classifier(card, device="cpu")
    yield f"{len(data)} patches of {len(np.unique(data.patients))} validation patients:"
    yield ""
    yield "| patches | AUC | IDC called | others called |"
    yield "|---|---|---|---|"
    changes: dict[str, Condition] = {**TINTS, "blur 1 px": partial(blurred, 1.0)}
    for name, change in changes.items():
        images = balanced(change(data.images), change, card)
        yield patch_row(name, data.labels, classifier.predict(images), card.threshold)
    views, _ = predict_views(classifier, data.images)
    yield patch_row("as scanned, eight views", data.labels, views, card.threshold)
    idc = data.subset(data.labels == 1)
    before = classifier.predict(idc.images) >= card.threshold
    yield ""
    yield f"Lines of a pen across {len(idc)} IDC patches (without: {before.mean():.3f} called):"
    yield ""
    yield "| line | " + " | ".join(f"{width} µm" for width in WIDTHS_UM) + " |"
    yield "|---|" + "---|" * len(WIDTHS_UM)
    for name, color in INKS.items():
        shares = [
            (classifier.predict(inked(idc.images, color, width)) >= card.threshold).mean()
            for width in (um / card.spacing_um_px for um in WIDTHS_UM)
        ]
        yield f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |"
    yield ""


def patch_row(name: str, labels: NDArray[np.int8], p: NDArray[np.float32], threshold: float) -> str:
    """Return a row of the table of patches."""
    called = p >= threshold
    shares = [called[labels == label].mean() for label in (1, 0)]
    return f"| {name} | {metrics.auc(labels, p):.4f} | {shares[0]:.3f} | {shares[1]:.3f} |"


def balanced(images: RgbArray, change: Condition, card: ModelCard) -> RgbArray:
    """Return changed patches as `run` would give them to the network, by the changed glass."""
    if card.glass_rgb is None:
        return images
    glass = change(np.full((1, 8, 8, 3), card.glass_rgb, np.uint8))[0, 4, 4]
    seen = Glass((int(glass[0]), int(glass[1]), int(glass[2])), 0.5)
    return WhiteBalance.to_reference(seen, card.glass_rgb).apply(images)


def inked(images: RgbArray, color: tuple[int, int, int], width_px: float) -> RgbArray:
    """Return the patches with an opaque line through the middle region, at an angle of its own."""
    rng = np.random.default_rng(0)
    n, side = len(images), images.shape[1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = rng.uniform(0, np.pi, n)[:, None, None]
    shift = rng.uniform(-side / 4, side / 4, n)[:, None, None]
    away = np.abs(y * np.cos(angle) - x * np.sin(angle) - shift)
    covered = np.clip((width_px - 1) / 2 - away + 1, 0, 1)[..., None]
    return np.round(images + covered * (np.array(color) - images)).astype(np.uint8)


def slide_table(card: ModelCard, folder: Path) -> Iterator[str]:
    """Yield the scores of the whole validation slides and of cores cut from them."""
    wanted = set(card.record["split"]["validation"])
    truths = [truth for truth in find_truths(folder) if truth.slide_id in wanted]
    if card.context is None or not truths:
        return
    threshold, rows, pooled = card.context.threshold, [], []
    for truth in truths:
        item = classify_truth(card, truth)
        refined = np.nan_to_num(card.context.refine(item.values, 1, item.tissue))
        use = item.truth > 0
        pooled.append((item.truth[use] == 2, refined[use]))
        rows.append((truth.slide_id, metrics.all_scores(*pooled[-1], threshold)))
    labels, values = (np.concatenate(part) for part in zip(*pooled, strict=True))
    rows.append(("pooled", metrics.all_scores(labels, values, threshold)))
    yield "| validation slide | AUC | balanced accuracy | Dice |"
    yield "|---|---|---|---|"
    for name, scores in rows:
        entries = (f"{scores[key]:.3f}" for key in ("auc", "balanced_accuracy", "f1"))
        yield f"| {name} | {' | '.join(entries)} |"
    yield ""
    yield "| cores cut off the grid | called |"
    yield "|---|---|"
    for name, found in judge_cores(card, card.context, truths).items():
        kind, size, _ = name.split("_")
        words = "IDC alone" if kind == "idc" else "no IDC"
        yield f"| {size} mm, {words} | {found['called']} of {found['cores']} |"
    yield ""


def familiarity_table(card: ModelCard, data: PatchDataset) -> Iterator[str]:
    """Yield how many validation patients are called unfamiliar, as they are and changed."""
    if card.familiarity is None:
        return
    classifier = load_classifier(card, device="cpu")
    some = data.sample(100, np.random.default_rng(0))
    yield "| validation patients | unfamiliar |"
    yield "|---|---|"
    changes: Mapping[str, Condition] = {
        **TINTS,
        "blur 1.5 px": partial(blurred, 1.5),
        "eosin as DAB": as_dab,
        "gray": lambda rgb: rgb.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8),
    }
    for name, change in changes.items():
        images = (
            balanced(change(some.images), change, card) if name in TINTS else change(some.images)
        )
        _, features = classifier.predict_features(images)
        assert features is not None
        found = [
            card.familiarity.judge(features[some.patients == patient])
            for patient in np.unique(some.patients)
            if (some.patients == patient).sum() >= MIN_PATCHES
        ]
        far = sum(1 for one in found if one is not None and not one.familiar)
        yield f"| {name} | {far} of {len(found)} |"
    yield ""


def as_dab(rgb: RgbArray) -> RgbArray:
    """Return H&E with its eosin replaced by the brown of immunohistochemistry."""
    eosin = np.array([0.072, 0.990, 0.105])
    vectors = np.vstack([DAB[0], eosin, np.cross(DAB[0], eosin)])
    amounts = -np.log((rgb + 1.0) / 256) @ np.linalg.inv(vectors)
    return np.clip(256 * np.exp(-amounts @ DAB) - 1, 0, 255).astype(np.uint8)


def trained_on(card: ModelCard) -> set[str]:
    """Return the slides of other tissue that the model was trained on."""
    return set((card.record["training_data"].get("other_tissue") or {}).get("slides", ()))


def outside_tables(
    folder: Path, model: str, trained: set[str], left_out_only: bool = False
) -> Iterator[str]:
    """Yield what the default run says of other laboratories and organs."""
    with TemporaryDirectory() as scratch:
        out, organs = Path(scratch, "out"), sorted((folder / "other_tissue").glob("*.tif"))
        if left_out_only:
            organs = [path for path in organs if path.stem not in trained]
        else:
            frozen = sorted((folder / "frozen").glob("*.jpg"))
            run([*frozen, "--mpp", str(FROZEN_UM_PX)], out, model)
        run(organs, out, model)
        found = measured(folder, out)
        known = {path.stem: status(out, path.stem) for path in organs}
        if not left_out_only:
            yield from frozen_rows(found, out)
        yield "| slide of other tissue | trained on | share of tissue called | familiar (score) |"
        yield "|---|---|---|---|"
        shares = found["other_tissue"]["called"]
        for name, share in shares.items():
            yield (
                f"| {name} | {'yes' if name in trained else 'no'} | {share:.3f} | "
                f"{words(known[name])} |"
            )
        yield f"| median of {len(shares)} | | {np.median(list(shares.values())):.3f} | |"
        yield ""


def run(inputs: list[Any], out: Path, model: str) -> None:
    """Run the pipeline as a user would."""
    command = [sys.executable, "-m", "wsi_pipeline", "run", *map(str, inputs), "-o", str(out)]
    subprocess.run([*command, "--model", model], check=True, capture_output=True)


def measured(folder: Path, out: Path) -> dict[str, Any]:
    """Return what the judge of the folder says."""
    command = [sys.executable, str(folder / "measure.py"), str(out), "--folder", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def status(out: Path, name: str) -> dict[str, Any]:
    """Return a slide's record."""
    found: dict[str, Any] = json.loads((out / "slides" / name / "status.json").read_text())
    return found


def words(record: dict[str, Any]) -> str:
    """Return whether a slide is familiar, with its score."""
    known = record.get("familiarity")
    if not known:
        return "unknown"
    return f"{'yes' if known['familiar'] else 'no'} ({known['score']:.2f})"


def frozen_rows(found: dict[str, Any], out: Path) -> Iterator[str]:
    """Yield the table of the frozen sections."""
    yield "| frozen section | spots | AUC | sensitivity | specificity | familiar (score) |"
    yield "|---|---|---|---|---|---|"
    for name, scores in found.items():
        if name == "other_tissue":
            continue
        entries = (f"{scores[key]:.3f}" for key in ("auc", "sensitivity", "specificity"))
        seen = "" if name == "all" else words(status(out, name))
        yield f"| {name} | {scores['spots']} | {' | '.join(entries)} | {seen} |"
    yield ""


if __name__ == "__main__":
    main()
