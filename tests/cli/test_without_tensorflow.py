"""The bundled model on a CPU needs no TensorFlow: neither to start nor in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PhantomFactory

PROGRAM = """
import sys

class Forbidden:  # stands before every other finder
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Forbidden())
from wsi_pipeline.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_without(*words: object) -> str:
    """Run a command in a process that cannot import TensorFlow; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """Labelled patches of two patients, as the archive names them."""
    rng = np.random.default_rng(0)
    for patient in ("8863", "8864"):
        for label in (0, 1):
            folder = tmp_path / "patches" / patient / str(label)
            folder.mkdir(parents=True)
            for number in range(3):
                rgb = rng.integers(90, 250, (50, 50, 3)).astype(np.uint8)
                name = f"{patient}_idx5_x{50 * number + 1}_y{50 * label + 1}_class{label}.png"
                Image.fromarray(rgb).save(folder / name)
    return tmp_path / "patches"


def test_a_run_and_a_preview(phantom_factory: PhantomFactory, tmp_path: Path) -> None:
    slide = phantom_factory().path
    assert "1 done" in run_without("run", slide, "-o", tmp_path / "out")
    run_without("preview", slide, "-o", tmp_path / "page")
    assert (tmp_path / "page" / "preview.html").is_file()


def test_single_pictures(patches: Path) -> None:
    assert "0." in run_without("classify", next(patches.rglob("*.png")))


def test_an_evaluation(patches: Path, tmp_path: Path) -> None:
    run_without("evaluate", patches, "-o", tmp_path / "report")
    assert (tmp_path / "report" / "metrics.json").is_file()
