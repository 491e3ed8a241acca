"""The screen never contradicts itself: one threshold, one set of colors, numbers and words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.web.browsing import (
    canvas_color,
    needs_browser,
    open_slide,
    screen_point,
    stored_review,
    until,
)
from tests.web.serving import Run
from wsi_pipeline.config import load_config
from wsi_pipeline.maps import ProbabilityMap, write_map
from wsi_pipeline.results.rendering import render_slide

pytestmark = needs_browser
HOT, MILD = (2000, 1200), (3400, 2600)


def figures(page: Any) -> list[str]:
    shown: list[str] = page.locator("#figures dd").all_text_contents()
    return shown


def test_after_render_header_chip_colors_outlines_and_store_have_one_threshold(
    page: Any, own_run: Run
) -> None:
    folder = own_run.out / "slides" / "case 1"
    render_slide(folder, load_config(None, {"regions": {"threshold": 0.25, "low_share": 1}}))
    open_slide(page)
    assert ProbabilityMap.open(folder / "probability.zarr").threshold == 0.25
    assert page.input_value("#thresholdvalue") == "0.25"
    assert page.inner_text("#points [aria-pressed=true]") == "results 0.250"
    assert page.inner_text("#figuresat") == "At p ≥ 0.250, as the results stand"
    assert figures(page)[0] == "0.80 mm²"
    assert page.locator("#regions li").count() == 2
    assert canvas_color(page, *MILD)[3] > 0
    page.goto("/slides/case 1/report")
    page.wait_for_selector("body[data-ready]")
    assert "Threshold 0.250" in page.inner_text("#report")
    assert "0.80 mm²" in page.inner_text("#report")


def test_header_and_list_follow_the_slider(page: Any) -> None:
    open_slide(page)
    assert figures(page) == ["0.64 mm²", "12.5 mm²", "5.0 %"]
    page.fill("#threshold", "0.25")
    until(page, "document.querySelectorAll('#regions li').length === 2")
    assert figures(page)[0] == "0.80 mm²"
    assert page.inner_text("#figuresat").endswith("the results on disk stand at 0.500")
    page.fill("#threshold", "1")
    until(page, "document.querySelectorAll('#regions li').length === 0")
    assert figures(page)[0] == "0.00 mm²"
    assert page.inner_text("#regioncount") == "None at this threshold"


def test_a_decision_at_another_threshold_is_shown_as_such(page: Any, own_run: Run) -> None:
    open_slide(page)
    page.fill("#reviewer", "Dr. At")
    page.click("#regions li:nth-child(1) button")
    page.click("[data-decide=accepted]")
    page.fill("#threshold", "0.25")
    page.wait_for_selector("#regions li:nth-child(2)")
    page.click("#regions li:nth-child(2) button")
    page.click("[data-decide=rejected]")
    page.click("#save")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")
    thresholds = sorted(item["threshold"] for item in stored_review(own_run)["items"].values())
    assert thresholds == [0.25, 0.5]  # numbers: what "the run's own" is may change
    page.reload()
    page.wait_for_selector("#regions .elsewhere")
    assert "IDC at p ≥ 0.250" in page.inner_text("#regions .elsewhere")
    page.click("#regions .elsewhere")
    assert page.is_visible("#elsewhere")


def test_a_slow_layer_that_was_left_never_wins(page: Any, own_run: Run) -> None:
    folder = own_run.out / "slides" / "case 1"
    other = np.full_like(own_run.map_.values, 0.99)
    write_map(replace(own_run.map_, raw=other, uncertainty=other), folder / "probability.zarr")
    (folder / "status.json").touch()  # the map that was read before is out of date
    waiting: list[Any] = []
    page.route("**/layers/raw*", lambda route: waiting.append(route))
    open_slide(page)
    before = canvas_color(page, *HOT)
    page.select_option("#layer", "raw")
    page.select_option("#layer", "probability")
    until(page, "document.getElementById('layer').value === 'probability'")
    for route in waiting:
        route.continue_()
    page.wait_for_timeout(300)
    assert canvas_color(page, *HOT) == before
    assert page.inner_text("#legendname") == "Probability of IDC"


def test_the_viewer_has_the_colors_of_the_runs_pictures(page: Any, own_run: Run) -> None:
    folder = own_run.out / "slides" / "case 1"
    render_slide(folder, load_config(None, {"render": {"colormap": "turbo"}}))
    open_slide(page)
    assert page.input_value("#colormap") == "turbo"
    red, green, blue, _ = canvas_color(page, *HOT)
    assert red > 100 > max(green, blue)  # turbo's dark red at 0.94
    page.select_option("#colormap", "magma")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#colormap") == "turbo"  # card, overlay and report still have it


def test_regions_have_the_numbers_of_the_overlay_on_the_slide(page: Any) -> None:
    open_slide(page)
    x, y = screen_point(page, 2400, 800)  # the upper right corner of region 1
    halo = """([x, y]) => {
        const canvas = document.getElementById("overlay");
        const frame = canvas.getBoundingClientRect();
        const scale = devicePixelRatio;
        const left = (x - frame.left) * scale;
        const top = (y - frame.top - 18) * scale;
        const data = canvas.getContext("2d").getImageData(left + 2, top, 16, 16).data;
        let white = 0;
        for (let i = 0; i < data.length; i += 4) white += data[i] === 255 && data[i + 2] === 255;
        return white; }"""
    assert page.evaluate(halo, [x, y]) > 10
    page.keyboard.press("l")
    assert page.evaluate(halo, [x, y]) == 0


def test_words_say_why_an_outline_encloses_cells_below_the_threshold(page: Any) -> None:
    open_slide(page)
    words = page.inner_text("#outlinerules")
    assert "reaches 0.500 and goes on over touching cells down to 0.400" in words
    assert "may enclose cells below the threshold" in words


def test_at_high_zoom_the_map_leaves_nuclei_visible_unless_asked_not_to(page: Any) -> None:
    page.goto("/slides/case 1#x=2000&y=1200&z=0.5")
    page.wait_for_selector("body[data-ready]")
    until(page, "document.getElementById('zoom').textContent.includes('×20')")
    assert canvas_color(page, *HOT)[3] == pytest.approx(0.2 * 0.6 * 255, abs=3)
    assert page.inner_text("#opacityvalue") == "12 % here"
    page.uncheck("#fade")
    assert canvas_color(page, *HOT)[3] == pytest.approx(0.6 * 255, abs=3)
    assert page.inner_text("#opacityvalue") == "60 %"


def test_opacity_is_remembered_and_its_keys_are_on_every_keyboard(page: Any) -> None:
    open_slide(page)
    press = """(more) => document.body.dispatchEvent(
        new KeyboardEvent("keydown", { key: "[", bubbles: true, ...more }))"""
    for more in ({"altKey": True, "ctrlKey": True}, {"altKey": True}, {}):
        page.evaluate(press, more)  # German and French Windows, a Mac, others
    assert page.inner_text("#opacityvalue") == "45 %"
    page.keyboard.press("k")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.inner_text("#opacityvalue") == "50 %"
    assert page.input_value("#opacity") == "0.5"


def test_beside_a_second_view_minimap_and_tools_stay_and_are_right(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("1")
    until(page, "document.getElementById('zoom').textContent.startsWith('1.00')")
    tools = page.locator(".tools").bounding_box()
    minimap = page.locator("#minimap").bounding_box()
    page.keyboard.press("s")
    page.wait_for_selector("#plain canvas")
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert page.inner_text("#zoom").startswith("1.00")  # the same magnification
    assert page.locator(".tools").bounding_box() == tools
    assert page.locator("#minimap").bounding_box() == minimap
    shown = page.locator("#main").bounding_box()
    frame = page.locator("#minimap .displayregion").bounding_box()
    px_per_image_px = minimap["width"] / 4096
    assert frame["width"] == pytest.approx(shown["width"] * px_per_image_px, abs=6)
    x, _ = screen_point(page, 0, 0)
    left = (shown["x"] - x) * px_per_image_px
    assert frame["x"] - minimap["x"] == pytest.approx(left, abs=6)


def test_a_distance_is_measured_in_millimeters(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("m")
    page.mouse.move(*screen_point(page, 1000, 600))
    page.mouse.down()
    page.mouse.move(*screen_point(page, 1000, 1600), steps=4)
    page.mouse.up()
    words = page.inner_text("#banner")
    assert words.startswith("Distance: ")
    amount, unit = words.removeprefix("Distance: ").split()
    assert float(amount) * {"mm": 1000, "µm": 1}[unit] == pytest.approx(1000, rel=0.02)
    page.keyboard.press("Escape")
    assert page.get_attribute("[data-do=measure]", "aria-pressed") == "false"


def test_downloads_are_named_after_the_slide(page: Any) -> None:
    open_slide(page)
    with page.expect_download() as download:
        page.click("#geojson")
    assert download.value.suggested_filename == "case 1_review.geojson"
    page.goto("/slides/case 1/report")
    page.wait_for_selector("body[data-ready]")
    assert page.title() == "case 1 report"  # what a browser proposes for the PDF
