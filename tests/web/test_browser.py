"""The application in a real browser: Debian's chromium, or whichever CHROMIUM names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.browsing import (
    canvas_color,
    needs_browser,
    open_slide,
    screen_point,
    served,
    stored_review,
)
from tests.web.serving import DarknessClassifier, Run
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.app import create_app

pytestmark = needs_browser
TOKEN = "a-token-that-is-long"  # not a secret


def test_the_archive_is_filtered_sorted_and_leads_to_a_slide(page: Any) -> None:
    page.goto("/")
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 4
    page.fill("#find", "CASE")
    assert page.locator(".card .title a").all_text_contents() == ["case 1"]
    page.fill("#find", "zzz")
    assert "No slide fits" in page.inner_text("#blank")
    page.click("#clear")
    page.select_option("#state", "failed")
    assert "No mpp. Give --mpp." in page.text_content(".card")
    page.select_option("#state", "")
    page.select_option("#sort", "slide_id")
    names = page.locator(".card .title a").all_text_contents()
    assert names == sorted(names)
    said = "Familiarity to the model cannot be known: it was not measured."
    assert page.locator(".card .caution").all_text_contents() == [said, said]  # those with a map
    page.click("text=case 1")
    page.wait_for_selector("body[data-ready]")
    assert page.inner_text("#title") == "case 1"
    assert said in page.inner_text("#warnings")


def test_opacity_threshold_and_colors_act_on_the_map_at_once(page: Any) -> None:
    open_slide(page)
    hot, mild = (2000, 1200), (3400, 2600)
    assert canvas_color(page, *hot)[3] == pytest.approx(0.6 * 255, abs=3)
    page.fill("#opacity", "0.2")
    assert canvas_color(page, *hot)[3] == pytest.approx(0.2 * 255, abs=3)
    assert canvas_color(page, *mild)[3] == 0
    page.fill("#opacity", "1")
    page.fill("#threshold", "0.25")
    assert canvas_color(page, *mild)[3] == 255
    page.wait_for_selector("#regions li:nth-child(2)")
    before = canvas_color(page, *hot)
    page.select_option("#colormap", "magma")
    assert canvas_color(page, *hot) != before
    page.focus("[data-do=overlay]")
    page.keyboard.press("o")
    assert canvas_color(page, *hot)[3] == 0


def test_zoom_moves_the_scale_bar_and_the_address_leads_back(page: Any) -> None:
    open_slide(page)
    page.wait_for_selector("#scale:not([hidden])")
    far = page.inner_text("#scale")
    page.locator("#osd").click(position={"x": 300, "y": 300})
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_timeout(100)
    near = page.inner_text("#scale")
    assert (far, near) == ("500 µm", "50 µm")
    assert "z=" in page.url
    zoom = page.inner_text("#zoom")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.wait_for_timeout(100)
    assert page.inner_text("#zoom") == zoom


def test_the_cursor_tells_probability_and_region(page: Any) -> None:
    open_slide(page)
    page.mouse.move(*screen_point(page, 2000, 1200))
    page.wait_for_selector("#tip:not([hidden])")
    assert "0.64 mm²" in page.inner_text("#tip")
    assert "mean p 0.94" in page.inner_text("#tip")
    assert page.inner_text("#cursor").endswith("p 0.938")
    page.mouse.move(*screen_point(page, 350, 1500))
    assert page.inner_text("#cursor").endswith("not classified")
    assert page.is_hidden("#tip")


def test_a_region_is_clicked_accepted_saved_and_there_after_a_reload(
    page: Any, own_run: Run
) -> None:
    open_slide(page)
    page.mouse.click(*screen_point(page, 2000, 1200))
    page.wait_for_selector("#editor:not([hidden])")
    page.click("[data-decide=accepted]")
    page.fill("#label", "DCIS")
    page.fill("#comment", "Solid, with necrosis")
    assert "1 unsaved change" in page.inner_text("#reviewstate")
    page.click("#save")
    assert "name is missing" in page.inner_text("#conflict")
    page.fill("#reviewer", "Dr. Test")
    page.click("#save")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")
    (item,) = stored_review(own_run)["items"].values()
    assert (item["decision"], item["label"], item["reviewer"]) == ("accepted", "DCIS", "Dr. Test")
    assert item["comment"] == "Solid, with necrosis"
    page.reload()
    page.wait_for_selector("#regions .mark.accepted")
    page.click("#regions button")
    assert page.input_value("#comment") == "Solid, with necrosis"


def test_by_the_keyboard_alone_a_region_is_rejected_and_one_drawn(page: Any, own_run: Run) -> None:
    open_slide(page)
    page.keyboard.press("n")
    page.keyboard.press("x")
    page.keyboard.press("d")
    for key in (" ", "ArrowRight", " ", "ArrowDown", " "):
        page.keyboard.press(key)
        page.wait_for_timeout(50)
    page.keyboard.press("Enter")
    page.fill("#reviewer", "Dr. Key")
    page.keyboard.press("Control+s")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")
    items = stored_review(own_run)["items"].values()
    assert {(item["kind"], item["decision"]) for item in items} == {
        ("detected", "rejected"),
        ("drawn", "accepted"),
    }


def test_an_outline_is_drawn_with_the_mouse_and_shown_again(page: Any, own_run: Run) -> None:
    open_slide(page)
    page.click("[data-do=draw]")
    for corner in ((800, 1600), (1600, 1600), (1600, 2400), (800, 2400)):
        page.mouse.click(*screen_point(page, *corner), delay=30)
        page.wait_for_timeout(350)  # two fast clicks would be a double click
    page.keyboard.press("Enter")
    page.wait_for_selector("#editor:not([hidden])")
    page.fill("#reviewer", "Dr. Draw")
    page.click("#save")
    page.wait_for_selector("#reviewstate:has-text('Saved by')")
    (item,) = stored_review(own_run)["items"].values()
    assert item["measurements"]["Area mm^2"] == pytest.approx(0.64, rel=0.05)
    page.reload()
    page.wait_for_selector("#regions button:has-text('Annotation')")


def test_two_browsers_do_not_overwrite_each_other(page: Any, address: str, own_run: Run) -> None:
    open_slide(page)
    other = page.context.new_page()
    other.goto(f"{address}/slides/case 1")
    other.wait_for_selector("#regions button")
    for name, opened, key in (("Dr. A", page, "a"), ("Dr. B", other, "x")):
        opened.bring_to_front()
        opened.keyboard.press("n")
        opened.keyboard.press(key)
        opened.fill("#reviewer", name)
        opened.click("#save")
    other.wait_for_selector("text=Dr. A has saved")
    (item,) = stored_review(own_run)["items"].values()
    assert item["decision"] == "accepted"
    other.click("button:has-text('Load their version')")
    other.wait_for_selector("text=your changes are kept")
    other.click("#save")
    other.wait_for_selector("#reviewstate:has-text('Saved by')")
    review = stored_review(own_run)
    assert [entry["reviewer"] for entry in review["history"]] == ["Dr. A", "Dr. B"]
    assert next(iter(review["items"].values()))["decision"] == "rejected"


def test_side_by_side_keeps_both_views_on_one_place(page: Any) -> None:
    open_slide(page)
    page.keyboard.press("s")
    page.wait_for_selector("#plain canvas")
    page.wait_for_timeout(300)
    page.keyboard.press("n")
    page.wait_for_timeout(100)
    widths = [page.locator(f"#{view}").bounding_box()["width"] for view in ("plain", "main")]
    assert widths[0] == pytest.approx(widths[1], abs=3)
    page.keyboard.press("r")
    page.keyboard.press("f")
    page.wait_for_timeout(700)
    page.keyboard.press("f")
    assert page.get_attribute("[data-do=overlay]", "aria-pressed") == "true"


def test_a_slide_whose_file_is_gone_and_one_that_failed_say_so(page: Any) -> None:
    open_slide(page, "gone")
    assert "--slides" in page.inner_text("#warnings")
    page.goto("/slides/failed")
    page.wait_for_selector(".still")
    assert "No mpp. Give --mpp." in page.inner_text("#warnings")
    assert page.inner_text("#regioncount") == "Not looked for"  # which is not "none"


def test_without_the_viewer_the_page_says_how_to_get_it(page: Any) -> None:
    page.route("**/vendor/**", lambda route: route.fulfill(status=200, body=""))
    page.goto("/slides/case 1")
    page.wait_for_selector(".still img")
    assert "wsi_pipeline.web.vendor" in page.inner_text(".still")
    page.wait_for_selector("#regions button")


def test_a_patch_is_classified_on_its_page(page: Any, picture: Callable[..., bytes]) -> None:
    page.goto("/classify")
    page.wait_for_selector("#card td")
    upload = {"name": "patch.png", "mimeType": "image/png", "buffer": picture()}
    page.set_input_files("#file", upload)
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#probability") == "0.800"
    assert page.locator("#calls strong").all_text_contents() == ["IDC", "IDC"]
    assert "Not for diagnosis" in page.inner_text("#cautions")
    page.set_input_files("#file", {**upload, "buffer": b"not a picture"})
    page.wait_for_selector("[role=alert]")
    assert "no readable picture" in page.inner_text("#problem")


def test_the_report_shows_regions_decisions_and_versions(page: Any) -> None:
    page.goto("/slides/case 1/report")
    page.wait_for_selector("h2")
    text = page.inner_text("#report")
    for words in ("IDC 1", "0.64 mm²", "not reviewed", "darkness", "Not for diagnosis"):
        assert words in text
    page.emulate_media(media="print")
    assert page.is_hidden(".bar")


def test_the_theme_follows_the_choice(page: Any) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/")
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.click("#theme")
    dark = page.evaluate(back)
    assert dark != light
    page.reload()
    assert page.evaluate(back) == dark


@pytest.mark.parametrize(
    "path", ["/", "/slides/case 1", "/slides/case 1/report", "/classify", "/slides/none", "/enter"]
)
def test_text_contrast_is_aa_and_controls_have_names(page: Any, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")
    audit = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(audit) == []
    page.wrong.clear()  # a page that is not there is logged by the browser


def test_the_token_is_typed_in_once_and_then_everything_works(
    browser: Any, run: Run, classifier: DarknessClassifier
) -> None:
    app = create_app(run.out, model=classifier, access=Access(TOKEN))
    with served(app) as address:
        page = browser.new_page()
        page.goto(f"{address}/slides/case 1")
        assert page.url.endswith("/enter")
        page.fill("#token", "not the token")
        page.press("#token", "Enter")
        page.wait_for_selector("[role=alert]:has-text('not right')")
        page.fill("#token", TOKEN)
        page.click("text=Enter")
        page.wait_for_selector(".card img")
        page.goto(f"{address}/slides/case 1")
        page.wait_for_selector("body[data-ready]")
        page.close()
