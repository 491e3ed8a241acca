"""index.html: the archive at a glance, from the disk, without a network."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, Final

from wsi_pipeline.outputs import NOTICE

_STYLE: Final = """
:root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;
max-width:90rem;padding:0 1.5rem}h1{font-size:1.4rem;margin:0 0 .2rem}
p.notice{margin:0 0 1.2rem;opacity:.75}
table{border-collapse:collapse;width:100%}th,td{padding:.45rem .7rem;text-align:left;
border-bottom:1px solid #8884;vertical-align:middle}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums}img{width:9rem;max-height:9rem;object-fit:contain;display:block}
.failed{color:#c22}.empty{opacity:.7}
"""


def gallery_html(rows: Iterable[dict[str, Any]]) -> str:
    """Return the page: one line a slide, the largest IDC area first, failures on top."""
    order = {"failed": 0, "running": 1, "queued": 1, "done": 2, "empty": 3}
    ordered = sorted(
        rows,
        key=lambda row: (order.get(row["state"], 1), -(row.get("idc_mm2") or 0), row["slide_id"]),
    )
    body = "\n".join(map(_line, ordered))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>wsi_pipeline: slides</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body><h1>{len(ordered)} slides</h1><p class="notice">{html.escape(NOTICE)}</p>
<table><thead><tr><th>Overlay</th><th>Slide</th><th>State</th><th class="n">IDC mm²</th>
<th class="n">Tissue mm²</th><th class="n">IDC share</th><th class="n">Regions</th>
<th class="n">Max. probability</th><th>Files</th></tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


def _line(row: dict[str, Any]) -> str:
    folder = f"slides/{html.escape(row['slide_id'], quote=True)}"
    done = row["state"] == "done"
    picture = (
        f'<a href="{folder}/overlay.png"><img loading="lazy" src="{folder}/overlay.png" '
        f'alt="Overlay of {html.escape(row["slide_id"], quote=True)}"></a>'
        if done
        else ""
    )
    links = (
        " · ".join(
            f'<a href="{folder}/{name}">{name}</a>' for name in ("regions.geojson", "patches.csv")
        )
        if done
        else f'<a href="{folder}/status.json">status.json</a>'
    )
    reason = " ".join(str(row.get(name) or "") for name in ("error", "advice")).strip()
    state = html.escape(row["state"]) + (
        f"<br><small>{html.escape(reason)}</small>" if reason else ""
    )
    figures = (
        _figure(row.get("idc_mm2"), ".2f"),
        _figure(row.get("tissue_mm2"), ".1f"),
        _figure(row.get("idc_share"), ".1%"),
        _figure(row.get("regions"), "d"),
        _figure(row.get("max_probability"), ".2f"),
    )
    cells = "".join(f'<td class="n">{figure}</td>' for figure in figures)
    return (
        f"<tr><td>{picture}</td><td>{html.escape(row['slide_id'])}</td>"
        f'<td class="{html.escape(row["state"])}">{state}</td>{cells}<td>{links}</td></tr>'
    )


def _figure(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)
