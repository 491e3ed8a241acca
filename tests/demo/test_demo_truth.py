"""The mask against the one slide whose every cell is known: the synthetic one, pen and dust too."""

from pathlib import Path

import numpy as np
from PIL import Image

from wsi_pipeline.demo import make_demo_slide
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.slides import open_slide, read_thumbnail
from wsi_pipeline.tissue import segment_tissue

UM_PX = 16.0
CELL_PX = 25
"""Of 400 µm."""


def test_drawn_tissue_is_kept_and_drawn_glass_is_not(tmp_path: Path) -> None:
    demo = make_demo_slide(tmp_path / "demo.tif")
    truth = np.asarray(Image.open(demo.truth_path))
    with open_slide(demo.slide_path) as reader:
        thumbnail = read_thumbnail(reader, Mpp(demo.mpp, demo.mpp), UM_PX)
    mask = segment_tissue(thumbnail.rgb, um_px=(UM_PX, UM_PX)).mask
    rows, cols = truth.shape
    kept = np.zeros((rows * CELL_PX, cols * CELL_PX))
    kept[: mask.shape[0], : mask.shape[1]] = mask
    share = kept.reshape(rows, CELL_PX, cols, CELL_PX).mean(axis=(1, 3))
    assert (share[truth > 0] >= 0.1).mean() >= 0.99
    assert (share[truth == 2] >= 0.5).all()
    # Cells of less than a tenth of tissue count as glass in the truth.
    assert share[truth == 0].mean() <= 0.01
