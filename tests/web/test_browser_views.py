"""What a pathologist sees and reaches on the pages, each view of the application once."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.web.browsing import (
    canvas_color,
    needs_browser,
    open_slide,
    say_that_it_is_a_duplicate,
    screen_point,
    stored_review,
    until,
)
from tests.web.serving import Run

pytestmark = needs_browser
HOT = (2000, 1200)
AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")


def shown_um(label: str) -> float:
    number, unit = label.split()
    return float(number) * {"mm": 1000, "µm": 1}[unit]


def test_the_scale_bar_is_as_long_as_it_says_at_every_zoom(page: Any) -> None:
    open_slide(page)
    seen = set()
    for _ in range(10):
        bar, label, um_px = page.evaluate(
            """() => [document.querySelector("#scale i").offsetWidth,
                      document.querySelector("#scale span").textContent,
                      parseFloat(document.getElementById("zoom").textContent)]"""
        )
        assert bar * um_px == pytest.approx(shown_um(label), rel=0.03)  # whole px, three digits
        assert 55 <= bar <= 165
        seen.add(label)
        page.keyboard.press("+")
        page.wait_for_timeout(30)
    assert len(seen) > 3


def test_turned_by_keys_the_map_stays_on_the_slide_and_the_address_keeps_it(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("r")
    until(page, "location.hash.includes('r=90')")
    corner, beside = screen_point(page, 0, 0), screen_point(page, 4096, 0)
    assert beside[0] == pytest.approx(corner[0], abs=1)  # the top edge now runs downwards
    assert beside[1] > corner[1] + 100
    page.mouse.move(*screen_point(page, *HOT))
    page.wait_for_selector("#tip:not([hidden])")
    assert page.inner_text("#cursor").endswith("p 0.938")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    until(page, "document.getElementById('osd') && location.hash.includes('r=90')")
    page.keyboard.press("R")
    until(page, "!location.hash.includes('r=')")


def test_a_deep_link_shows_its_place(page: Any) -> None:
    page.goto("/slides/case 1#x=2000&y=1200&z=0.5")
    page.wait_for_selector("body[data-ready]")
    until(page, "document.getElementById('zoom').textContent.startsWith('0.500')")
    frame = page.locator("#main").bounding_box()
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    assert screen_point(page, *HOT) == pytest.approx(middle, abs=2)
    page.goto("/slides/case 1#x=words&y=&z=-1")
    page.wait_for_selector("body[data-ready]")


def test_the_minimap_shows_the_whole_slide_above_the_map_and_a_click_goes_there(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("1")
    until(page, "document.getElementById('zoom').textContent.startsWith('1.00')")
    box = page.locator("#minimap").bounding_box()
    x, y = box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"]
    on_top = (
        "([x, y]) => document.getElementById('minimap').contains(document.elementFromPoint(x, y))"
    )
    assert page.evaluate(on_top, [x, y])
    layer = "id => Number(getComputedStyle(document.getElementById(id)).zIndex) || 0"
    assert page.evaluate(layer, "minimap") > page.evaluate(layer, "overlay")
    page.mouse.click(x, y)
    until(page, "Number(new URLSearchParams(location.hash.slice(1)).get('x')) > 2700")


def test_full_screen_keeps_panel_and_slide_and_goes_back(page: Any) -> None:
    open_slide(page)
    page.click("[data-do=full]")
    until(page, "document.fullscreenElement?.classList.contains('viewer')")
    assert page.is_visible("#panel")
    page.keyboard.press("g")
    until(page, "!document.fullscreenElement")


def test_flicker_shows_and_hides_the_map_in_turn(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("f")
    states = set()
    for _ in range(8):
        page.wait_for_timeout(200)
        states.add(canvas_color(page, *HOT)[3] > 0)
    assert states == {True, False}
    page.keyboard.press("f")
    assert canvas_color(page, *HOT)[3] > 0


def test_beside_the_map_the_bare_slide_shows_the_same_place(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("s")
    page.wait_for_selector("#plain canvas")
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    # the violet of the hot box fills the middle of the bare slide, with no map over it
    colors = page.evaluate(
        """() => [...document.querySelectorAll("#plain .osd canvas")].map((canvas) =>
             [...canvas.getContext("2d")
               .getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data])"""
    )
    assert any(np.abs(np.array(c[:3]) - (96, 52, 128)).max() <= 8 for c in colors), colors


def test_regions_are_listed_by_area_and_a_click_flies_there(page: Any) -> None:
    open_slide(page)
    page.fill("#threshold", "0.25")
    page.wait_for_selector("#regions li:nth-child(2)")
    areas = page.locator("#regions .number:nth-child(3)").all_text_contents()
    assert areas == ["0.64 mm²", "0.16 mm²"]
    page.click("#regions li:nth-child(2) button")
    page.wait_for_timeout(200)
    frame = page.locator("#main").bounding_box()
    x, y = screen_point(page, 3400, 2600)
    assert abs(x - frame["x"] - frame["width"] / 2) < 60
    assert abs(y - frame["y"] - frame["height"] / 2) < 60


def test_the_review_is_fetched_as_geojson_with_its_history(page: Any, own_run: Run) -> None:
    open_slide(page)
    page.keyboard.press("n")
    page.keyboard.press("x")
    page.fill("#reviewer", "Dr. Out")
    page.click("#save")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")
    page.click("summary:has-text('History')")
    assert "Dr. Out, 1 change" in page.inner_text("#history")
    with page.expect_download() as download:
        page.click("#geojson")
    (feature,) = json.loads(Path(download.value.path()).read_text())["features"]
    assert feature["properties"]["classification"]["name"] == "Ignore*"
    assert feature["properties"]["metadata"]["Reviewer"] == "Dr. Out"
    assert feature["id"] in stored_review(own_run)["items"]


def test_leaving_with_unsaved_changes_is_asked_about(page: Any) -> None:
    open_slide(page)
    page.mouse.click(*screen_point(page, *HOT))
    page.click("[data-decide=accepted]")
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.goto("/")
    assert asked == ["beforeunload"]


def test_without_its_file_a_slide_is_zoomed_reviewed_and_measured(page: Any) -> None:
    open_slide(page, "gone")
    page.keyboard.press("+")
    page.mouse.move(*screen_point(page, *HOT))
    page.wait_for_selector("#tip:not([hidden])")
    assert page.inner_text("#cursor").endswith("p 0.938")
    assert page.inner_text("#scale").split()[1] in ("µm", "mm")


def test_an_archive_of_thousands_shows_a_part_and_finds_any(page: Any, address: str) -> None:
    def row(n: int) -> dict[str, Any]:
        failed = {"state": "failed", "error": "no mpp", "advice": "Give --mpp"}
        shown = failed if n % 1000 == 7 else {"state": "done", "idc_mm2": n / 100, "regions": 3}
        review = {"accepted": 0, "rejected": 0, "reviewer": None, "time": None}
        return {"slide_id": f"case-{n:04d}", "fingerprint": "0", **shown, "review": review}

    archive = {"notice": "", "run": {"name": "many"}, "slides": [row(n) for n in range(5000)]}
    page.route("**/api/archive", lambda route: route.fulfill(json=archive))
    page.goto("/")
    page.wait_for_selector(".card")
    assert "5,000 slides · 4,995 done, 5 failed" in page.inner_text("#summary")
    assert page.locator(".card").count() <= 200
    assert page.inner_text(".card .title a") == "case-4999"
    page.locator("#more").scroll_into_view_if_needed()
    until(page, "document.querySelectorAll('.card').length > 150")
    page.fill("#find", "0007")
    assert page.locator(".card .title a").all_text_contents() == ["case-0007"]
    page.fill("#find", "")
    page.select_option("#sort", "state")
    first = page.locator(".card .badge").all_text_contents()[:6]
    assert first == ["failed"] * 5 + ["done"]
    took = page.evaluate(
        """() => { const start = performance.now();
                   const find = document.getElementById("find");
                   find.value = "case"; find.dispatchEvent(new Event("input", {bubbles: true}));
                   find.offsetHeight; return performance.now() - start; }"""
    )
    assert took < 3000  # generous: the machine may be busy


def test_a_field_is_shown_with_the_probability_of_each_patch(page: Any) -> None:
    field = np.full((100, 150, 3), 230, np.uint8)
    field[50:, 100:] = (45, 5, 25)  # stained: a gray picture is refused
    buffer = BytesIO()
    Image.fromarray(field).save(buffer, "PNG")
    page.goto("/classify")
    page.wait_for_selector("#card td")
    upload = {"name": "field.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    page.set_input_files("#file", upload)
    page.wait_for_selector("#field:not([hidden])")
    assert "highest of 6 patches (3 × 2)" in page.inner_text("#what")
    assert "differ by ± 0.000" in page.inner_text("#spread")
    pixel = """([id, x, y]) => {
        const canvas = document.getElementById(id);
        const context = canvas.getContext("2d");
        return [...context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data]; }"""
    assert page.evaluate(pixel, ["fieldpicture", 0.9, 0.8])[:3] == [45, 5, 25]
    tinted = page.evaluate(pixel, ["fieldmap", 0.9, 0.8])
    assert tinted[0] > 120 > tinted[2]  # toward the yellow end of the color map
    glass = page.evaluate(pixel, ["fieldmap", 0.25, 0.3])
    assert min(glass[:3]) > 160  # a low probability does not turn the field black
    assert page.evaluate(pixel, ["explained", 0.5, 0.5])[3] == 255
    rows = page.locator("#calls tr").all_text_contents()
    assert rows == ["balanced0.500IDC", "high sensitivity0.250IDC"]


def test_a_dropped_picture_is_classified(page: Any, picture: Callable[..., bytes]) -> None:
    page.goto("/classify")
    page.wait_for_selector("#card td")
    page.evaluate(
        """(bytes) => {
             const dataTransfer = new DataTransfer();
             const file = new File([new Uint8Array(bytes)], "p.png", { type: "image/png" });
             dataTransfer.items.add(file);
             const dropped = new DragEvent("drop", { dataTransfer, bubbles: true });
             document.getElementById("drop").dispatchEvent(dropped); }""",
        list(picture()),
    )
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#probability") == "0.800"
    assert page.is_hidden("#field")


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Any) -> None:
    open_slide(page)
    page.mouse.click(*screen_point(page, *HOT))
    page.click("[data-decide=accepted]")  # from now on there is something to save
    reached, bare = set(), []
    page.evaluate("document.activeElement.blur()")
    for _ in range(70):
        page.keyboard.press("Tab")
        name, is_marked = page.evaluate(
            """() => {
                 const at = document.activeElement;
                 const isMarked =
                   at === document.body || getComputedStyle(at).outlineStyle !== "none";
                 const { do: action, decide, id } = at.dataset;
                 return [at.id || action || decide || id || at.textContent, isMarked]; }"""
        )
        reached.add(name)
        if not is_marked:
            bare.append(name)
    wanted = {
        *("in", "out", "home", "native", "rotate", "full", "overlay", "flicker", "beside", "draw"),
        *("opacity", "threshold", "thresholdvalue", "colormap", "hidebelow", "outlines", "hatch"),
        *("accepted", "rejected", "undecided", "label", "comment", "reviewer", "save", "geojson"),
        *("theme", "report"),
    }
    assert wanted - reached == set()
    assert bare == []


def test_the_audit_finds_what_it_is_there_for(page: Any) -> None:
    page.goto("/classify")
    page.wait_for_selector("#card td")
    assert page.evaluate(AUDIT) == []
    page.evaluate(
        """() => {
             const add = (tag, set) => {
               const made = Object.assign(document.createElement(tag), set);
               document.querySelector("main").append(made);
               return made;
             };
             add("p", { textContent: "Pale words" }).style.color = "#999";
             add("button", {});
             add("input", { type: "text" });
             add("img", { src: "/static/icon.svg" });
             add("div", { id: "card" }); }"""
    )
    faults = " | ".join(page.evaluate(AUDIT))
    for words in (
        "contrast 2.",
        "Pale words",
        "name: <button>",
        "name: <input",
        "without alt",
        "id twice: card",
    ):
        assert words in faults, faults


def test_a_duplicate_leads_to_the_slide_whose_results_it_shows(page: Any, own_run: Run) -> None:
    page.goto("/")
    page.wait_for_selector(".card")
    area = page.locator(".card[data-id=gone] dd").first.inner_text()
    assert f"IDC {area} in all" not in page.locator("#summary").inner_text()  # there are two
    say_that_it_is_a_duplicate(own_run.out / "slides/gone", of="case 1")
    page.goto("/")
    page.wait_for_selector(".card")
    assert f"IDC {area} in all" in page.locator("#summary").inner_text()  # the same tissue once
    card = page.locator(".card[data-id=gone]")
    assert "The same content as case 1" in card.inner_text()
    assert "The same content" not in page.locator(".card[data-id='case 1']").inner_text()
    open_slide(page, "gone")
    (words,) = [
        w for w in page.locator("#warnings .warn").all_inner_texts() if "The same content" in w
    ]
    assert "Each of the two has a review of its own" in words
    page.click("#warnings a")
    page.wait_for_url("**/slides/case%201")
