"""Make the slide file and its truth."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from shapely.geometry import Polygon, mapping
from skimage import measure

from wsi_pipeline.demo.painting import paint
from wsi_pipeline.demo.scene import COARSE_PX, MPP, Scene, lay_out, upsample
from wsi_pipeline.demo.structures import draw_structures
from wsi_pipeline.demo.textures import PERIOD_PX, weave
from wsi_pipeline.geometry import RgbArray, Size

DEFAULT_SIZE_L0 = Size(6000, 4600)
"""24 x 18 mm."""
SMALLEST_SIDE_L0 = 400
LEVELS = 3
"""Each half as large as the one before: 4, 8 and 16 µm/px."""
TRUTH_CELL_L0 = 100
"""Side of a cell of the truth picture: 50 px at 8 µm/px."""
TRUTH_PALETTE = (255, 255, 255, 196, 164, 200, 176, 32, 64)
"""Colors of the numbers 0 to 2: glass white, tissue pale, tumor red."""
JPEG_QUALITY = 90
PEN_GREEN = (0.22, 0.62, 0.40)
HAIR_BROWN = (0.42, 0.36, 0.32)
DUST_GRAY = (0.35, 0.33, 0.32)
"""Share of the light that passes, in red, green and blue."""


@dataclass(frozen=True, slots=True)
class DemoTruth:
    """What was drawn, and where it was written."""

    slide_path: Path
    truth_path: Path
    """One pixel a cell of 50 x 50 px at 8 µm/px: 0 no tissue, 1 tissue without tumor, 2 tumor.

    A palette PNG: the pixels are these numbers, viewers show colors."""
    outlines_path: Path
    """GeoJSON outlines of the tumor, level-0 px."""
    size_l0: Size
    mpp: float
    tissue_mm2: float
    tumor_mm2: float


def make_demo_slide(
    path: str | Path, *, size_l0: Size = DEFAULT_SIZE_L0, seed: int = 0
) -> DemoTruth:
    """Draw a synthetic H&E whole-mount slide and write it with its truth.

    Beside `path` come ``STEM_truth.png`` and ``STEM_truth.geojson``.

    Parameters
    ----------
    path : path
        The slide to write: a tiled pyramidal TIFF (JPEG) at 4, 8 and 16 µm/px that says so in its
        resolution tags. Its folder is made where needed.
    size_l0 : Size
        Pixels of level 0, at least 400 along each side.
    seed : int
        The same seed and size give the same slide.

    Returns
    -------
    DemoTruth
        Paths, areas and resolution.

    Raises
    ------
    ValueError
        Where the slide would be too small to hold tissue.

    Examples
    --------
    >>> from wsi_pipeline.geometry import Size
    >>> truth = make_demo_slide("small.tif", size_l0=Size(1200, 900), seed=3)
    >>> truth.slide_path.name, truth.mpp, truth.outlines_path.name
    ('small.tif', 4.0, 'small_truth.geojson')
    """
    if min(size_l0.width, size_l0.height) < SMALLEST_SIDE_L0:
        raise ValueError(f"a side must be at least {SMALLEST_SIDE_L0} px, received {size_l0}")
    slide_path = Path(path)
    slide_path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scene = lay_out(size_l0, rng)
    textures = weave(rng)
    rgb = paint(scene, textures, draw_structures(scene, rng))
    _soil(rgb, rng)
    _scan(rgb, textures.grain)
    truth, tissue_mm2 = _truth_cells(scene)
    outlines = _tumor_outlines(scene)
    truth_path = slide_path.with_name(f"{slide_path.stem}_truth.png")
    outlines_path = slide_path.with_name(f"{slide_path.stem}_truth.geojson")
    picture = Image.fromarray(truth).convert("P")
    picture.putpalette(TRUTH_PALETTE)  # the numbers stay; viewers would show 0 to 2 as black
    picture.save(truth_path)
    outlines_path.write_text(json.dumps(_feature_collection(outlines, seed)))
    _write_pyramid(slide_path, rgb)
    return DemoTruth(
        slide_path=slide_path,
        truth_path=truth_path,
        outlines_path=outlines_path,
        size_l0=size_l0,
        mpp=MPP,
        tissue_mm2=tissue_mm2,
        tumor_mm2=sum(outline.area for outline in outlines) * MPP**2 / 1e6,
    )


def _soil(rgb: RgbArray, rng: np.random.Generator) -> None:
    """Add what is on real glass: a stroke of a pen, a hair and dust, in place."""
    height, width = rgb.shape[:2]
    size = np.array([width, height])
    turn = np.linspace(0.15 * np.pi, 0.75 * np.pi, 40)
    arc = np.stack([0.62 + 0.16 * np.cos(turn), 0.03 + 0.07 * np.sin(turn)], axis=1)
    _draw_line(rgb, arc * size, width_px=max(width // 110, 6), light=PEN_GREEN)
    along = np.linspace(0, 1, 60)
    curl = 0.02 * np.sin(2.5 * np.pi * along + 1)
    hair = np.stack([0.70 + 0.17 * along, 0.80 + 0.09 * along + curl], axis=1)
    _draw_line(rgb, hair * size, width_px=4, light=HAIR_BROWN)
    for x, y in rng.uniform(0.02, 0.98, (35, 2)) * size:
        speck = np.array([[x, y], [x + rng.normal(0, 2.5), y + rng.normal(0, 2.5)]])
        _draw_line(rgb, speck, width_px=int(rng.integers(3, 10)), light=DUST_GRAY)


def _draw_line(
    rgb: RgbArray,
    points: NDArray[np.float64],
    *,
    width_px: int,
    light: tuple[float, float, float],
) -> None:
    """Let only a share of the light through along a line of (x, y) points, in place."""
    margin = width_px + 4
    left, top = np.maximum(points.min(axis=0).astype(int) - margin, 0)
    right, bottom = points.max(axis=0).astype(int) + margin
    window = rgb[top:bottom, left:right]
    canvas = Image.new("L", (window.shape[1], window.shape[0]))
    pen = ImageDraw.Draw(canvas)
    local = [(float(x), float(y)) for x, y in points - (left, top)]
    pen.line(local, fill=255, width=width_px, joint="curve")
    for x, y in (local[0], local[-1]):
        pen.circle((x, y), width_px / 2, fill=255)
    cover = np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.2)), np.float32)[..., None] / 255
    window[:] = window * (1 - cover * (1 - np.array(light, np.float32)))


def _scan(rgb: RgbArray, noise: NDArray[np.float32]) -> None:
    """Add uneven light of the lamp, about 1 %, and noise of the sensor, in place."""
    height, width = rgb.shape[:2]
    across = 1 + 0.006 * np.sin(np.linspace(0.5, 4.0, width, dtype=np.float32))
    down = 1 + 0.006 * np.cos(np.linspace(0.2, 3.0, height, dtype=np.float32))
    repeated = np.tile(1.3 * noise, (1, -(-width // PERIOD_PX)))[:, :width]
    for top in range(0, height, PERIOD_PX // 4):
        rows = slice(top, min(top + PERIOD_PX // 4, height))
        light = down[rows, None] * across
        dither = repeated[top % PERIOD_PX :][: rows.stop - top] + 0.5
        for channel in range(3):
            lit = rgb[rows, :, channel] * light + np.roll(dither, 300 * channel, axis=1)
            rgb[rows, :, channel] = np.clip(lit, 0, 255)


def _truth_cells(scene: Scene) -> tuple[NDArray[np.uint8], float]:
    """Return the class of each cell, uint8 (rows, cols), and the tissue's area in mm².

    A cell is tumor where tumor covers half of it, tissue where tissue covers a tenth.
    """
    width, height = scene.size_px.width, scene.size_px.height
    edges = np.arange(0, width, TRUTH_CELL_L0)
    n_px = np.diff([*edges, width]).astype(np.float64)
    classes, tissue_px = [], 0.0
    for top in range(0, height, TRUTH_CELL_L0):
        rows = slice(top, min(top + TRUTH_CELL_L0, height))
        inside = [
            np.add.reduceat((upsample(field, rows, slice(0, width)) > 0).sum(axis=0), edges)
            for field in (scene.tissue, scene.tumor)
        ]
        tissue, tumor = (count / (n_px * (rows.stop - top)) for count in inside)
        classes.append(np.where(tumor >= 0.5, 2, np.where(tissue >= 0.1, 1, 0)))
        tissue_px += float(inside[0].sum())
    return np.array(classes, np.uint8), tissue_px * MPP**2 / 1e6


def _tumor_outlines(scene: Scene) -> list[Polygon]:
    """Return the outlines of the tumor, level-0 px."""
    return [
        # find_contours speaks of cell centers, as (row, column)
        Polygon((ring[:, ::-1] + 0.5) * COARSE_PX)
        for ring in measure.find_contours(scene.tumor, 0)
        if len(ring) > 8
    ]


def _feature_collection(outlines: list[Polygon], seed: int) -> dict[str, object]:
    """Return the outlines as QuPath annotations."""
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"synthetic {seed} {number}")),
            "geometry": mapping(outline),
            "properties": {
                "objectType": "annotation",
                "name": f"Synthetic tumor {number}",
                "classification": {"name": "IDC", "color": [200, 0, 0]},
            },
        }
        for number, outline in enumerate(outlines, start=1)
    ]
    return {"type": "FeatureCollection", "features": features}


def _write_pyramid(path: Path, rgb: RgbArray) -> None:
    """Write a tiled pyramid with resolution tags, first beside `path`, then under its name."""
    part = path.with_name(f".{path.name}.part")
    with tifffile.TiffWriter(part) as tif:
        for number, level in enumerate(_levels(rgb)):
            tif.write(
                level,
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": JPEG_QUALITY},
                subsampling=(1, 1),
                subfiletype=int(number > 0),
                resolution=(1e4 / (MPP * 2**number),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                maxworkers=os.cpu_count(),
            )
    part.replace(path)


def _levels(rgb: RgbArray) -> Iterator[RgbArray]:
    """Yield the picture and its reductions by area averaging, each half as large."""
    yield rgb
    for _ in range(LEVELS - 1):
        height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
        quads = rgb[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        total = quads[:, 0, :, 0].astype(np.uint16)
        for row, col in ((0, 1), (1, 0), (1, 1)):
            total += quads[:, row, :, col]
        rgb = ((total + 2) // 4).astype(np.uint8)
        yield rgb
