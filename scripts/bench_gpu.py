#!/usr/bin/env python3
"""Measure what a GPU is worth: inference, slides, first slides, training; each beside its floor.

Needs no data and takes under three minutes: patches are noise, the slide is drawn. Run it in the
environment whose backend is meant (`KERAS_BACKEND`: tensorflow or jax). `--device cpu --quick` goes
the same ways without a GPU; its figures say nothing about one.

    python scripts/bench_gpu.py [--parts slides arrays training]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from wsi_pipeline import make_demo_slide
from wsi_pipeline.classifier import ModelCard, available_cores, find_model
from wsi_pipeline.classifier.engines.device import gpu_name
from wsi_pipeline.classifier.engines.keras import KerasClassifier
from wsi_pipeline.geometry import RgbArray, Size
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.training import trainer
from wsi_pipeline.learning.training.batches import PatchBatches
from wsi_pipeline.learning.training.options import TrainingOptions

QUICK_NETWORK: Final = "compact-residual"
LEAST_SECONDS: Final = 1.0
Row = tuple[str, str, str, str]
"""What, measured, floor, measured over floor."""


def main() -> None:
    """Run the parts and print the table."""
    options = _parse()
    name = None if options.device == "cpu" else gpu_name()
    if options.device == "gpu" and name is None:
        sys.exit("no GPU is seen by this backend: --device cpu goes the same ways without one")
    print(f"{name or 'CPU'}, Keras {keras.__version__} on {keras.backend.backend()}", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            for row in PARTS[part](options, name, Path(folder)):
                rows.append(row)
                print("  ".join(word for word in row if word), flush=True)
    print("\n| | measured | floor, same run | |\n|---|---:|---:|---:|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


def bench_slides(options: argparse.Namespace, name: str | None, folder: Path) -> Iterator[Row]:
    """Time the command: one slide with an empty cache and with a full one, then many."""
    slide = folder / "slide.tif"
    make_demo_slide(slide, size_l0=Size(1500, 1200) if options.quick else Size(6000, 4600))
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    for words in ("cold", "compiled code in the cache")[: 1 if options.quick else 2]:
        shutil.rmtree(folder / "one", ignore_errors=True)
        seconds = _run([slide], folder / "one", options, name, environment)
        yield f"first slide, {words}", f"{seconds:.1f} s", "", ""
    many = folder / "many"
    many.mkdir()
    n_slides = 3 if options.quick else 16
    for number in range(n_slides):  # a TIFF may end in anything: other contents, other slides
        copy = many / f"{number:02d}.tif"
        shutil.copy(slide, copy)
        with copy.open("ab") as file:
            file.write(bytes([number]))
    seconds = _run([many], folder / "out", options, name, environment)
    record = json.loads((folder / "out/run.json").read_text())
    n_patches = sum(
        json.loads(path.read_text())["patches"] for path in (folder / "out").rglob("status.json")
    )
    share = record.get("metrics", record).get("gpu_busy_share")
    busy = "not known" if share is None else f"{share:.0%}"
    yield f"{n_slides} slides with everything", f"{seconds:.1f} s", "", ""
    yield "of that: patches/s, start-up included", f"{n_patches / seconds:,.0f}", "", ""
    yield "GPU busy over these slides", busy, "", ""


def bench_arrays(options: argparse.Namespace, name: str | None, _folder: Path) -> Iterator[Row]:
    """Classify patches from the host's memory, beside the network on what is on the device."""
    card = find_model("idc-compact")
    for batch in (32,) if options.quick else (256, 1024, 4096):
        engine = KerasClassifier(
            card, batch_size=batch, device=name or "CPU", mixed_precision=name is not None
        )
        patches = _noise(card, batch * (4 if options.quick else max(8, 65_536 // batch)))
        engine.predict(patches[:batch])  # compiles
        seconds = _seconds(lambda: engine.predict(patches))  # noqa: B023 - called at once
        resident = keras.ops.convert_to_tensor(patches[:batch])
        n_calls = len(patches) // batch

        def bare() -> None:
            outputs = [engine.network(resident) for _ in range(n_calls)]  # noqa: B023
            keras.ops.convert_to_numpy(outputs[-1][0])

        yield _rates(f"patches/s from the host, batches of {batch}", len(patches), seconds, bare)


def bench_training(options: argparse.Namespace, name: str | None, _folder: Path) -> Iterator[Row]:
    """Train as the bundled model was, one epoch, beside steps of its network on one batch."""
    card = find_model("idc-compact")
    known = {k: v for k, v in card.record["training"].items() if k in TrainingOptions.__slots__}
    precision = "float32" if name is None else "mixed_bfloat16"
    given = TrainingOptions(**{**known, "epochs": 2, "start": "", "blend": "", "distill": ""})
    given = replace(given, precision=precision, teacher="", head_epochs=0, weights="")
    given = replace(given, batch_size=8 if options.quick else 256, color_exchange=0.0)
    n_patches = 16 if options.quick else 20_480
    if options.quick:  # the steps take a second, but compiling the recipe's takes minutes on a CPU
        given = replace(given, jpeg=False, stain=False, focus=False, ink=0, glass=0, scale=0)
        given = replace(given, architecture=QUICK_NETWORK)
    data = _dataset(card, n_patches)
    model = trainer.new_trainer(card.patch_size_px, given, n_patches // given.batch_size)
    batches = PatchBatches(data, given, 0)
    model.fit(batches, epochs=1, shuffle=False, verbose=0)  # compiles
    seconds = _seconds(lambda: model.fit(batches, epochs=1, shuffle=False, verbose=0))
    network = model.get_layer(given.architecture)
    trainer.compile_for_training(network, given, 1e-4, len(batches), 2)
    x, y, _ = (keras.ops.convert_to_tensor(part) for part in batches[0])
    network.train_on_batch(x, y)

    def bare() -> None:
        for _ in range(len(batches)):
            network.train_on_batch(x, y)

    what = "flips and turns alone" if options.quick else "augmentation and all"
    words = f"training patches/s, {given.architecture}, {what}"
    yield _rates(words, len(batches) * len(x), seconds, bare)


PARTS: Final[dict[str, Callable[[argparse.Namespace, str | None, Path], Iterator[Row]]]] = {
    "slides": bench_slides,
    "arrays": bench_arrays,
    "training": bench_training,
}


def _run(
    slides: list[Path],
    out: Path,
    options: argparse.Namespace,
    name: str | None,
    environment: dict[str, str],
) -> float:
    config = out.with_suffix(".yaml")
    config.write_text(json.dumps({"inference": {"device": "gpu" if name else "cpu"}}))
    command = [sys.executable, "-m", "wsi_pipeline", "run", *map(str, slides), "-o", str(out)]
    command += ["-c", str(config), "-j", str(2 if options.quick else available_cores())]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def _noise(card: ModelCard, n: int) -> RgbArray:
    side = card.patch_size_px
    return np.random.default_rng(0).integers(60, 250, (n, side, side, 3), dtype=np.uint8)


def _dataset(card: ModelCard, n: int) -> PatchDataset:
    images = _noise(card, n)
    labels = (np.arange(n) % 4 == 0).astype(np.int8)
    patients = np.array([f"p{k % 16}" for k in range(n)])
    files = tuple(f"{k}.png" for k in range(n))
    return PatchDataset(images, labels, patients, files, np.full((n, 2), -1, np.int32))


def _rates(words: str, n_patches: int, seconds: float, bare: Callable[[], Any]) -> Row:
    floor = _seconds(bare)
    measured, best = n_patches / seconds, n_patches / floor
    return words, f"{measured:,.0f}", f"{best:,.0f}", f"{measured / best:.2f}"


def _seconds(function: Callable[[], Any]) -> float:
    """Return what a call takes, the mean of as many as fill `LEAST_SECONDS`."""
    start, n_calls = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < LEAST_SECONDS:
        function()
        n_calls += 1
    return seconds / n_calls


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--quick", action="store_true", help="little of everything, for tests")
    return parser.parse_args()


if __name__ == "__main__":
    main()
