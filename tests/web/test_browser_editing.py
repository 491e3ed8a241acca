"""Outlines and words are changed as in other programs: typed, drawn, undone, moved, removed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.browsing import needs_browser, open_slide, screen_point, stored_review, until
from tests.web.serving import Run

pytestmark = needs_browser
HOT = (2000, 1200)
SQUARE = ((1000, 1700), (1800, 1700), (1800, 2500), (1000, 2500))


def drag(page: Any, *places: tuple[float, float]) -> None:
    """Drag over places of the image."""
    page.mouse.move(*screen_point(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*screen_point(page, *place), steps=6)
    page.mouse.up()


def draw_square(page: Any) -> None:
    """Draw a square of 0.64 mm², freehand."""
    page.keyboard.press("d")
    drag(page, *SQUARE, (1000, 1720))


def save(page: Any) -> None:
    page.fill("#reviewer", "Dr. Edit")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")


def outline_of(own_run: Run) -> list[list[float]]:
    (item,) = stored_review(own_run)["items"].values()
    corners: list[list[float]] = item["geometry"]["coordinates"][0]
    return corners[:-1]


def test_escape_leaves_a_text_field_and_keys_are_shortcuts_again(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("n")
    page.keyboard.press("c")
    page.keyboard.type("normal ducts, no tumor")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.keyboard.press("0")
    assert page.input_value("#comment") == "normal ducts, no tumor"
    assert page.get_attribute("[data-decide=rejected]", "aria-pressed") == "true"


def test_a_freehand_outline_closes_when_it_is_let_go(page: Any, own_run: Run) -> None:
    open_slide(page)
    draw_square(page)
    page.wait_for_selector("#regions button:has-text('Annotation 1')")
    assert page.get_attribute("[data-do=draw]", "aria-pressed") == "false"
    save(page)
    (item,) = stored_review(own_run)["items"].values()
    assert item["measurements"]["Area mm^2"] == pytest.approx(0.64, rel=0.03)
    assert len(outline_of(own_run)) < 12  # thinned out: it can be edited


def test_undo_and_redo_take_decisions_and_outlines_back_and_forth(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("n")
    page.keyboard.press("a")
    draw_square(page)
    page.wait_for_selector("#regions button:has-text('Annotation 1')")
    page.keyboard.press("Control+z")
    until(page, "document.querySelectorAll('#regions li').length === 1")
    page.keyboard.press("Control+z")
    until(page, "document.getElementById('reviewstate').textContent === 'Nothing saved yet'")
    page.keyboard.press("Control+z")
    assert "Nothing to undo" in page.inner_text("#banner")
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+Shift+Z")
    page.wait_for_selector("#regions button:has-text('Annotation 1')")
    assert page.inner_text("#reviewstate") == "2 unsaved changes"


def test_delete_removes_what_was_drawn_and_explains_why_not_what_was_found(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("n")
    page.keyboard.press("Delete")
    assert "reject it" in page.inner_text("#banner")
    draw_square(page)
    page.wait_for_selector("#regions button:has-text('Annotation 1')")
    page.keyboard.press("Delete")
    until(page, "document.querySelectorAll('#regions li').length === 1")


def test_corners_are_moved_added_and_taken_away_and_the_former_shape_stays_on_record(
    page: Any, own_run: Run
) -> None:
    open_slide(page)
    page.keyboard.press("d")
    for corner in SQUARE:
        page.mouse.click(*screen_point(page, *corner))
        page.wait_for_timeout(350)  # two fast clicks would be a double click
    page.keyboard.press("Enter")
    save(page)
    before = outline_of(own_run)
    assert len(before) == 4
    page.keyboard.press("e")
    drag(page, SQUARE[2], (2200, 2800))  # a corner
    drag(page, (1400, 1700), (1400, 1400))  # an edge: a corner more
    page.keyboard.press("Enter")
    save(page)
    after = outline_of(own_run)
    assert len(after) == 5
    assert any(corner == pytest.approx((2200, 2800), abs=8) for corner in after)
    assert any(corner == pytest.approx((1400, 1400), abs=8) for corner in after)
    (record,) = stored_review(own_run)["history"][-1]["changes"]
    assert record["former_geometry"]["coordinates"][0][:-1] == before
    page.keyboard.press("e")
    page.mouse.click(*screen_point(page, 1400, 1400))
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")
    save(page)
    assert len(outline_of(own_run)) == 4


def test_by_keys_a_corner_is_chosen_moved_and_undone(page: Any) -> None:
    open_slide(page)
    draw_square(page)
    page.wait_for_selector("#regions button:has-text('Annotation 1')")
    area = "document.querySelector('#regions [aria-current] .number').textContent"
    before = page.evaluate(area)
    page.keyboard.press("e")
    page.keyboard.press("n")
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(area) != before
    for _ in range(12):
        page.keyboard.press("Control+z")
    assert page.evaluate(area) == before
    assert page.get_attribute("#edit", "aria-pressed") == "true"  # still at it


def test_leaving_with_an_unfinished_outline_is_asked_about(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("d")
    page.mouse.click(*screen_point(page, *SQUARE[0]))
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.goto("/")
    assert asked == ["beforeunload"]


def test_a_class_is_chosen_with_one_click(page: Any, own_run: Run) -> None:
    open_slide(page)
    page.mouse.click(*screen_point(page, *HOT))
    page.click("[data-class=DCIS]")
    assert page.input_value("#label") == "DCIS"
    assert page.get_attribute("[data-class=DCIS]", "aria-pressed") == "true"
    save(page)
    (item,) = stored_review(own_run)["items"].values()
    assert item["label"] == "DCIS"
