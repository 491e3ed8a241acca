"""Pages of HTML: what is not ours is escaped, what is missing is an error, nothing is fetched."""

from __future__ import annotations

import re

import jinja2
import pytest

from wsi_pipeline import NOTICE
from wsi_pipeline.render import templates
from wsi_pipeline.results.gallery import FIELDS, gallery_page

EVIL = "<script>alert('x')</script>"


PAGE = {"title": EVIL, "subtitle": "s", "problems": (), "cautions": (), "footer": "f"}


def preview(**changes: object) -> str:
    return templates.page("preview", page=PAGE | changes, picture="", tables=[("T", [("a", EVIL)])])


def test_names_of_slides_are_text_and_no_markup() -> None:
    html = preview(problems=(EVIL,))
    assert "<script" not in html
    assert (
        html.count("&lt;script&gt;alert(&#39;x&#39;)") == 5
    )  # twice the title, alt, problem, cell


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'picture' is undefined"):
        templates.page("preview", page=PAGE, tables=[])


def test_a_slide_without_problems_is_said_to_be_good() -> None:
    good = "Nothing speaks against this slide"
    assert good in preview()
    assert good not in preview(cautions=("no µm/px",))


def test_every_page_has_the_notice_and_the_one_style_and_asks_for_nothing() -> None:
    for html in (preview(), gallery_page()):
        assert NOTICE in html
        assert ":root { color-scheme: light dark;" in html
        assert html.startswith("<!doctype html>\n")
        assert html.rstrip().endswith("</html>")
        assert not re.search(r"https?://|@import|<link", html)


def test_the_gallery_knows_the_columns_of_its_rows() -> None:
    assert f'const FIELDS = ["{FIELDS[0]}", "{FIELDS[1]}"' in gallery_page()
