"""Every page on paper, on a phone and on a desktop, in light and dark: whole words, no fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import npm_tools
import numpy as np
import pypdfium2
import pytest

from tests.web.browsing import needs_browser, say_that_it_is_a_duplicate
from tests.web.serving import Run
from wsi_pipeline.results.summary import write_summary
from wsi_pipeline.web.vendor import VendorError

pytestmark = needs_browser
PAGES = ["/", "/slides/case 1", "/slides/case 1/report", "/classify", "/slides/none"]
A4_POINTS = (595, 842)
ACCEPTED, BY_HAND = (0x3D, 0xDC, 0x84), (0x5C, 0xC8, 0xFF)
THUMBNAIL_GRAY = (230, 230, 230)
UNDECIDED = (0xFF, 0xD8, 0x4D)
SQUARE = [[1000.0, 1700.0], [1800.0, 1700.0], [1800.0, 2500.0], [1000.0, 2500.0]]
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3

BROKEN_WORDS = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.checkVisibility() || node.parentElement.closest(".free, h1")) continue;
    for (const { 0: word, index } of node.textContent.matchAll(/[\\p{L}\\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1) broken.push(word);
    }
  }
  return broken;
}"""


@pytest.fixture
def reviewed(page: Any, own_run: Run) -> Any:
    """Return a page at a slide whose region is accepted, with an outline beside it."""
    page.goto("/slides/case 1")
    page.wait_for_selector("body[data-ready]")
    (region,) = json.loads((own_run.out / "slides/case 1/regions.geojson").read_text())["features"]
    ids = {"found": region["id"], "drawn": "9c055be5-2052-5cc9-9d91-2eac40670904"}
    changes = [
        {"id": ids["found"], "decision": "accepted", "comment": f"Solid. {LONG}"},
        {"id": ids["drawn"], "decision": "undecided", "label": "DCIS", "outline": SQUARE},
    ]
    body = {"revision": 0, "reviewer": "Dr. Ada Paper", "changes": changes}
    status = page.evaluate(
        """async (body) => (await fetch("/api/slides/case 1/review", { method: "PUT",
             headers: { "content-type": "application/json", "x-wsi-pipeline": "1" },
             body: JSON.stringify(body) })).status""",
        body,
    )
    assert status == 200
    page.goto("/slides/case 1/report")
    page.wait_for_selector("body[data-ready]")
    return page


def share_of(picture: np.ndarray[Any, Any], color: tuple[int, int, int]) -> float:
    """Return the share of pixels of about this color."""
    off = np.abs(picture.astype(int) - color).max(axis=2)
    return float((off < 24).mean())


def test_the_printed_report_is_a4_with_decisions_outlines_numbers_and_whole_words(
    reviewed: Any,
) -> None:
    document = pypdfium2.PdfDocument(reviewed.pdf(prefer_css_page_size=True))
    assert 1 <= len(document) <= 2
    texts, pictures = [], []
    for sheet in document:
        assert sheet.get_size() == pytest.approx(A4_POINTS, abs=1)
        texts.append(sheet.get_textpage().get_text_range())
        pictures.append(sheet.render(scale=2).to_numpy()[..., :3][..., ::-1])
    first = pictures[0]
    assert share_of(first, ACCEPTED) > 2e-4  # outline and legend
    assert share_of(first, BY_HAND) > 2e-4
    assert share_of(first, THUMBNAIL_GRAY) > 0.01  # the slide itself
    for sheet in pictures:  # nothing reaches the edge of the paper
        edge = np.concatenate([sheet[:, :12].reshape(-1, 3), sheet[:, -12:].reshape(-1, 3)])
        assert edge.min() > 240
    words = set(" ".join(texts).split())
    for word in ("Reviewer", "Paper", "accepted", "undecided", "DCIS", "Annotation", "diagnosis."):
        assert word in words
    assert "1 / " in texts[0]
    assert texts[0].index("cannot be known") < texts[0].index("IDC by the program")  # the figures


def test_a_decision_changes_the_reports_picture(page: Any, own_run: Run) -> None:
    page.goto("/slides/case 1/report")
    page.wait_for_selector("body[data-ready]")
    document = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    picture = document[0].render(scale=2).to_numpy()[..., :3][..., ::-1]
    assert share_of(picture, UNDECIDED) > 4 * share_of(picture, ACCEPTED)


def test_the_reviewer_has_a_column(reviewed: Any) -> None:
    heads = reviewed.locator("#report .wide th").all_text_contents()
    cells = reviewed.locator("#report section .wide tbody tr:first-child td").all_text_contents()
    assert cells[heads[-9:].index("Reviewer")] == "Dr. Ada Paper"


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_no_word_of_the_report_is_broken_and_nothing_sticks_out(reviewed: Any, width: int) -> None:
    reviewed.set_viewport_size({"width": width, "height": 900})
    assert reviewed.evaluate(BROKEN_WORDS) == []
    assert reviewed.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(page: Any, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)
    page.wait_for_load_state("networkidle")
    page.wrong.clear()  # a page that is not there is logged by the browser
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.fixture(scope="session")
def axe() -> Iterator[str]:
    try:
        yield npm_tools.bring(npm_tools.AXE).read_text(encoding="utf-8")
    except VendorError as error:
        pytest.skip(f"axe-core cannot be fetched here: {error}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_fault_and_no_contrast_that_it_cannot_judge(
    page: Any, axe: str, own_run: Run, path: str, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    if path == "/slides/case 1":  # all that the page may hold: neighbors, the note of a duplicate
        say_that_it_is_a_duplicate(own_run.out / "slides/case 1", of="gone")
        page.goto("/")
        page.wait_for_selector(".card")
    page.goto(path)
    page.wait_for_load_state("networkidle")
    if path == "/slides/case 1":
        page.wait_for_selector("body[data-ready]")
        page.keyboard.press("n")  # the editor takes part
        page.keyboard.press("a")
        # what is scrolled away lies under the header, where axe cannot judge it
        page.evaluate("document.querySelector('.panel').scrollTop = 0")
        assert page.locator("#before, #after").filter(visible=True).count() > 0
    page.evaluate(axe)
    found = page.evaluate("axe.run({ resultTypes: ['violations', 'incomplete'] })")
    words = [
        f"{kind}: {rule['id']} at {node['target']}"
        for kind in ("violations", "incomplete")
        for rule in found[kind]
        for node in rule["nodes"]
    ]
    page.wrong.clear()
    assert words == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_the_gallery_on_the_disk(
    page: Any, axe: str, own_run: Run, scheme: str
) -> None:
    write_summary(own_run.out)
    page.emulate_media(color_scheme=scheme)
    page.goto((own_run.out / "index.html").as_uri())
    page.wait_for_selector("tbody tr")
    page.wrong.clear()  # the pictures of this run's slides are not all there
    page.evaluate(axe)
    found = page.evaluate("axe.run({ resultTypes: ['violations', 'incomplete'] })")
    contrast = [one for one in found["incomplete"] if one["id"] == "color-contrast"]
    assert [one["id"] for one in (*found["violations"], *contrast)] == []


def test_the_gallery_on_the_disk_is_searched_by_name_problem_and_note(
    page: Any, own_run: Run
) -> None:
    write_summary(own_run.out)
    page.goto((own_run.out / "index.html").as_uri())
    page.wait_for_selector("tbody tr")
    page.wrong.clear()  # the pictures of this run's slides are not all there
    for words, found in (("CASE", 1), ("no mpp", 1), ("familiarity", 2), ("zzz", 0)):
        page.fill("#words", words)
        assert page.locator("tbody tr").count() == found, words
    page.wrong.clear()
