"""Names in any script are drawn with their own letters where a font has them, never as boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager

from wsi_pipeline.geometry import Size
from wsi_pipeline.render import fonts
from wsi_pipeline.render.fonts import BASE, drawable
from wsi_pipeline.render.page import Layout, Page


def _forget() -> None:
    for function in (fonts._candidates, fonts._families_with):
        function.cache_clear()


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave matplotlib's own fonts alone."""
    base = [e for e in font_manager.fontManager.ttflist if e.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", base)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    _forget()
    yield
    _forget()


@pytest.fixture
def han_font(
    no_system_fonts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Install a font that has one Chinese character, a full square; return its family."""
    pen = TTGlyphPen(None)
    for move, *point in (("m", 0, 0), ("l", 0, 900), ("l", 900, 900), ("l", 900, 0)):
        (pen.moveTo if move == "m" else pen.lineTo)(tuple(point))
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord("切"): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Wsi Test Han", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "han.ttf"
    builder.save(path)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path)])
    _forget()
    yield "Wsi Test Han"
    _forget()


@pytest.mark.parametrize("words", ["S24-0001 µm ◂", "Препарат", "عينة", "דגימה", "Δείγμα"])
def test_what_the_usual_font_has_is_drawn_with_it(words: str) -> None:
    assert drawable(words) == (words, {})


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("切片一", "QiePianYi"),
        ("スライド1.tif", "suraido1.tif"),
        ("표본", "PyoBon"),
    ],
)
def test_without_a_font_a_name_is_spelled(no_system_fonts: None, words: str, spelled: str) -> None:
    assert drawable(words) == (spelled, {})


def test_a_font_of_the_system_draws_what_it_has_and_the_rest_is_spelled(han_font: str) -> None:
    style = {"fontfamily": [BASE, han_font], "fontweight": "normal"}
    assert drawable("切 1") == ("切 1", style)
    assert drawable("切片") == ("切Pian", style)


def test_a_title_is_drawn_with_the_letters_of_that_font(han_font: str) -> None:
    page = Page(Layout.around(Size(600, 600)))
    page.header("切", "")
    drawn = page.finish()[:60, 24:60].min(axis=2) < 128
    rows, cols = np.nonzero(drawn)
    assert drawn[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1].all(), "the full square"


def test_wide_letters_count_twice_when_a_title_is_cut() -> None:
    from wsi_pipeline.render.page import _shortened

    assert _shortened("切" * 10, 20) == "切" * 10
    assert _shortened("切" * 11, 20) == "切" * 4 + "…" + "切" * 4
    assert _shortened("a" * 21, 20) == "a" * 9 + "…" + "a" * 9
