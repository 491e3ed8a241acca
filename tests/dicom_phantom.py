"""A DICOM slide (VL Whole Slide Microscopy, tiled JPEG) with one hot square at a known place."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from tests.phantoms import GLASS, HOT, TISSUE, level_box
from wsi_pipeline.geometry import Box, Size

ORIGIN_MM = (20.0, 40.0)
"""Center of the first pixel of level 0 in the slide's coordinate system."""
TILE_PX = 256


@dataclass(frozen=True, slots=True)
class DicomPhantom:
    """A DICOM slide whose every pixel and place is known."""

    path: Path
    """The file of level 0."""
    size_l0: Size
    hot_box_l0: Box
    um_px: tuple[float, float]
    """Of level 0, along x and y."""
    orientation: tuple[float, ...]
    """Direction of a row, then of a column, in the slide's coordinate system."""

    def place_mm(self, x_l0: float, y_l0: float) -> NDArray[np.float64]:
        """Return where a point of level 0 lies in the slide's coordinate system, x and y in mm.

        Whole numbers are the edges of pixels; the origin is the center of the first.
        """
        along_mm = (np.array([x_l0, y_l0]) - 0.5) * self.um_px / 1000
        place: NDArray[np.float64] = (
            ORIGIN_MM + along_mm @ np.reshape(self.orientation, (2, 3))[:, :2]
        )
        return place


def write_dicom_phantom(
    folder: Path,
    *,
    size_l0: Size,
    hot_box_l0: Box,
    um_px: tuple[float, float],
    orientation: Sequence[float] = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0),
    ratios: Sequence[int] = (1, 4),
) -> DicomPhantom:
    """Write one file a level.

    Parameters
    ----------
    folder : Path
    size_l0 : Size
    hot_box_l0 : Box
        Drawn over the tissue, which is everywhere but for a margin of one tile.
    um_px : (float, float)
        Of level 0, along x and y.
    orientation : sequence of float
        Direction of a row, then of a column, in the slide's coordinate system.
    ratios : sequence of int
        Level-0 px per px of each level.
    """
    uids = {
        name: generate_uid(entropy_srcs=[str(folder), name])
        for name in ("study", "series", "frame", "pyramid", "specimen", "dimension")
    }
    paths = []
    for number, ratio in enumerate(ratios, start=1):
        size = Size(size_l0.width // ratio, size_l0.height // ratio)
        tissue = Box(TILE_PX, TILE_PX, size_l0.width - 2 * TILE_PX, size_l0.height - 2 * TILE_PX)
        pixels = np.full((size.height, size.width, 3), GLASS, np.uint8)
        for box_l0, color in ((tissue, TISSUE), (hot_box_l0, HOT)):
            box = level_box(box_l0, ratio)
            pixels[box.y : box.bottom, box.x : box.right] = color
        path = folder / f"level{number}.dcm"
        dataset = _header(path, uids, number, ratio)
        _describe_series(dataset, uids)
        _describe_image(dataset, pixels, ratio)
        _describe_place(dataset, uids, um_px, orientation, ratio)
        _describe_optics(dataset)
        _describe_specimen(dataset, uids)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return DicomPhantom(paths[0], size_l0, hot_box_l0, um_px, tuple(orientation))


def _header(path: Path, uids: dict[str, str], number: int, ratio: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uids["series"], str(number)])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.InstanceNumber = number
    flavor = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.ImageType = flavor if ratio == 1 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    return dataset


def _describe_series(dataset: Dataset, uids: dict[str, str]) -> None:
    dataset.PatientName, dataset.PatientID = "Phantom^Slide", "P1"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.StudyInstanceUID, dataset.StudyID = uids["study"], "S1"
    dataset.StudyDate = dataset.ContentDate = "20260102"
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "A1", ""
    dataset.Modality, dataset.SeriesNumber = "SM", 1
    dataset.SeriesInstanceUID = uids["series"]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uids["frame"], "SLIDE_CORNER"
    dataset.PyramidUID = uids["pyramid"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "Phantoms", "One"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.AcquisitionDateTime = "20260102120000"


def _describe_image(dataset: Dataset, pixels: NDArray[np.uint8], ratio: int) -> None:
    frames = [_jpeg(tile) for tile in _tiles(pixels)]
    dataset.Rows = dataset.Columns = TILE_PX
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = pixels.shape[:2]
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.NumberOfFrames = len(frames)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.BurnedInAnnotation = dataset.SpecimenLabelInImage = "NO"
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.LossyImageCompressionRatio = round(pixels.nbytes / sum(map(len, frames)), 1)
    dataset.VolumetricProperties, dataset.FocusMethod = "VOLUME", "AUTO"
    dataset.ExtendedDepthOfField = "NO"
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True


def _describe_place(
    dataset: Dataset,
    uids: dict[str, str],
    um_px: tuple[float, float],
    orientation: Sequence[float],
    ratio: int,
) -> None:
    x_mm, y_mm = (um * ratio / 1000 for um in um_px)
    dataset.ImagedVolumeWidth = dataset.TotalPixelMatrixColumns * x_mm
    dataset.ImagedVolumeHeight = dataset.TotalPixelMatrixRows * y_mm
    dataset.ImagedVolumeDepth = 1.0
    # All levels share the corner of the slide's picture, so their first pixels' centers differ.
    shift = np.array([(ratio - 1) / 2 * um / 1000 for um in um_px])
    place = ORIGIN_MM + shift @ np.reshape(orientation, (2, 3))[:, :2]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = _decimal(place)
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = _decimal(orientation)
    measures = Dataset()
    measures.SliceThickness, measures.PixelSpacing = 0.001, _decimal((y_mm, x_mm))
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    kind = Dataset()
    kind.FrameType = dataset.ImageType
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [kind]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    shared.OpticalPathIdentificationSequence = [path]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = uids["dimension"]
    dataset.DimensionOrganizationSequence = [organization]


def _describe_optics(dataset: Dataset) -> None:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [_item(codes.DCM.BrightfieldIllumination)]
    path.IlluminationColorCodeSequence = [_item(Code("414298005", "SCT", "Full Spectrum"))]
    path.ObjectiveLensPower = 20.0
    path.ICCProfile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path.ColorSpace = "SRGB"
    dataset.OpticalPathSequence = [path]
    dataset.NumberOfOpticalPaths = 1


def _describe_specimen(dataset: Dataset, uids: dict[str, str]) -> None:
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "B1", uids["specimen"]
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.ContainerIdentifier = "B1"
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = [_item(Code("258661006", "SCT", "Slide"))]
    dataset.AcquisitionContextSequence = []


def _decimal(values: Iterable[float]) -> list[DSfloat]:
    """Return numbers in the 16 characters that DICOM has for them."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _item(code: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _tiles(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles row by row, the last of each row and column filled up with glass."""
    rows, cols = pixels.shape[:2]
    padded = np.full((rows + -rows % TILE_PX, cols + -cols % TILE_PX, 3), GLASS, np.uint8)
    padded[:rows, :cols] = pixels
    for y in range(0, rows, TILE_PX):
        for x in range(0, cols, TILE_PX):
            yield padded[y : y + TILE_PX, x : x + TILE_PX]


def _jpeg(tile: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=90, subsampling="4:2:2")
    return buffer.getvalue()
