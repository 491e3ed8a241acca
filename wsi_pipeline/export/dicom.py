"""DICOM: the map as a fractional segmentation or a parametric map in the slide's own frame.

Only for DICOM slides: the objects refer to the slide's study, specimen and frame of reference,
which no other format states. highdicom is an optional dependency, imported when asked for.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_pipeline import NOTICE
from wsi_pipeline.errors import ConfigError, SlideError
from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps.map import ProbabilityMap

logger = logging.getLogger(__name__)

MANUFACTURER: Final = "wsi_pipeline developers"
_MAX_TILE: Final = 256


def write_segmentation(map_: ProbabilityMap, slide_path: Path, path: Path) -> None:
    """Write the map as a fractional DICOM segmentation, one pixel a cell.

    Segment 1 is the probability of IDC in steps of 1/255. A segmentation cannot say "not
    classified", so segment 2 is 1 where a cell was classified.

    Parameters
    ----------
    map_ : ProbabilityMap
    slide_path : Path
        Any file of the DICOM slide.
    path : Path

    Raises
    ------
    ConfigError
        Without the package highdicom.
    SlideError
        Where the slide is not DICOM or not the one of the map.
    StorageError
        Where the file cannot be written.
    """
    highdicom = _highdicom()
    source = _source_image(slide_path, map_)
    known = ~np.isnan(map_.values)
    stacked = np.stack([np.where(known, map_.values, 0), known], axis=-1).astype(np.float32)
    with _naming(slide_path):
        segmentation = highdicom.seg.Segmentation(
            pixel_array=stacked[np.newaxis],
            segmentation_type="FRACTIONAL",
            fractional_type="PROBABILITY",
            max_fractional_value=255,
            segment_descriptions=_segments(highdicom, map_),
            omit_empty_frames=False,
            content_label="IDC",
            **_shared(highdicom, map_, source, "segmentation"),
        )
    # Of type 2C in the General Image module: unknown for tissue on glass, yet it has to be there.
    segmentation.PatientOrientation = None
    write_atomic(path, _encode(segmentation))


def write_parametric_map(map_: ProbabilityMap, slide_path: Path, path: Path) -> None:
    """Write the map as a DICOM parametric map of 32-bit floats, one pixel a cell.

    Takes and raises what `write_segmentation` does. Cells that were not classified are NaN: any
    number would have to lie outside the range that the real world value mapping declares.
    """
    highdicom = _highdicom()
    from pydicom.sr.codedict import codes

    source = _source_image(slide_path, map_)
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="1",
        lut_explanation="Probability of invasive ductal carcinoma",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
    )
    with _naming(slide_path):
        parametric_map = highdicom.pm.ParametricMap(
            pixel_array=map_.values,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(window_center=0.5, window_width=1.0)
            ],
            content_label="IDC",
            **_shared(highdicom, map_, source, "parametric map"),
        )
    write_atomic(path, _encode(parametric_map))


def _highdicom() -> Any:
    try:
        import highdicom
        import highdicom.pm
        import highdicom.seg
    except ImportError as exc:
        raise ConfigError(
            "DICOM export needs the package highdicom, which is not installed",
            "Install it with: pip install highdicom",
        ) from exc
    return highdicom


@contextmanager
def _naming(slide_path: Path) -> Iterator[None]:
    """Say which slide it is whose header lacks what a DICOM result has to repeat."""
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise SlideError(
            f"{slide_path.name}: its DICOM header cannot be built on ({exc})",
            "Export to geojson or ome-tiff, or convert the slide again",
        ) from exc


def _source_image(slide_path: Path, map_: ProbabilityMap) -> Any:
    """Return the header of the slide's full-resolution instance."""
    given = _given_header(slide_path)
    levels = [
        header
        for header in (given, *_neighbors(slide_path))
        if header.get("SeriesInstanceUID") == given.get("SeriesInstanceUID")
        and "VOLUME" in header.get("ImageType", [])
    ]
    if not levels:
        raise SlideError(
            f"{slide_path.name}: DICOM, but not a whole-slide image", "Give a file of the slide"
        )
    source = max(levels, key=lambda h: int(h.TotalPixelMatrixColumns))
    size = (int(source.TotalPixelMatrixColumns), int(source.TotalPixelMatrixRows))
    if size != map_.bounds_l0[2:]:
        raise SlideError(
            f"{slide_path.name}: level 0 has {size[0]} x {size[1]} px, but the map was made of a "
            f"slide of {map_.bounds_l0[2]} x {map_.bounds_l0[3]} px",
            "Give the slide that was run",
        )
    return source


