"""Look at one slide as a run would, stop before the model, and say what was seen."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import wsi_pipeline
from wsi_pipeline import names
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.config import Config
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.geometry import BoolMask
from wsi_pipeline.pipeline.plan import SlidePlan, plan_slide
from wsi_pipeline.pipeline.stain import fit_stain
from wsi_pipeline.pipeline.write import picture_of
from wsi_pipeline.preview import words
from wsi_pipeline.preview.samples import PatchSamples, choose_shown, read_samples
from wsi_pipeline.slides import SlideReader, SlideSource
from wsi_pipeline.stain import METHODS, StainHealth, StainNormalizer, StainReference
from wsi_pipeline.stain.optical_density import BLANK_MEAN_OD, optical_density
from wsi_pipeline.stain.separation import SeparationNormalizer
from wsi_pipeline.tissue import MaskFrame, mask_to_geojson

if TYPE_CHECKING:  # matplotlib is loaded when there is something to draw
    from wsi_pipeline.render.preview import MethodRow, Place, PreviewPage
    from wsi_pipeline.render.stain_plot import StainPlot

BARE_SIDE_PX: Final = 1600
"""Longer side of the picture where no µm/px says how large it is."""
MAX_FLAGS_DRAWN: Final = 200

Fits = dict[str, tuple[StainNormalizer, StainHealth]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What `preview_slide` has written and found."""

    files: tuple[Path, ...]
    problems: tuple[str, ...]
    """Why a run of this slide fails or is empty; empty where it would do."""
    cautions: tuple[str, ...]


def preview_slide(
    source: SlideSource,
    config: Config,
    card: ModelCard,
    reference: StainReference,
    folder: Path,
) -> Preview:
    """Write the preview page of a slide, and its tissue mask.

    Parameters
    ----------
    source : SlideSource
    config : Config
    card : ModelCard
        Whose scale and patch size a run would use. The model itself is not loaded.
    reference : StainReference
        What stains are normalized to.
    folder : Path
        For ``preview.png``, ``preview.html``, ``mask.png`` and ``mask.geojson`` (QuPath's level-0
        px; it can be edited and given back with ``--mask``).

    Raises
    ------
    SlideError
        Where the slide cannot even be opened.
    StorageError
        Where the folder cannot be written.
    """
    from wsi_pipeline.render.preview import draw_preview
    from wsi_pipeline.render.preview_html import preview_html

    reader = source.open_shared()
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "preview.png", folder / "preview.html"]
    try:
        plan = plan_slide(source, config, card)
    except WsiPipelineError as error:
        page = bare_page(reader, card, error)
    else:
        page = full_page(plan, config, card, reference)
        files += write_mask(plan, folder)
    picture = draw_preview(page)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    write_atomic(files[0], buffer.getvalue())
    write_atomic(files[1], preview_html(page, picture).encode())
    return Preview(tuple(files), page.problems, page.cautions)


