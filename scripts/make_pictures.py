#!/usr/bin/env python3
"""Make the README's pictures anew, from the synthetic slide: the overlay, and the viewer's page.

    .venv/bin/python scripts/make_pictures.py

Needs chromium (`apt install chromium`, or CHROMIUM=PATH) and the development packages
(`scripts/test.py --setup-only`). No patient's tissue is in them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from wsi_pipeline import make_demo_slide, run_slide
from wsi_pipeline.web import vendor

PICTURES = Path(__file__).with_name("pictures")
OVERLAY_PX = 1100  # its width
WINDOW_PX = (1280, 800)
QUALITY = 72
MAX_BYTES = 300_000
"""Of both together: they are committed."""


def main() -> None:
    """Draw the slide, run it and take the pictures."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise SystemExit("There is no chromium: apt install chromium, or set CHROMIUM")
    if not vendor.FOLDER.is_dir():
        raise SystemExit("The viewer is not installed: python -m wsi_pipeline.web.vendor")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        slide, out = Path(folder, "synthetic.tif"), Path(folder, "run")
        make_demo_slide(slide)
        result = run_slide(slide, out)
        overlay = Image.open(result.folder / "overlay.png").convert("RGB")
        overlay.thumbnail((OVERLAY_PX, OVERLAY_PX), Image.Resampling.LANCZOS)
        save(overlay, PICTURES / "overlay.webp")
        take_viewer(out, slide.stem, chromium, Path(folder, "viewer.png"))
        save(Image.open(Path(folder, "viewer.png")).convert("RGB"), PICTURES / "viewer.webp")
    n_bytes = sum(path.stat().st_size for path in PICTURES.glob("*.webp"))
    print(f"{PICTURES}: {n_bytes / 1e3:.0f} kB")
    if n_bytes > MAX_BYTES:
        raise SystemExit(f"more than {MAX_BYTES / 1e3:.0f} kB: lower QUALITY")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as WebP, which every browser shows and which is half of a JPEG."""
    picture.save(path, quality=QUALITY, method=6)


def take_viewer(out: Path, slide_id: str, chromium: str, path: Path) -> None:
    """Take the viewer's page of a slide, half way into its largest region."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(PICTURES.parents[1]))  # the tests' helpers are in no package
    from tests.web.browsing import open_slide, served
    from wsi_pipeline.web.app import create_app

    with served(create_app(out, slides_dir=out.parent)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        size = {"width": WINDOW_PX[0], "height": WINDOW_PX[1]}
        page = browser.new_page(viewport=size, base_url=address, color_scheme="light")
        open_slide(page, slide_id)
        page.keyboard.press("n")  # the first region
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)  # the viewer glides there and its tiles fade in
        page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    main()
