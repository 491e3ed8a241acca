"""Every finished slide of an output folder in other programs' formats, and as review sheets."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import wsi_pipeline
from wsi_pipeline.errors import ConfigError, WsiPipelineError
from wsi_pipeline.export.formats import FORMATS, ExportSource, export_to
from wsi_pipeline.files import storing
from wsi_pipeline.results.finished import (
    FinishedSlide,
    finished_folders,
    read_finished,
    settings_of,
)
from wsi_pipeline.results.layout import slide_folders
from wsi_pipeline.results.locate import SlideLocator
from wsi_pipeline.results.slide_files import blend_of
from wsi_pipeline.results.status import Empty, StainFacts
from wsi_pipeline.tissue import QualityFlag

SHEETS: Final = {
    "sheet": ("sheet.png", "one-page review sheet, PNG"),
    "sheet-pdf": ("sheet.pdf", "the same as PDF"),
}
"""File name and words of the review sheets by format name: drawn rather than exported."""

REGIONS: Final = frozenset({"geojson", "geojson-gz", "aperio-xml"})
"""Formats whose files say the same of a slide and stand beside each other."""

FORMAT_WORDS: Final = {
    **{name: known.words for name, known in FORMATS.items()},
    **{name: words for name, (_, words) in SHEETS.items()},
}
"""What help says of everything that `export --to` takes, by name."""
FORMAT_NAMES: Final = (*FORMAT_WORDS,)

_NOT_CLASSIFIED_RGB: Final = 255
_SHARE_SHOWN: Final = 0.0005
_NOTE_CHARS: Final = 52


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one slide in one format."""

    slide_id: str
    format_name: str
    path: Path | None
    """The file; None where there is none."""
    problem: WsiPipelineError | None = None
    """Why there is none; None too where an empty slide has nothing to draw."""


def export_slides(
    out: Path,
    format_names: Sequence[str],
    *,
    folder: Path | None = None,
    threshold: float | None = None,
    slides_dir: Path | None = None,
) -> Iterator[Exported]:
    """Export each finished slide in each format and yield what became of it.

    Parameters
    ----------
    out : Path
        Output folder of a run.
    format_names : sequence of str
        Of `FORMAT_NAMES`.
    folder : Path, optional
        Files go to ``folder/<slide_id>/``; default: to the slide's own folder.
    threshold : float, optional
        Probability from which a cell is IDC; default: the run's.
    slides_dir : Path, optional
        Where the slides are now, if not where the run found them: they are told by their content.

    Raises
    ------
    ConfigError
        Where a format is unknown, or an export would contradict the run in its own folder.
    IncompleteRunError
        Where the folder holds no finished slide.
    """
    _check(format_names, folder, threshold)
    locator = SlideLocator(slides_dir)
    for source in finished_folders(out):
        target = source if folder is None else folder / source.name
        yield from _export_slide(source, format_names, target, threshold, locator)


def unfinished_slides(out: Path) -> list[str]:
    """Return the ids of the slides that have nothing to export: failed, or not done yet.

    Raises
    ------
    IncompleteRunError
        Where the folder is not the output of a run, or no slide of it is finished.
    """
    finished = finished_folders(out)
    return [folder.name for folder in slide_folders(out) if folder not in finished]


def _check(format_names: Sequence[str], folder: Path | None, threshold: float | None) -> None:
    unknown = [name for name in format_names if name not in FORMAT_NAMES]
    if unknown:
        raise ConfigError(
            f"no export format is called {unknown[0]!r}", f"There are {', '.join(FORMAT_NAMES)}"
        )
    if threshold is not None and folder is None and not REGIONS.isdisjoint(format_names):
        raise ConfigError(
            "regions at another threshold would contradict the run's own figures",
            "Give another folder with -o, or move the run itself with `render OUT --threshold`",
        )


def _export_slide(
    source: Path,
    format_names: Sequence[str],
    target: Path,
    threshold: float | None,
    locator: SlideLocator,
) -> Iterator[Exported]:
    try:
        slide = read_finished(source, threshold)
        with storing(target):
            target.mkdir(parents=True, exist_ok=True)
    except ConfigError:
        raise  # a threshold that is none would fail on every slide
    except WsiPipelineError as error:
        yield Exported(source.name, "", None, error)
        return
    for name in format_names:
        try:
            yield Exported(source.name, name, _export_one(slide, name, target, locator))
        except WsiPipelineError as error:
            yield Exported(source.name, name, None, error)


def _export_one(
    slide: FinishedSlide, name: str, target: Path, locator: SlideLocator
) -> Path | None:
    if name not in SHEETS:
        return export_to(name, _export_source(slide, locator), target)
    if isinstance(slide.status, Empty):
        return None
    path = target / SHEETS[name][0]
    _write_sheet(slide, path)
    return path


def _export_source(slide: FinishedSlide, locator: SlideLocator) -> ExportSource:
    rgba = blend_of(settings_of(slide.status)).opaque(slide.map_.values)
    # Not classified is white in the rendering: no color of the map, and not black as "nothing".
    cell_rgb = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(_NOT_CLASSIFIED_RGB))
    return ExportSource(slide.map_, slide.regions, cell_rgb, locator.find(slide.status))


def _write_sheet(slide: FinishedSlide, path: Path) -> None:
    from wsi_pipeline.render.overlay import Caption
    from wsi_pipeline.render.sheet import write_sheet

    software = f"wsi_pipeline {wsi_pipeline.__version__}"
    write_sheet(
        slide.thumbnail(),
        slide.map_,
        slide.regions,
        Caption.of(slide.map_, date=datetime.date.today().isoformat(), software=software),
        notes=sheet_notes(slide),
        blend=blend_of(settings_of(slide.status)),
        path=path,
    )


def sheet_notes(slide: FinishedSlide) -> list[tuple[str, str]]:
    """Return what a reviewer has to know beside the figures: stain, quality, warnings, versions."""
    status, attributes = slide.status, slide.map_.attributes
    stain = status.stain or StainFacts()
    notes = [("Stain normalization", str(attributes.get("stain", "none")))]
    for words in (*stain.reasons, *stain.warnings):
        notes += _wrapped("Stain", words)
    notes += _quality_notes(slide)
    lost = status.patches_lost
    notes += [("Patches that cannot be read", str(lost))] if lost else []
    for words in status.cautions:
        notes += _wrapped("Note", words)
    notes += [
        ("Classified by", f"wsi_pipeline {attributes.get('version', '?')}"),
        ("Refined by neighbors", "yes" if attributes.get("context") else "no"),
        ("Config", str(attributes.get("config_sha256", ""))[:12]),
    ]
    return notes


def _quality_notes(slide: FinishedSlide) -> list[tuple[str, str]]:
    quality, known = slide.map_.quality, ~np.isnan(slide.map_.values)
    if quality is None or not known.any():
        return []
    shares = {
        flag: float(((quality[known] & np.uint8(flag)) > 0).mean())
        for flag in QualityFlag
        if flag is not QualityFlag.UNREADABLE
    }
    words = [
        (f"Cells {_flag_words(flag)}", f"{share:.1%}")
        for flag, share in shares.items()
        if share >= _SHARE_SHOWN
    ]
    return words or [("Quality flags", "none")]


def _wrapped(name: str, words: str) -> list[tuple[str, str]]:
    """Return a sentence as rows that the sheet's column is wide enough for."""
    lines = textwrap.wrap(words, _NOTE_CHARS) or [""]
    return [(name if number == 0 else "", line) for number, line in enumerate(lines)]


def _flag_words(flag: QualityFlag) -> str:
    return str(flag.name).lower().replace("_", " ")
