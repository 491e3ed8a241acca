"""Slide lists as people's programs write them."""

from __future__ import annotations

import pytest

from tests.cases.conftest import Case


@pytest.mark.row("4+")
def test_a_list_with_a_byte_order_mark(case: Case) -> None:
    """A list saved by Excel as "CSV UTF-8", which begins with a byte order mark."""
    case.slide("s1.tif", mpp=None)
    case.write("list.csv", "slide,mpp_x\r\ns1.tif,4\r\n", "utf-8-sig")
    assert case.run("list.csv").status == 0
    assert case.summary()["s1"]["mpp_x"] == "4"
