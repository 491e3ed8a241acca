"""A finished run of two small slides, made once and copied for each test that changes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.phantoms import write_phantom
from wsi_pipeline.cli.main import main
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.pipeline.run import run_slide

MODEL = Path(__file__).parents[1] / "models" / "darkness"
HOT_L0 = Box(1600, 800, 800, 800)
"""Two by two cells of 400 px."""


@pytest.fixture(scope="session")
def _finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    slides = folder / "slides"
    slides.mkdir()
    for name, hot in (("alpha", HOT_L0), ("beta", Box(800, 400, 800, 400))):
        path = slides / f"{name}.tif"
        write_phantom(path, size_l0=Size(4096, 3072), hot_box_l0=hot, mpp=1.0)
    none = Box(0, 0, 0, 0)
    blank = slides / "blank.tif"
    write_phantom(blank, size_l0=Size(4096, 3072), hot_box_l0=none, tissue_box_l0=none, mpp=1.0)
    # Along the edges of cells, so that areas are known by hand.
    chosen = {"regions": {"outline": "cells"}}
    config = load_config(None, {"model": str(MODEL), "execution": {"workers": 1}, **chosen})
    for path in sorted(slides.iterdir()):
        run_slide(path, folder / "out", config)
    return folder


@pytest.fixture
def finished_run(_finished_run: Path, tmp_path: Path) -> Path:
    """Return the output folder of a run of alpha, beta (each with a hot box) and an empty blank."""
    out = tmp_path / "out"
    shutil.copytree(_finished_run / "out", out)
    return out


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call `wsi-pipeline`; return its exit status and all that it said."""

    def call(*words: object) -> tuple[int, str]:
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit_:  # argparse
            status = int(exit_.code or 0)
        said = capsys.readouterr()
        return status, said.out + said.err

    return call
