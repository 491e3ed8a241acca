"""A run against another run or against pathologists: figures, tables, pictures."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import wsi_pipeline
from wsi_pipeline import NOTICE
from wsi_pipeline.compare import (
    Outlines,
    RegionMatch,
    compare_maps,
    compare_outlines,
    outlines_of,
    read_outlines,
)
from wsi_pipeline.errors import IncompleteRunError, StorageError, WsiPipelineError
from wsi_pipeline.files import storing, write_atomic, write_json
from wsi_pipeline.results.comparison import COLUMNS, Compared, Comparison, ReaderAgreement
from wsi_pipeline.results.finished import FinishedSlide, finished_folders, read_finished
from wsi_pipeline.results.references import OutlineFile, RunReference, is_run, match_outlines
from wsi_pipeline.results.status import read_status
from wsi_pipeline.tables import csv_bytes


def compare_run(
    out: Path, reference: Path, folder: Path, classes: Sequence[str] = ()
) -> Comparison:
    """Compare every finished slide of a run and write ``compare.csv``, ``compare.json``, pictures.

    Parameters
    ----------
    out : Path
        Output folder of the run that is judged.
    reference : Path
        Output folder of another run (slides are matched by the hash of their content, else by id);
        or a file or folder of outlines, see `match_outlines`.
    folder : Path
        Where the results go.
    classes : sequence of str
        Which of the readers' outlines count, see `read_outlines`.

    Raises
    ------
    ConfigError
        Where the reference does not exist or has nothing to do with the run.
    IncompleteRunError
        Where a run holds no finished slide, or no slide could be compared.
    StorageError
        Where the results cannot be written.
    """
    folders = finished_folders(out)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if is_run(reference):
        run = RunReference(reference)
        compared = [_guarded(path, lambda s: _against_run(s, run, folder)) for path in folders]
        comparison = Comparison(
            str(reference), tuple(compared), missing=_missing(run.slide_ids, compared)
        )
    else:
        matched = match_outlines(reference, [_name_and_file(path) for path in folders])
        files = matched.of_slides
        compared = [
            _guarded(
                path,
                lambda s: _against_readers(s, files.get(s.slide_id, []), folder, classes),
            )
            for path in folders
        ]
        comparison = Comparison(str(reference), tuple(compared), unused=matched.unused)
    if not any(slide.readings for slide in comparison.slides):
        problems = {slide.problem for slide in comparison.slides}
        raise IncompleteRunError(
            f"no slide could be compared ({'; '.join(sorted(problems))})",
            "Check that both belong to the same slides",
        )
    _write_table(comparison, folder / "compare.csv")
    _write_record(comparison, out, folder / "compare.json")
    return comparison


def _name_and_file(folder: Path) -> tuple[str, str]:
    status = read_status(folder)
    return folder.name, status.slide if status else ""


def _guarded(folder: Path, compare: Callable[[FinishedSlide], Compared]) -> Compared:
    """Compare one slide; what goes wrong with it is its problem, not that of the others."""
    try:
        return compare(read_finished(folder))
    except WsiPipelineError as error:
        return Compared(folder.name, problem=str(error), has_failed=True)


def _missing(reference_ids: set[str], compared: Sequence[Compared]) -> tuple[str, ...]:
    found = {reading.reference for slide in compared for reading in slide.readings}
    return tuple(sorted(reference_ids - found - {slide.slide_id for slide in compared}))


def _against_run(slide: FinishedSlide, run: RunReference, folder: Path) -> Compared:
    other = run.find(slide)
    if other is None:
        return Compared(slide.slide_id, problem="the reference has no such slide")
    change = compare_maps(slide.map_, other.map_)
    names = (_model_of(slide), _model_of(other))
    if names[0] == names[1]:
        names = ("this run", "reference run")
    here = outlines_of(slide.map_, slide.regions, names[0])
    there = outlines_of(other.map_, other.regions, names[1])
    reading = ReaderAgreement(other.slide_id, compare_outlines(here, there, slide.map_.mpp), change)
    problem = _draw(slide, (here, there), reading, folder / f"{slide.slide_id}.png")
    _draw_change(slide, (here, there), reading, folder / f"{slide.slide_id}_change.png")
    return Compared(slide.slide_id, (reading,), problem=problem)


def _against_readers(
    slide: FinishedSlide, files: Sequence[OutlineFile], folder: Path, classes: Sequence[str]
) -> Compared:
    if not files:
        return Compared(slide.slide_id, problem="no reference for this slide")
    result = outlines_of(slide.map_, slide.regions, _model_of(slide))
    drawn: dict[str, Outlines] = {}
    problems: list[str] = []
    for file in files:
        try:
            drawn[file.reader] = read_outlines(file.path, slide.map_, classes)
        except StorageError as error:
            problems.append(str(error))
    has_failed = bool(problems)
    problems += [f"{who}: {what.note}" for who, what in drawn.items() if what.note]
    readings = []
    for reader, outlines in drawn.items():
        reading = ReaderAgreement(reader, compare_outlines(result, outlines, slide.map_.mpp))
        readings.append(reading)
        name = slide.slide_id if len(files) == 1 else f"{slide.slide_id}_{_file_name(reader)}"
        problems.append(_draw(slide, (result, outlines), reading, folder / f"{name}.png"))
    pairs = {
        (first, second): ReaderAgreement(
            second, compare_outlines(drawn[first], drawn[second], slide.map_.mpp)
        )
        for first, second in itertools.combinations(drawn, 2)
    }
    words = "; ".join(dict.fromkeys(filter(None, problems)))
    return Compared(slide.slide_id, tuple(readings), pairs, words, has_failed)


def _draw(
    slide: FinishedSlide, outlines: tuple[Outlines, Outlines], reading: ReaderAgreement, path: Path
) -> str:
    """Draw who called what; return why not, where there is no thumbnail to draw on."""
    from wsi_pipeline.render.difference import DifferenceAreas, Words, write_difference

    try:
        thumbnail = slide.thumbnail()
    except IncompleteRunError as error:
        return error.problem
    names = [item.source for item in outlines]
    write_difference(
        thumbnail,
        slide.map_,
        DifferenceAreas(*reading.agreement.difference, names[0], names[1]),
        Words(slide.slide_id, "  against  ".join(names), _shown_figures(reading), _footer()),
        path,
    )
    return ""


def _draw_change(
    slide: FinishedSlide, outlines: tuple[Outlines, Outlines], reading: ReaderAgreement, path: Path
) -> None:
    from wsi_pipeline.render.difference import Words, write_change

    change = reading.change
    try:
        thumbnail = slide.thumbnail()
    except IncompleteRunError:
        return  # said by the picture of the regions already
    if change is None:
        return
    figures = [
        ("Cells compared", str(change.n_cells)),
        ("Mean change", _figure(change.mean_absolute, ".4f")),
        ("Largest change", _figure(change.largest_absolute, ".4f")),
        ("Correlation", _figure(change.correlation, ".4f")),
        ("Kappa of the calls", _figure(change.kappa, ".3f")),
        ("Turned IDC", str(change.n_turned_positive)),
        ("No longer IDC", str(change.n_turned_negative)),
    ]
    subtitle = "  less  ".join(item.source for item in outlines)
    words = Words(slide.slide_id, subtitle, figures, _footer())
    write_change(thumbnail, slide.map_, change.values, words, path)


def _shown_figures(reading: ReaderAgreement) -> list[tuple[str, str]]:
    found = reading.agreement
    hits = sum(match.is_hit for match in found.reference_regions)
    return [
        ("Dice", _figure(found.dice, ".3f")),
        ("Sensitivity", _figure(found.sensitivity, ".3f")),
        ("Precision", _figure(found.precision, ".3f")),
        ("Result", f"{found.result_mm2:.2f} mm²"),
        ("Reference", f"{found.reference_mm2:.2f} mm²"),
        ("Boundary, 95 %", _figure(found.hausdorff95_um / 1000, ".2f", " mm")),
        ("Reference regions hit", f"{hits} of {len(found.reference_regions)}"),
        ("Result regions false", f"{len(found.gained)} of {len(found.result_regions)}"),
    ]


def _figure(value: float, form: str, unit: str = "") -> str:
    return "not defined" if math.isnan(value) else format(value, form) + unit


def _footer() -> str:
    return f"wsi_pipeline {wsi_pipeline.__version__}  ·  {datetime.date.today().isoformat()}"


def _model_of(slide: FinishedSlide) -> str:
    model: Mapping[str, Any] = slide.map_.attributes.get("model", {})
    return f"{model.get('name', 'run')} ({str(model.get('sha256', ''))[:8]})"


def _file_name(reader: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in reader)


def _write_table(comparison: Comparison, path: Path) -> None:
    rows = (
        {name: _cell(value) for name, value in slide.row().items()} for slide in comparison.slides
    )
    write_atomic(path, csv_bytes(COLUMNS, rows))


def _write_record(comparison: Comparison, out: Path, path: Path) -> None:
    record = {
        "wsi_pipeline": wsi_pipeline.__version__,
        "notice": NOTICE,
        "result": str(out),
        "reference": comparison.reference,
        "pooled": comparison.pooled,
        "inter_reader_dice": comparison.inter_reader_dice,
        "missing": list(comparison.missing),
        "unused": list(comparison.unused),
        "slides": [_slide_record(slide) for slide in comparison.slides],
    }
    write_json(path, record)


class _Match(TypedDict):
    """A region in comparison.json."""

    name: str
    area_mm2: float
    covered_share: float
    is_hit: bool


class _SlideRecord(TypedDict):
    """A slide in comparison.json; figures stand beside what a reading is of."""

    slide_id: str
    problem: str
    readings: list[dict[str, float | str | list[_Match]]]
    inter_reader: list[dict[str, float | list[str]]]


def _slide_record(slide: Compared) -> _SlideRecord:
    return {
        "slide_id": slide.slide_id,
        "problem": slide.problem,
        "readings": [
            {
                "reference": reading.reference,
                **reading.figures(),
                "regions_of_result": _matches(reading.agreement.result_regions),
                "regions_of_reference": _matches(reading.agreement.reference_regions),
            }
            for reading in slide.readings
        ],
        "inter_reader": [
            {"readers": list(readers), **pair.figures()} for readers, pair in slide.pairs.items()
        ],
    }


def _matches(regions: Sequence[RegionMatch]) -> list[_Match]:
    return [
        {
            "name": region.name,
            "area_mm2": region.area_mm2,
            "covered_share": region.covered_share,
            "is_hit": region.is_hit,
        }
        for region in regions
    ]


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
