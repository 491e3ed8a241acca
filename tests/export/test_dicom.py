"""DICOM results, opened again by highdicom, in the slide's own frame of reference."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_pipeline.errors import ConfigError, SlideError
from wsi_pipeline.export.dicom import write_parametric_map, write_segmentation
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.probability import ProbabilityMap

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

WRITERS = pytest.mark.parametrize("write", [write_segmentation, write_parametric_map])


@pytest.fixture
def map_() -> ProbabilityMap:
    """Return a map of the DICOM slide: 8 x 11 cells of 200 px, one hot, one not classified."""
    values = np.full((8, 11), 0.2, np.float32)
    values[5, 8] = 0.8
    values[0, 0] = np.nan
    attributes = {
        "bounds_l0": [0, 0, 2040, 1530],
        "version": "0.1.0",
        "model": {"name": "rule", "sha256": "ab" * 32},
    }
    return ProbabilityMap(
        values, np.ones_like(values), (0, 0), (200.0, 200.0), Mpp(2, 2), attributes
    )


def _level_0(slide: Path) -> Any:
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in slide.parent.glob("*.dcm")]
    return next(h for h in headers if "VOLUME" in h.ImageType)


def _slide_mm(slide: Path, x_l0: float, y_l0: float) -> NDArray[np.float64]:
    """Return where a level-0 pixel's center lies on the slide, by highdicom's own arithmetic."""
    level_0 = _level_0(slide)
    transformer = highdicom.spatial.PixelToReferenceTransformer.for_image(
        level_0, for_total_pixel_matrix=True
    )
    place: NDArray[np.float64] = transformer(np.array([[round(x_l0), round(y_l0)]]))[0]
    return place


@WRITERS
def test_the_hot_cell_lies_at_its_place_in_the_frame_of_reference(
    dicom_slide: Path, map_: ProbabilityMap, tmp_path: Path, write: Any
) -> None:
    write(map_, dicom_slide, tmp_path / "r.dcm")
    result = pydicom.dcmread(tmp_path / "r.dcm")
    transformer = highdicom.spatial.PixelToReferenceTransformer.for_image(
        result, for_total_pixel_matrix=True
    )
    found_mm = transformer(np.array([[8, 5]]))[0]
    # Cell (5, 8) covers 1600..1800 x 1000..1200 px; within a pixel, as the helper rounds.
    np.testing.assert_allclose(found_mm, _slide_mm(dicom_slide, 1699.5, 1099.5), atol=0.003)
    assert result.FrameOfReferenceUID == _level_0(dicom_slide).FrameOfReferenceUID
    assert result.StudyInstanceUID == _level_0(dicom_slide).StudyInstanceUID
    assert result.DimensionOrganizationType == "TILED_FULL"


def test_a_segmentation_holds_probability_and_what_was_classified(
    dicom_slide: Path, map_: ProbabilityMap, tmp_path: Path
) -> None:
    write_segmentation(map_, dicom_slide, tmp_path / "s.dcm")
    read = highdicom.seg.segread(tmp_path / "s.dcm")
    assert read.segmentation_type.value == "FRACTIONAL"
    assert [read.get_segment_description(n).segment_label for n in (1, 2)] == ["IDC", "Classified"]
    pixels = read.get_total_pixel_matrix(combine_segments=False)
    np.testing.assert_allclose(pixels[..., 0], np.nan_to_num(map_.values), atol=0.5 / 255)
    np.testing.assert_array_equal(pixels[..., 1] > 0, ~np.isnan(map_.values))


def test_a_parametric_map_holds_the_probabilities_and_nan(
    dicom_slide: Path, map_: ProbabilityMap, tmp_path: Path
) -> None:
    write_parametric_map(map_, dicom_slide, tmp_path / "p.dcm")
    pixels = highdicom.imread(tmp_path / "p.dcm").get_total_pixel_matrix(dtype=np.float32)
    np.testing.assert_array_equal(pixels, map_.values)


@WRITERS
def test_a_slide_that_is_not_dicom_is_refused_with_another_way(
    map_: ProbabilityMap, tmp_path: Path, write: Any
) -> None:
    (tmp_path / "slide.svs").write_bytes(b"II*\0" * 100)
    with pytest.raises(SlideError, match=r"not a DICOM slide.*geojson or ome-tiff"):
        write(map_, tmp_path / "slide.svs", tmp_path / "r.dcm")


def test_a_slide_of_another_size_is_refused(
    dicom_slide: Path, map_: ProbabilityMap, tmp_path: Path
) -> None:
    other = ProbabilityMap(
        map_.values, map_.tissue, (0, 0), (200.0, 200.0), Mpp(2, 2), {"bounds_l0": [0, 0, 9, 9]}
    )
    with pytest.raises(SlideError, match="2040 x 1530 px, but the map was made of"):
        write_segmentation(other, dicom_slide, tmp_path / "r.dcm")


def test_a_moved_slide_is_refused(map_: ProbabilityMap, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"gone\.dcm: cannot be read"):
        write_segmentation(map_, tmp_path / "gone.dcm", tmp_path / "r.dcm")


def test_without_highdicom_the_way_to_get_it_is_said(
    map_: ProbabilityMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="pip install highdicom"):
        write_segmentation(map_, tmp_path / "slide.dcm", tmp_path / "r.dcm")