def _given_header(slide_path: Path) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(slide_path, stop_before_pixels=True)
    except OSError as exc:
        raise SlideError(
            f"{slide_path}: cannot be read ({exc.strerror})", "Say where the slide lies now"
        ) from exc
    except InvalidDicomError as exc:
        raise SlideError(
            f"{slide_path.name}: not a DICOM slide, so there is no frame of reference to place a "
            "DICOM result in",
            "Export to geojson or ome-tiff, or convert the slide to DICOM and run that",
        ) from exc


def _neighbors(slide_path: Path) -> Iterator[Any]:
    """Yield the headers of the other DICOM files of the folder; archives often drop the suffix."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    for file in sorted(slide_path.parent.iterdir()):
        if file == slide_path or file.suffix != slide_path.suffix or not file.is_file():
            continue
        try:
            yield pydicom.dcmread(file, stop_before_pixels=True)
        except (OSError, InvalidDicomError):
            logger.debug("%s is not DICOM or cannot be read, and is passed over", file)


def _shared(
    highdicom: Any, map_: ProbabilityMap, source: Any, kind: str
) -> dict[str, Any]:  # for highdicom
    """Return what both objects say: identity, place, software."""
    import pydicom
    from pydicom.uid import generate_uid

    content = hashlib.sha256(map_.values.tobytes()).hexdigest()
    identity = [str(source.SOPInstanceUID), kind, content]
    measures = source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    # DICOM: spacing between rows (y) first. The slide's own figures keep the result aligned with
    # it even where a run was told another µm/px.
    row_mm, col_mm = (float(spacing) for spacing in measures.PixelSpacing)
    rows, cols = map_.values.shape
    return {
        "source_images": [source],
        "series_instance_uid": generate_uid(entropy_srcs=[*identity, "series"]),
        "series_number": 900,
        "sop_instance_uid": generate_uid(entropy_srcs=[*identity, "instance"]),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "wsi_pipeline",
        "software_versions": str(map_.attributes.get("version", "unknown")),
        "device_serial_number": "0",
        "content_description": NOTICE,
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=(row_mm * map_.step_l0[1], col_mm * map_.step_l0[0]),
            slice_thickness=float(measures.get("SliceThickness", 0.001)),
        ),
        "plane_positions": [_plane_position(highdicom, map_, source, row_mm, col_mm)],
        "plane_orientation": highdicom.PlaneOrientationSequence(
            "SLIDE", image_orientation=[float(v) for v in source.ImageOrientationSlide]
        ),
        "tile_pixel_array": True,
        "tile_size": (min(rows, _MAX_TILE), min(cols, _MAX_TILE)),
        # A map has few frames, so that each can state its place: readers that are older than the
        # leave to omit it (TILED_FULL for results), dciodvfy among them, refuse the shorter form.
        "dimension_organization_type": "TILED_SPARSE",
        "transfer_syntax_uid": pydicom.uid.ExplicitVRLittleEndian,
    }


def _plane_position(
    highdicom: Any, map_: ProbabilityMap, source: Any, row_mm: float, col_mm: float
) -> Any:
    """Return where the *center* of cell (0, 0) lies, in mm of the slide's coordinate system."""
    origin = source.TotalPixelMatrixOriginSequence[0]
    corner = np.array(
        [
            float(origin.XOffsetInSlideCoordinateSystem),
            float(origin.YOffsetInSlideCoordinateSystem),
            float(origin.get("ZOffsetInSlideCoordinateSystem", 0.0)),
        ]
    )
    orientation = np.array([float(v) for v in source.ImageOrientationSlide]).reshape(2, 3)
    # The origin is the center of the first level-0 pixel, hence the half pixel.
    offset_px = np.array(map_.origin_l0) + np.array(map_.step_l0) / 2 - 0.5
    place = corner + (offset_px * (col_mm, row_mm)) @ orientation
    return highdicom.PlanePositionSequence(
        coordinate_system="SLIDE", image_position=tuple(place), pixel_matrix_position=(1, 1)
    )


def _segments(highdicom: Any, map_: ProbabilityMap) -> list[Any]:
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    tissue = Code("85756007", "SCT", "Tissue")
    meanings = (
        (
            "IDC",
            Code("49755003", "SCT", "Morphologically Abnormal Structure"),
            Code("82711006", "SCT", "Infiltrating duct carcinoma"),
        ),
        ("Classified", tissue, tissue),
    )
    model = map_.attributes.get("model", {})
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=str(model.get("name", "unknown")),
        version=str(model.get("sha256", "unknown"))[:16],
        family=codes.DCM.ArtificialIntelligence,
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=category,
            segmented_property_type=kind,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, (label, category, kind) in enumerate(meanings, start=1)
    ]


def _encode(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()
