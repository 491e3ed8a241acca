"""The day of a scan from what the vendors write, and no day from nonsense."""

from __future__ import annotations

import datetime

import pytest

from wsi_pipeline.slides.scan_date import stated_scan_date


@pytest.mark.parametrize(
    ("name", "text", "day"),
    [
        ("aperio.Date", "12/29/09", (2009, 12, 29)),
        ("aperio.Date", "04/10/2015", (2015, 4, 10)),
        ("hamamatsu.Created", "2012/11/24", (2012, 11, 24)),
        ("leica.creation-date", "2010-05-05T09:13:29.283Z", (2010, 5, 5)),
        ("mirax.GENERAL.SLIDE_CREATIONDATETIME", "02/01/2020 03:04:05", (2020, 1, 2)),
        ("dicom.AcquisitionDateTime", "20181003133000.000000", (2018, 10, 3)),
        ("philips.DICOM_ACQUISITION_DATETIME", "20160412101112", (2016, 4, 12)),
        ("tiff.DateTime", "2019:05:03 10:11:12", (2019, 5, 3)),
    ],
)
def test_each_vendors_form_of_a_day_is_read(
    name: str, text: str, day: tuple[int, int, int]
) -> None:
    found = stated_scan_date({name: text})
    assert found is not None
    assert (found.day, found.source) == (datetime.date(*day), name)


@pytest.mark.parametrize(
    "text", ["", "XX/XX/XXXX", "31/31/2010", "01/01/1970", "01/01/2999", "yesterday"]
)
def test_what_is_no_day_of_a_scan_is_none(text: str) -> None:
    assert stated_scan_date({"aperio.Date": text}) is None


def test_a_slide_that_states_nothing_has_no_day() -> None:
    assert stated_scan_date({"openslide.vendor": "aperio"}) is None


def test_the_scanners_own_date_stands_above_that_of_a_conversion() -> None:
    found = stated_scan_date({"tiff.DateTime": "2024:01:01 00:00:00", "aperio.Date": "12/29/09"})
    assert found is not None
    assert found.source == "aperio.Date"
