"""When a slide was scanned, as its file states it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EARLIEST_YEAR: Final = 1995
"""No slide scanner is older: an earlier year, or one to come, is a clock or a placeholder."""

_DATES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("aperio.Date", ("%m/%d/%y", "%m/%d/%Y")),
    ("hamamatsu.Created", ("%Y/%m/%d",)),
    ("leica.creation-date", ("%Y-%m-%d",)),
    ("mirax.GENERAL.SLIDE_CREATIONDATETIME", ("%d/%m/%Y",)),
    ("dicom.AcquisitionDateTime", ("%Y%m%d",)),
    ("dicom.ContentDate", ("%Y%m%d",)),
    ("dicom.StudyDate", ("%Y%m%d",)),
    ("philips.DICOM_ACQUISITION_DATETIME", ("%Y%m%d",)),
    ("tiff.DateTime", ("%Y:%m:%d",)),
)
"""Properties of OpenSlide and their forms, the day alone. The TIFF tag comes last: programs that
convert a slide overwrite it."""


@dataclass(frozen=True, slots=True)
class ScanDate:
    """A day, and where it is stated."""

    day: datetime.date
    source: str
    """Name of the property."""


def stated_scan_date(properties: Mapping[str, str]) -> ScanDate | None:
    """Return the day of the scan from OpenSlide's properties; None where none is plausible."""
    for name, forms in _DATES:
        day = _parse(properties.get(name, ""), forms)
        if day is not None and EARLIEST_YEAR <= day.year <= datetime.date.today().year:
            return ScanDate(day, name)
    return None


def _parse(text: str, forms: tuple[str, ...]) -> datetime.date | None:
    day = text.strip().replace("T", " ").split(" ")[0]
    for form in forms:
        # A time may follow a day without separators directly, as in DICOM.
        digits = day[:8] if form == "%Y%m%d" else day
        try:
            return datetime.datetime.strptime(digits, form).date()
        except ValueError:
            continue
    return None
