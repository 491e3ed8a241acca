"""The preview page for a browser: the picture, and its words and numbers to search and copy."""

from __future__ import annotations

import base64
import html
from typing import Final

from wsi_pipeline import NOTICE
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.render.png import png_bytes
from wsi_pipeline.render.preview import PreviewPage

_STYLE: Final = """
:root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;
max-width:115rem;padding:0 1.5rem}h1{font-size:1.4rem;margin:0}
h2{font-size:1rem;margin:1rem 0 .3rem}
p{margin:.2rem 0}.sub,footer{opacity:.75}.problem{color:#a01010;font-weight:600}
.caution{color:#8a5a00;font-weight:600}.good{color:#1b6e3c;font-weight:600}
@media(prefers-color-scheme:dark){.problem{color:#ff8a80}.caution{color:#f0c060}.good{color:#7fd6a0}}
img{max-width:100%;margin:1rem 0;border:1px solid #8886;background:#fff}
.tables{display:flex;flex-wrap:wrap;gap:0 3rem}table{border-collapse:collapse}
td,th{padding:.15rem 1.2rem .15rem 0;text-align:left;vertical-align:top;font-weight:400}
th{opacity:.75}td{font-variant-numeric:tabular-nums}
"""


def preview_html(page: PreviewPage, picture: RgbArray) -> str:
    """Return the page as one HTML file that needs no other and no network.

    Parameters
    ----------
    page : PreviewPage
    picture : ndarray of uint8, shape (H, W, 3)
        From `draw_preview`.
    """
    encoded = base64.b64encode(png_bytes(picture)).decode()
    title = html.escape(page.title)
    verdict = [
        *(f'<p class="problem">{html.escape(words)}</p>' for words in page.problems),
        *(f'<p class="caution">{html.escape(words)}</p>' for words in page.cautions),
    ] or ['<p class="good">Nothing speaks against this slide</p>']
    tables = [_table(heading, rows) for heading, rows in page.tables]
    tables += [_table("Normalization", _method_rows(page))] if page.methods else []
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}: preview</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body><h1>{title}</h1><p class="sub">{html.escape(page.subtitle)}</p>
{"".join(verdict)}
<img src="data:image/png;base64,{encoded}" alt="Tissue mask, artifacts and stain of {title}">
<div class="tables">{"".join(tables)}</div>
<footer><p>{html.escape(NOTICE)} {html.escape(page.footer)}</p></footer></body></html>
"""


def _method_rows(page: PreviewPage) -> tuple[tuple[str, str], ...]:
    return tuple((method.name, "; ".join(method.notes)) for method in page.methods)


def _table(heading: str, rows: tuple[tuple[str, str], ...]) -> str:
    lines = (
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<section><h2>{html.escape(heading)}</h2><table>{''.join(lines)}</table></section>"
