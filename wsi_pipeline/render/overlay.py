"""`overlay.png` and `heatmap.png`: what a pathologist looks at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline import NOTICE
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, SlideTotals
from wsi_pipeline.render import blend as blending
from wsi_pipeline.render.blend import Blend
from wsi_pipeline.render.outlines import draw_regions
from wsi_pipeline.render.page import FAINT, HEADER, INK, Layout, Page
from wsi_pipeline.render.png import write_png

_BAR: Final = Size(26, 320)


@dataclass(frozen=True, slots=True)
class Caption:
    """What the overlay says about where it comes from."""

    slide: str
    mpp_source: str
    model: str
    """Name and version."""
    date: str
    software: str
    """Name and version of this program."""
    unread: tuple[str, ...] = ()
    """What the file holds beside what was read."""

    @classmethod
    def of(cls, map_: ProbabilityMap, *, date: str, software: str) -> Caption:
        """Return the caption from what the map's attributes say."""
        attributes = map_.attributes
        model = attributes.get("model", {})
        return cls(
            slide=str(attributes.get("slide", {}).get("name", "slide")),
            mpp_source=str(attributes.get("mpp_source", "source unknown")),
            model=f"{model.get('name', 'unknown')} ({str(model.get('sha256', ''))[:8]})",
            date=date,
            software=software,
            unread=tuple(map(str, attributes.get("unread", ()))),
        )


def write_overlay(
    thumbnail: RgbArray,
    map_: ProbabilityMap,
    regions: Regions,
    caption: Caption,
    *,
    overlay_path: Path,
    heatmap_path: Path,
    blend: Blend | None = None,
) -> Box:
    """Write `overlay.png` and `heatmap.png`.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned bounds of the slide; its pixels are drawn one to one.
    map_ : ProbabilityMap
    regions : Regions
    caption : Caption
    overlay_path, heatmap_path : Path
        The heatmap has the thumbnail's size.
    blend : Blend, optional
        Colors and opacity.

    Returns
    -------
    Box
        Where the thumbnail's pixels lie in the overlay.

    Raises
    ------
    StorageError
        Where a file cannot be written.
    """
    blend = blend or Blend()
    picture, image_box = draw_overlay(thumbnail, map_, regions, caption, blend)
    size = Size(thumbnail.shape[1], thumbnail.shape[0])
    texts = {"fingerprint": str(map_.attributes.get("fingerprint", "")), "Notice": NOTICE}
    write_png(blending.heatmap(map_, size, blend), heatmap_path, texts)
    write_png(picture, overlay_path, texts)
    return image_box


def draw_overlay(
    thumbnail: RgbArray, map_: ProbabilityMap, regions: Regions, caption: Caption, blend: Blend
) -> tuple[RgbArray, Box]:
    """Draw the overlay.

    Returns
    -------
    picture : ndarray of uint8, shape (H', W', 3)
    image_box : Box
        Where the thumbnail's pixels lie in it, one to one.
    """
    layout = Layout.around(Size(thumbnail.shape[1], thumbnail.shape[0]))
    page = Page(layout)
    page.paste(blending.overlay(thumbnail, map_, blend), layout.image)
    draw_regions(page.axes(layout.image), map_, regions, layout.image)
    page.header(caption.slide, subtitle(map_, caption, regions.threshold))
    page.scale_bar(map_)
    cautions = [words for words in (map_.familiarity_caution, *caption.unread) if words]
    if cautions:
        page.caution("; ".join(cautions))
    page.footer(f"{caption.software}  ·  {caption.date}")
    ground = _mean_tissue_rgb(thumbnail, map_)
    bottom = _draw_color_bar(page, blend, ground, regions.threshold)
    bottom = _draw_legend(page, bottom + 30, ground, blend)
    page.table(bottom + 16, total_rows(SlideTotals.of(map_, regions)))
    return page.finish(), layout.image


def subtitle(map_: ProbabilityMap, caption: Caption, threshold: float) -> str:
    """Return µm/px and its source, model and threshold in one line."""
    mpp = f"{map_.mpp.x:.4g}"
    if map_.mpp.anisotropy > 1.0005:
        mpp += f" x {map_.mpp.y:.4g}"
    return (
        f"{mpp} µm/px ({caption.mpp_source})  ·  model {caption.model}"
        f"  ·  threshold {threshold:.3g}{_estimated_share(map_)}{_balance(map_)}"
    )


