"""Outlines of IDC from a run or from a pathologist, all in level-0 px of the whole slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.annotations import (
    KNOWN_KINDS,
    Annotation,
    Area,
    Drawing,
    Place,
    check_place,
    doubts_of_place,
    only_areas,
    polygons,
    read_annotations,
)
from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, l0_from_outline, outline_cells

_KINDS: Final = f"{KNOWN_KINDS}, or a truth image (.png)"


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One area called IDC."""

    name: str
    area_l0: Area
    """Valid, level-0 px of the whole slide."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Everything that one reader called IDC on a slide."""

    source: str
    """Who or what drew them, for tables and captions."""
    items: tuple[Outline, ...]
    judged_l0: Area | None = None
    """What the reader looked at; None = the whole slide. Nothing outside it counts."""
    note: str = ""
    """What whoever reads the figures has to know about the choice of outlines."""

    @property
    def union_l0(self) -> Area:
        """All areas as one; overlapping outlines count once."""
        return only_areas(shapely.union_all([item.area_l0 for item in self.items]))


def outlines_of(map_: ProbabilityMap, regions: Regions, source: str) -> Outlines:
    """Return the regions of a run as outlines; what it did not classify, it did not judge."""
    items = tuple(Outline(f"IDC {r.number}", r.outline_l0) for r in regions)
    return Outlines(source, items, _cells_l0(map_, ~np.isnan(map_.values)))


def read_outlines(path: Path, map_: ProbabilityMap, classes: Sequence[str] = ()) -> Outlines:
    """Read a pathologist's outlines.

    Parameters
    ----------
    path : Path
        GeoJSON as QuPath writes it (the pixels are less the scanned bounds' offset, which is put
        back); XML of Aperio, HALO or ASAP; any of them packed as .gz or .zip; or a truth image with
        one pixel for each cell of the map: 0 not judged, 1 not IDC, 2 IDC, or 0 and 255 where all
        of it was judged.
    map_ : ProbabilityMap
        Of the same slide: where its scanned bounds and cells lie.
    classes : sequence of str
        Outlines of these classes count, and of those derived from them ("Tumor" takes "Tumor:
        Invasive"), letters large or small: QuPath's class, the layer of Aperio and HALO, ASAP's
        group. Without any all count but for those that QuPath itself ignores ("Region*"). A truth
        image has no classes.

    Raises
    ------
    StorageError
        Where the file is missing, of another kind or damaged; where it holds things, but none that
        can be an outline; where all lies beside the slide.
    """
    if path.suffix.lower() == ".png":
        return _read_truth(path, map_)
    drawing = read_annotations(path)
    placed = _placed(drawing, map_)
    place = _place_of(map_)
    check_place(path.name, [one.area for one in placed], place)
    return _chosen(path, placed, drawing, classes, place)


def _cells_l0(map_: ProbabilityMap, cells: NDArray[np.bool_]) -> Area:
    if not cells.any():
        return shapely.MultiPolygon()
    return l0_from_outline(outline_cells(cells), map_)


def _place_of(map_: ProbabilityMap) -> Place:
    def is_tissue(points_l0: NDArray[np.float64]) -> NDArray[np.bool_]:
        cells = ((points_l0 - map_.origin_l0) / map_.step_l0).astype(np.intp)
        cells = np.clip(cells, 0, np.array(map_.values.shape)[::-1] - 1)
        found: NDArray[np.bool_] = map_.tissue[cells[:, 1], cells[:, 0]] > 0
        return found

    return Place(map_.bounds_l0, (map_.mpp.x, map_.mpp.y), is_tissue)


def _placed(drawing: Drawing, map_: ProbabilityMap) -> list[Annotation]:
    """Return the annotations in level-0 px of the whole slide."""
    offset_l0 = np.zeros(2)
    if drawing.is_cropped:
        offset_l0 += map_.bounds_l0[:2] if drawing.offset_l0 is None else drawing.offset_l0
    if not offset_l0.any():
        return drawing.items
    return [
        replace(one, area=shapely.transform(one.area, lambda xy: xy + offset_l0))
        for one in drawing.items
    ]