def write_mask(plan: SlidePlan, folder: Path) -> list[Path]:
    """Write the tissue mask as a picture of the scanned bounds and as outlines for QuPath."""
    mask = plan.tissue_mask
    buffer = BytesIO()
    Image.fromarray(mask.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    downsample = (mask.um_px[0] / plan.mpp.x, mask.um_px[1] / plan.mpp.y)
    # QuPath crops to the scanned bounds, where the mask starts too.
    outlines = mask_to_geojson(mask, MaskFrame((0, 0), downsample))
    write_atomic(folder / "mask.png", buffer.getvalue())
    write_atomic(folder / "mask.geojson", json.dumps(outlines).encode())
    return [folder / "mask.png", folder / "mask.geojson"]


def bare_page(reader: SlideReader, card: ModelCard, error: WsiPipelineError) -> PreviewPage:
    """Return the page of a slide that cannot be planned: what it looks like and what is wrong."""
    from wsi_pipeline.render.preview import PreviewPage

    bounds = reader.pyramid.bounds_l0
    mpp = reader.info.mpp
    try:
        thumbnail = reader.thumbnail(BARE_SIDE_PX)
    except WsiPipelineError as unreadable:
        thumbnail = np.full((900, 1200, 3), 235, np.uint8)
        error = unreadable
    um_px = bounds.width * mpp.x / thumbnail.shape[1] if mpp else None
    return PreviewPage(
        title=names.shown(reader.info.path.name),
        subtitle=words.subtitle(reader.info, card),
        problems=(str(error),),
        cautions=tuple(reader.info.warnings),
        thumbnail=thumbnail,
        um_px=um_px,
        findings=None,
        places=(),
        tables=(words.slide_table(reader), words.levels_table(reader, None)),
        methods=(),
        stain=None,
        footer=_footer(),
    )


def full_page(
    plan: SlidePlan, config: Config, card: ModelCard, reference: StainReference
) -> PreviewPage:
    """Return the page of a slide that a run could do, or would call empty."""
    from wsi_pipeline.render.preview import PreviewPage

    reader, samples = plan.source.open_shared(), read_samples(plan)
    picture = picture_of(plan, config)
    in_force = config.stain.method or card.stain
    fits = _fit_all(plan, reference) if len(samples) else {}
    health = fits[in_force][1] if fits else None
    look = fits["macenko"][1] if fits else None
    shown = choose_shown(samples, plan.glass_rgb, look.vectors if look else None)
    return PreviewPage(
        title=names.shown(plan.info.path.name),
        subtitle=words.subtitle(plan.info, card),
        problems=words.problems(plan),
        cautions=words.cautions(plan, samples, health),
        thumbnail=picture.rgb,
        um_px=picture.um_px,
        findings=plan.tissue_mask,
        places=_places(plan, samples, shown),
        tables=(
            words.slide_table(reader),
            words.levels_table(reader, plan.read_plan.level),
            words.grid_table(plan, card),
            words.mask_table(plan),
            *((words.quality_table(samples),) if len(samples) else ()),
            *((words.stain_table(health, reference),) if health else ()),
        ),
        methods=_method_rows(fits, samples, shown, in_force),
        stain=_stain_plot(plan, samples, fits, reference),
        footer=_footer(),
    )


def _fit_all(plan: SlidePlan, reference: StainReference) -> Fits:
    return {method: fit_stain(plan, method, reference) for method in METHODS}


def _places(plan: SlidePlan, samples: PatchSamples, shown: list[int]) -> tuple[Place, ...]:
    from wsi_pipeline.render.preview import Place

    side_um = plan.grid.patch_px * plan.grid.spacing_um_px
    corners_um = samples.corner_um.tolist()
    flagged = np.flatnonzero(samples.flags)[:MAX_FLAGS_DRAWN].tolist()
    lettered = dict(zip(shown, "ABCDEF", strict=False))
    return tuple(
        Place(corners_um[index][0], corners_um[index][1], side_um, lettered.get(index, ""))
        for index in (*(i for i in flagged if i not in lettered), *shown)
    )


def _method_rows(
    fits: Fits, samples: PatchSamples, shown: list[int], in_force: str
) -> tuple[MethodRow, ...]:
    from wsi_pipeline.render.preview import MethodRow

    before = MethodRow("as scanned", tuple(samples.scanned[index] for index in shown))
    rows = tuple(
        MethodRow(
            method,
            tuple(normalizer.transform(samples.pixels[index]) for index in shown),
            words.method_notes(health),
            is_in_force=method == in_force,
            has_fallen_back=health.used != method,
        )
        for method, (normalizer, health) in fits.items()
    )
    return rows if samples.pixels is samples.scanned or not rows else (before, *rows)


def _stain_plot(
    plan: SlidePlan, samples: PatchSamples, fits: Fits, reference: StainReference
) -> StainPlot | None:
    from wsi_pipeline.render.stain_plot import StainPlot

    if not fits:
        return None
    vectors = []
    for name in ("macenko", "vahadane"):
        normalizer, health = fits[name]
        if isinstance(normalizer, SeparationNormalizer):
            vectors.append((f"slide, {normalizer.method}", normalizer.source))
        elif name == "macenko" and health.vectors is not None:
            vectors.append(("slide, doubted", health.vectors))
    unique = dict(vectors)
    unique["reference"] = reference.macenko
    return StainPlot(_stained_od(plan.glass_rgb, samples), tuple(unique.items()))


def _stained_od(glass_rgb: tuple[int, int, int], samples: PatchSamples) -> NDArray[np.float64]:
    od = optical_density(samples.pixels[:, ::3, ::3].reshape(-1, 3), glass_rgb)
    stained: BoolMask = od.mean(axis=1) > 2 * BLANK_MEAN_OD
    return od[stained]


def _footer() -> str:
    return f"wsi_pipeline {wsi_pipeline.__version__}  ·  {datetime.date.today().isoformat()}"