def _estimated_share(map_: ProbabilityMap) -> str:
    """Return what a map that was made coarse to fine has to say of itself."""
    if map_.estimated is None:
        return ""
    share = map_.estimated.sum() / max(1, np.isfinite(map_.values).sum())
    return f"  ·  coarse to fine: {share:.0%} of the cells from neighbors"


def _balance(map_: ProbabilityMap) -> str:
    """Return from what glass the light was balanced, "" where it was not."""
    balance = map_.attributes.get("white_balance") or {}
    if not balance.get("applied"):
        return ""
    return f"  ·  light balanced from glass {', '.join(map(str, balance['glass_rgb']))}"


def total_rows(totals: SlideTotals) -> list[tuple[str, str]]:
    """Return a slide's totals as names and values."""
    if totals.n_classified == 0:
        return [("Nothing was classified", "")]
    share = "" if np.isnan(totals.idc_share) else f"{totals.idc_share:.1%}"
    return [
        ("IDC regions", str(totals.n_regions)),
        ("IDC area", f"{totals.idc_mm2:.2f} mm²"),
        ("Tissue area", f"{totals.tissue_mm2:.2f} mm²"),
        ("IDC share of tissue", share),
        ("Highest probability", f"{totals.max_probability:.2f}"),
    ]


def _mean_tissue_rgb(thumbnail: RgbArray, map_: ProbabilityMap) -> NDArray[np.uint8]:
    """Return the mean color of the tissue, the ground on which the colors are seen."""
    lookup = blending.CellLookup.of(map_, Size(thumbnail.shape[1], thumbnail.shape[0]))
    is_tissue = lookup.spread(map_.tissue > 0.5)[::4, ::4]
    if not is_tissue.any():
        return np.full(3, 255, np.uint8)
    return np.asarray(thumbnail[::4, ::4][is_tissue].mean(axis=0).round(), np.uint8)


def _draw_color_bar(page: Page, blend: Blend, ground: NDArray[np.uint8], threshold: float) -> int:
    """Draw the colors as they look on the tissue, not as they are alone; return the bar's end."""
    bar = Box(page.layout.panel_x, HEADER + 36, _BAR.width, _BAR.height)
    falling = np.linspace(1, 0, bar.height, dtype=np.float32)[:, np.newaxis]
    ramp = blend.translucent(np.broadcast_to(falling, (bar.height, bar.width)))
    _paste_sample(page, ramp, bar, ground)
    page.text(bar.x, bar.y - 28, "Probability of IDC", 11, fontweight="bold")
    page.text(bar.x, bar.y - 10, "as seen on this slide's tissue", 8.5, color=FAINT)
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = bar.bottom - value * bar.height
        page.line((bar.right, bar.right + 4), (y, y))
        page.text(bar.right + 8, y + 4, f"{value:g}")
    y = bar.bottom - threshold * bar.height
    page.line((bar.x - 5, bar.right), (y, y), width=1.4)
    page.text(bar.right + 44, y + 4, f"◂ threshold {threshold:.3g}")
    return bar.bottom


def _draw_legend(page: Page, top: int, ground: NDArray[np.uint8], blend: Blend) -> int:
    """Draw samples of what is not a color of the bar; return the y below them."""
    size = Size(22, 14)
    hatch = blending.hatch_sample(size)
    samples = [
        ("IDC region, with its number", None),
        ("Low probability: slide shows", np.zeros_like(hatch)),
        ("Tissue not classified", hatch),
    ]
    if blend.hatches_flagged:
        samples.append(("Doubtful: focus, pen, fold, blank", blending.flag_sample(size)))
    for row, (words, layer) in enumerate(samples):
        box = Box(page.layout.panel_x, top + row * 24, size.width, size.height)
        if layer is None:
            page.rectangle(box, fill=False, edgecolor=INK)
        else:
            _paste_sample(page, layer, box, ground)
        page.text(box.right + 8, box.y + 11, words)
    return top + len(samples) * 24


def _paste_sample(
    page: Page, layer: blending.RgbaArray, box: Box, ground: NDArray[np.uint8]
) -> None:
    tissue = np.empty((box.height, box.width, 3), np.uint8)
    tissue[...] = ground
    page.paste(blending.over(tissue, layer), box)
