"""DICOM results of a DICOM slide, opened by pydicom and highdicom, checked by dciodvfy.

The places that are expected come from the phantom's own arithmetic, those that are found from
highdicom's reading of the files.
"""

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.config import load_config
from wsi_pipeline.errors import ConfigError, SlideError
from wsi_pipeline.export.dicom import write_parametric_map, write_segmentation
from wsi_pipeline.geometry import Box, Mpp, Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from tests.dicom_phantom import DicomPhantom, write_dicom_phantom  # noqa: E402 - needs pydicom

Write = Callable[[ProbabilityMap, Path, Path], None]
WRITERS = pytest.mark.parametrize("write", [write_segmentation, write_parametric_map])
MODEL = Path(__file__).parents[1] / "models" / "darkness"
OBLIQUE = (math.cos(0.5), math.sin(0.5), 0.0, math.sin(0.5), -math.cos(0.5), 0.0)
HALF_A_CELL_MM = 0.2


@pytest.fixture(
    scope="module",
    params=[
        ((1.0, 1.0), (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)),
        ((1.0, 1.0), (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
        ((1.0, 1.02), OBLIQUE),
    ],
    ids=["label up", "lying", "oblique, odd µm/px"],
)
def slide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DicomPhantom:
    """Return a DICOM slide of 2800 x 2000 px in two levels."""
    um_px, orientation = request.param
    return write_dicom_phantom(
        tmp_path_factory.mktemp("dicom"),
        size_l0=Size(2800, 2000),
        hot_box_l0=Box(800, 400, 1200, 800),
        um_px=um_px,
        orientation=orientation,
    )


@pytest.fixture(scope="module")
def run_map(slide: DicomPhantom, tmp_path_factory: pytest.TempPathFactory) -> ProbabilityMap:
    """Return what the whole pipeline makes of the slide."""
    config = load_config(None, {"model": str(MODEL), "execution": {"workers": 1}})
    return ProbabilityMap.open(
        run_slide(slide.path, tmp_path_factory.mktemp("out"), config).map_path
    )


@pytest.fixture
def make_map(slide: DicomPhantom) -> Callable[..., ProbabilityMap]:
    """Return a factory of maps of the slide from their values."""

    def make(values: Any) -> ProbabilityMap:
        array = np.asarray(values, np.float32)
        size = slide.size_l0
        step_l0 = (size.width / array.shape[1], size.height / array.shape[0])
        attributes = {"bounds_l0": [0, 0, size.width, size.height], "version": "0.1.0"}
        return ProbabilityMap(array, np.ones_like(array), (0, 0), step_l0, Mpp(1, 1), attributes)

    return make


def probabilities(path: Path) -> Any:
    """Return the first channel of a result as highdicom puts it together, (rows, cols)."""
    if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG":
        read = highdicom.seg.segread(path).get_total_pixel_matrix(combine_segments=False)
        return read[..., 0]
    return highdicom.imread(path).get_total_pixel_matrix(dtype=np.float32)


def corners_mm(path: Path) -> Any:
    """Return the corners of the hot cells in the slide's coordinate system, (4, 2)."""
    rows, cols = np.nonzero(np.nan_to_num(probabilities(path)) > 0.5)
    to_slide = highdicom.spatial.ImageToReferenceTransformer.for_image(
        pydicom.dcmread(path), for_total_pixel_matrix=True
    )
    left, right = cols.min(), cols.max() + 1
    top, bottom = rows.min(), rows.max() + 1
    around = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return to_slide(np.array(around, float))[:, :2]


@WRITERS
def test_the_hot_square_of_a_run_lies_at_its_place_on_the_slide(
    slide: DicomPhantom, run_map: ProbabilityMap, tmp_path: Path, write: Write
) -> None:
    write(run_map, slide.path, tmp_path / "r.dcm")
    hot = slide.hot_box_l0
    around = [(hot.x, hot.y), (hot.right, hot.y), (hot.right, hot.bottom), (hot.x, hot.bottom)]
    expected_mm = [slide.place_mm(x, y) for x, y in around]
    np.testing.assert_allclose(corners_mm(tmp_path / "r.dcm"), expected_mm, atol=HALF_A_CELL_MM)


@WRITERS
def test_a_single_cell_lies_within_a_micrometer(
    slide: DicomPhantom, make_map: Any, tmp_path: Path, write: Write
) -> None:
    values = np.full((20, 28), 0.2)
    values[8, 16] = 0.8
    write(make_map(values), slide.path, tmp_path / "r.dcm")
    around = [(1600, 800), (1700, 800), (1700, 900), (1600, 900)]
    expected_mm = [slide.place_mm(x, y) for x, y in around]
    np.testing.assert_allclose(corners_mm(tmp_path / "r.dcm"), expected_mm, atol=0.001)


@WRITERS
def test_a_result_belongs_to_the_slides_study_and_frame_of_reference(
    slide: DicomPhantom, run_map: ProbabilityMap, tmp_path: Path, write: Write
) -> None:
    write(run_map, slide.path, tmp_path / "r.dcm")
    result, source = (pydicom.dcmread(p) for p in (tmp_path / "r.dcm", slide.path))
    for name in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "ContainerIdentifier"):
        assert getattr(result, name) == getattr(source, name)
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert result.SeriesInstanceUID != source.SeriesInstanceUID
    np.testing.assert_allclose(result.ImageOrientationSlide, slide.orientation, atol=1e-9)
    spacing_mm = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    np.testing.assert_allclose(spacing_mm, (0.4, 0.4), rtol=1e-6)


@WRITERS
def test_a_map_of_several_frames_comes_back_whole(
    slide: DicomPhantom, make_map: Any, tmp_path: Path, write: Write
) -> None:
    values = np.random.default_rng(0).random((300, 700), np.float32)
    write(make_map(values), slide.path, tmp_path / "r.dcm")
    np.testing.assert_allclose(probabilities(tmp_path / "r.dcm"), values, atol=0.5 / 255)
    assert pydicom.dcmread(tmp_path / "r.dcm").NumberOfFrames % 6 == 0


def test_a_segmentation_holds_probability_and_what_was_classified(
    slide: DicomPhantom, make_map: Any, tmp_path: Path
) -> None:
    map_ = make_map([[np.nan, 0.2], [0.0, 0.8]])
    write_segmentation(map_, slide.path, tmp_path / "s.dcm")
    read = highdicom.seg.segread(tmp_path / "s.dcm")
    assert read.segmentation_type.value == "FRACTIONAL"
    assert [read.get_segment_description(n).segment_label for n in (1, 2)] == ["IDC", "Classified"]
    pixels = read.get_total_pixel_matrix(combine_segments=False)
    np.testing.assert_allclose(pixels[..., 0], np.nan_to_num(map_.values), atol=0.5 / 255)
    np.testing.assert_array_equal(pixels[..., 1] > 0, ~np.isnan(map_.values))


def test_a_parametric_map_holds_the_probabilities_and_nan(
    slide: DicomPhantom, make_map: Any, tmp_path: Path
) -> None:
    map_ = make_map([[np.nan, 0.2], [0.0, 0.8]])
    write_parametric_map(map_, slide.path, tmp_path / "p.dcm")
    np.testing.assert_array_equal(probabilities(tmp_path / "p.dcm"), map_.values)


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None,
    reason="dciodvfy, which judges DICOM files, is not installed (Debian: dicom3tools)",
)
@WRITERS
def test_dciodvfy_finds_no_error(
    slide: DicomPhantom, run_map: ProbabilityMap, tmp_path: Path, write: Write
) -> None:
    write(run_map, slide.path, tmp_path / "r.dcm")
    for file in (*slide.path.parent.glob("*.dcm"), tmp_path / "r.dcm"):
        judged = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        said = (judged.stdout + judged.stderr).splitlines()
        # Its lists are of 2022 and lack QUANTITY, which highdicom calls what such a map shows.
        assert [line for line in said[1:] if "<QUANTITY>" not in line] == []


