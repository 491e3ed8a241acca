"""What a DICOM object is, from its header: no pixel is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.slides.formats import Known

WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy Image Storage (PS3.4 B.5)."""

_LAST_TAG: Final = 0x00480303  # TotalPixelMatrixFocalPlanes; nothing behind it is read
_TAGS: Final = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "Manufacturer",
    "PhotometricInterpretation",
    "BitsAllocated",
)
_TRANSFER_SYNTAXES: Final[Mapping[str, str]] = {
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "big endian",
    "1.2.840.10008.1.2.4.51": "JPEG of 12 bits",
    "1.2.840.10008.1.2.4.57": "lossless JPEG",
    "1.2.840.10008.1.2.4.70": "lossless JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.111": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "high-throughput JPEG 2000",
    "1.2.840.10008.1.2.4.202": "high-throughput JPEG 2000",
    "1.2.840.10008.1.2.4.203": "high-throughput JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}
_TRANSCODE: Final = (
    "Transcode it to baseline JPEG, for instance with dcm2dcm of dcm4che, or convert it to a "
    "pyramidal TIFF with QuPath or Bio-Formats (bfconvert)"
)


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """The facts of a DICOM object that say what it is; "" where it does not state them."""

    sop_class: str
    sop_class_name: str
    """In words: "Segmentation Storage"."""
    series: str
    """SeriesInstanceUID: what the files of one slide share."""
    manufacturer: str
    transfer_syntax: str
    photometric: str
    bits: int
    """Allocated to a sample; 0 where none are stated."""

    @property
    def is_slide(self) -> bool:
        """True for a file of a whole slide."""
        return self.sop_class == WHOLE_SLIDE

    @property
    def obstacle(self) -> Known | None:
        """Why its pixels cannot be read or classified, None where nothing speaks against it."""
        if not self.is_slide:
            words = self.sop_class_name.removesuffix(" Storage")
            return Known(f"a DICOM object of the kind {words}, no slide", "Name the slide itself")
        if self.photometric.startswith(("MONOCHROME", "PALETTE")):
            return Known(
                f"a DICOM slide without colors ({self.photometric})",
                "The classifier needs the colors of the stain: export the slide in color",
            )
        if self.bits > 8:
            return Known(f"a DICOM slide of {self.bits} bits a sample", "Export it in 8 bits")
        if self.transfer_syntax in _TRANSFER_SYNTAXES:
            codec = _TRANSFER_SYNTAXES[self.transfer_syntax]
            return Known(f"a DICOM slide in {codec}, which is not read here", _TRANSCODE)
        return None


def read_dicom_header(path: Path) -> DicomHeader | None:
    """Return what a DICOM file is, None where it is none or its header is damaged.

    The elements before the pixels are walked over; the values of a few are read.
    """
    import pydicom  # a quarter of a second, for DICOM alone

    try:
        with path.open("rb") as file, pydicom.config.disable_value_validation():
            dataset = pydicom.filereader.read_partial(
                file,
                stop_when=lambda tag, _vr, _length: int(tag) > _LAST_TAG,
                specific_tags=[pydicom.tag.Tag(name) for name in _TAGS],
            )
            return _header(dataset, pydicom.uid.UID)
    # a damaged header surfaces as whatever its first nonsense leads to
    except Exception:  # noqa: BLE001
        return None


def _header(dataset: Any, uid: Any) -> DicomHeader:
    stated = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    sop_class = str(stated or "")
    bits = dataset.get("BitsAllocated")
    return DicomHeader(
        sop_class=sop_class,
        sop_class_name=str(uid(sop_class).name),
        series=str(dataset.get("SeriesInstanceUID", "")),
        manufacturer=str(dataset.get("Manufacturer", "")),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        photometric=str(dataset.get("PhotometricInterpretation", "")),
        bits=int(bits) if bits is not None else 0,
    )
