"""The preview page for a browser: the picture, and its words and numbers to search and copy."""

from __future__ import annotations

import base64

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.render.png import png_bytes
from wsi_pipeline.render.preview import PreviewPage
from wsi_pipeline.render.templates import page as html_page


def preview_html(page: PreviewPage, picture: RgbArray) -> str:
    """Return the page as one HTML file that needs no other and no network.

    Parameters
    ----------
    page : PreviewPage
    picture : ndarray of uint8, shape (H, W, 3)
        From `draw_preview`.
    """
    methods = tuple((method.name, "; ".join(method.notes)) for method in page.methods)
    return html_page(
        "preview",
        page=page,
        picture=base64.b64encode(png_bytes(picture)).decode(),
        tables=[*page.tables, *([("Normalization", methods)] if methods else [])],
    )