def test_any_level_stands_for_the_slide_whatever_lies_beside_it(
    slide: DicomPhantom, make_map: Any, tmp_path: Path
) -> None:
    for number, file in enumerate(sorted(slide.path.parent.iterdir())):
        shutil.copy(file, tmp_path / f"IMG{number}")  # archives drop the suffix
    (tmp_path / "README").write_text("no DICOM")
    (tmp_path / "IMG9").write_bytes((tmp_path / "IMG0").read_bytes()[:150])
    write_segmentation(make_map([[0.2, 0.8]]), tmp_path / "IMG1", tmp_path / "s.dcm")
    result = pydicom.dcmread(tmp_path / "s.dcm")
    level_0 = pydicom.dcmread(slide.path)
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == level_0.SOPInstanceUID


@WRITERS
@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("TotalPixelMatrixOriginSequence", "TotalPixelMatrixOrigin"),
        ("FrameOfReferenceUID", "Frame of Reference"),
        ("SharedFunctionalGroupsSequence", "SharedFunctionalGroups"),
    ],
)
def test_a_header_without_a_place_is_refused_by_name(
    slide: DicomPhantom, make_map: Any, tmp_path: Path, write: Write, lost: str, words: str
) -> None:
    dataset = pydicom.dcmread(slide.path)
    delattr(dataset, lost)
    dataset.save_as(tmp_path / "bare.dcm")
    with pytest.raises(SlideError, match=rf"bare\.dcm: .*header.*{words}"):
        write(make_map([[0.5]]), tmp_path / "bare.dcm", tmp_path / "r.dcm")
    assert not (tmp_path / "r.dcm").exists()


@WRITERS
def test_a_slide_that_is_not_dicom_is_refused_with_another_way(
    make_map: Any, tmp_path: Path, write: Write
) -> None:
    (tmp_path / "slide.svs").write_bytes(b"II*\0" * 100)
    with pytest.raises(SlideError, match=r"not a DICOM slide.*geojson or ome-tiff"):
        write(make_map([[0.5]]), tmp_path / "slide.svs", tmp_path / "r.dcm")


def test_a_slide_of_another_size_is_refused(
    slide: DicomPhantom, make_map: Any, tmp_path: Path
) -> None:
    other = replace(make_map([[0.5]]), attributes={"bounds_l0": [0, 0, 9, 9]})
    with pytest.raises(SlideError, match="2800 x 2000 px, but the map was made of"):
        write_segmentation(other, slide.path, tmp_path / "r.dcm")


def test_dicom_that_is_no_slide_is_refused(
    slide: DicomPhantom, make_map: Any, tmp_path: Path
) -> None:
    write_segmentation(make_map([[0.5]]), slide.path, tmp_path / "s.dcm")
    with pytest.raises(SlideError, match="not a whole-slide image"):
        write_segmentation(make_map([[0.5]]), tmp_path / "s.dcm", tmp_path / "r.dcm")


def test_a_moved_slide_is_refused(make_map: Any, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"gone\.dcm: cannot be read"):
        write_segmentation(make_map([[0.5]]), tmp_path / "gone.dcm", tmp_path / "r.dcm")


def test_without_highdicom_the_way_to_get_it_is_said(
    make_map: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="pip install highdicom"):
        write_segmentation(make_map([[0.5]]), tmp_path / "slide.dcm", tmp_path / "r.dcm")