def _chosen(
    path: Path,
    placed: Sequence[Annotation],
    drawing: Drawing,
    classes: Sequence[str],
    place: Place,
) -> Outlines:
    """Return the outlines of the classes asked for; without any, of all that may be tumor."""
    counted = [one for one in placed if (one.is_of(classes) if classes else one.is_finding)]
    left_out = drawing.left_out_words
    if not counted and not classes and (placed or left_out):
        ignored = f"{len(placed)} of a class that does not count" if placed else ""
        raise StorageError(
            f"{path.name} holds no outline ({', '.join(filter(None, (ignored, left_out)))})",
            "An outline is a closed area; where there is no tumor, save a file without any",
        )
    notes = [
        _note({one.kind for one in counted}, {one.kind for one in placed}, classes),
        f"left out of {path.name}: {left_out}" if left_out else "",
        "" if placed else f"{path.name} holds nothing: taken for 'no tumor drawn'",
        *doubts_of_place([one.area for one in counted], place),
    ]
    items = tuple(Outline(one.name, one.area) for one in counted)
    return Outlines(path.name, items, note="; ".join(filter(None, notes)))


def _note(counted: set[str], present: set[str], classes: Sequence[str]) -> str:
    def listed(kinds: set[str]) -> str:
        return ", ".join(sorted(kind or "(none)" for kind in kinds))

    if classes and present and not counted:
        return f"no outline of class {', '.join(classes)}, only of {listed(present)}"
    if not classes and len(counted) > 1:
        return f"outlines of {len(counted)} classes count alike ({listed(counted)})"
    return ""


def _read_truth(path: Path, map_: ProbabilityMap) -> Outlines:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            _check_shape((picture.height, picture.width), map_.values.shape)
            truth = np.asarray(picture)
        return _outlines_of_truth(path.name, truth, map_)
    except UnidentifiedImageError as exc:
        raise StorageError(f"{path}: damaged or not a picture", f"Give {_KINDS}") from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StorageError(f"{path}: cannot be read ({reason})", f"Give {_KINDS}") from exc
    except ValueError as exc:
        raise StorageError(f"{path}: not a truth image of this slide ({exc})", _KINDS) from exc


def _outlines_of_truth(name: str, truth: NDArray[Any], map_: ProbabilityMap) -> Outlines:
    truth = _fitted(truth, map_.values.shape)
    present = set(np.unique(truth).tolist())
    if present <= {0, 1, 2}:
        is_idc, judged = truth == 2, _cells_l0(map_, truth > 0)
    elif present == {0, 255}:
        is_idc, judged = truth == 255, None
    else:
        raise ValueError(f"pixels hold {sorted(present)[:8]}, expected 0, 1, 2 or 0, 255")
    whole = _cells_l0(map_, is_idc)
    items = tuple(Outline(str(n), part) for n, part in enumerate(polygons(whole), start=1))
    return Outlines(name, items, judged)


def _check_shape(px: tuple[int, ...], cells: tuple[int, ...]) -> None:
    """Refuse a picture that is not of the map, before it is unpacked: it may be of any size."""
    if len(px) != 2 or abs(px[0] - cells[0]) > 1 or abs(px[1] - cells[1]) > 1:
        raise ValueError(f"{px} px, but the map has {cells} cells: one pixel a cell")


def _fitted(truth: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Cut or pad a truth image by the one row or column in which it may differ from the grid.

    A remainder of a slide below a pixel makes no row of cells here, but may make one elsewhere.
    """
    rows, cols = shape
    _check_shape(truth.shape, shape)
    return np.pad(truth, ((0, 1), (0, 1)))[:rows, :cols]
