"""`wsi-pipeline doctor`: what this machine has and what is missing."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import wsi_pipeline
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.errors import WsiPipelineError

MIN_FREE_GB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    good: bool
    what: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="do not load TensorFlow")


def execute(options: argparse.Namespace) -> int:
    """Print what was found; exit with 1 where something needed is missing."""
    missing = 0
    for check in CHECKS if not options.quick else CHECKS[:-1]:
        for finding in _careful(check):
            print(f"[{'ok' if finding.good else 'MISSING'}] {finding.what}")
            if not finding.good:
                missing += 1
                print(f"          {finding.advice}")
    print("all well" if not missing else f"{missing} things to mend")
    return EXIT_SOME_FAILED if missing else EXIT_DONE


def _system() -> Iterator[Finding]:
    yield Finding(True, f"wsi_pipeline {wsi_pipeline.__version__}, Python {sys.version.split()[0]}")
    yield Finding(True, platform.platform())
    from wsi_pipeline.classifier import available_cores

    yield Finding(True, f"{available_cores()} CPU cores, {_memory_gb():.1f} GB memory")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding(
        free >= MIN_FREE_GB, f"{free:.0f} GB free in {Path.cwd()}", "Free space before a large run"
    )


def _letters() -> Iterator[Finding]:
    from wsi_pipeline.render.fonts import has_font_for

    scripts = {"Chinese": "切片", "Japanese": "スライド", "Korean": "표본"}
    without = [script for script, letters in scripts.items() if not has_font_for(letters)]
    words = ", ".join(without)
    yield Finding(
        True,
        f"no font for names in {words}: pictures spell them in Latin letters (a font package of "
        "the system, such as Noto Sans CJK, mends that)"
        if without
        else "fonts for names in Chinese, Japanese and Korean",
    )


def _openslide() -> Iterator[Finding]:
    openslide = importlib.import_module("openslide")
    yield Finding(True, f"OpenSlide {openslide.__library_version__}")


def _codecs() -> Iterator[Finding]:
    imagecodecs = importlib.import_module("imagecodecs")
    for name in ("JPEG8", "JPEG2K", "DEFLATE"):
        codec = getattr(imagecodecs, name, None)
        yield Finding(
            bool(codec is not None and codec.available),
            f"codec {name}",
            "Reinstall imagecodecs: wheels of PyPI hold every codec",
        )


def _model() -> Iterator[Finding]:
    import numpy as np

    from wsi_pipeline.classifier import DEFAULT_MODEL, find_model, load_classifier

    card = find_model(DEFAULT_MODEL)
    classifier = load_classifier(card)
    side = card.patch_size_px
    value = float(classifier.predict(np.full((1, side, side, 3), 240, np.uint8))[0])
    yield Finding(
        0 <= value < card.threshold,
        f"model {card.name} runs on {classifier.device}: empty glass gives {value:.3f}",
        "The model does not answer as it should: reinstall the package",
    )


def _writing() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_bytes(b"x")
    yield Finding(True, f"temporary folder {tempfile.gettempdir()} can be written")


def _frameworks() -> Iterator[Finding]:
    from wsi_pipeline.classifier.engines.device import gpu_name, has_nvidia_device

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = importlib.import_module("keras")
    yield Finding(True, f"Keras {keras.__version__} on {keras.backend.backend()}")
    name = gpu_name()
    if name:
        yield Finding(True, f"GPU: {name}")
    elif has_nvidia_device():
        yield Finding(
            False,
            "an NVIDIA GPU is in this machine but Keras does not see it",
            "The set-up brings TensorFlow without GPU code: make an environment of its own and run "
            "`pip install '.[cuda]'` in it",
        )
    else:
        yield Finding(True, "no GPU: the CPU is used")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _system,
    _openslide,
    _codecs,
    _letters,
    _writing,
    _model,
    _frameworks,
)


def _careful(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check; an error of it is a finding too."""
    try:
        yield from check()
    except (ImportError, OSError, AttributeError, WsiPipelineError) as error:
        yield Finding(
            False, f"{check.__name__.strip('_')}: {error}", "Run scripts/demo.py --setup-only"
        )


def _memory_gb() -> float:
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" not in names:
        return float("nan")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
