"""Pages of HTML: one environment in which everything is escaped, one style, no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wsi_pipeline import NOTICE


def page(name: str, **values: Any) -> str:
    """Return a page as one HTML file that needs no other but its pictures.

    Parameters
    ----------
    name : str
        A template of this folder, without ``.html``.
    **values
        What it shows: text is escaped, a name that is missing is an error.
    """
    return environment().get_template(f"{name}.html").render(**values)


@cache
def environment() -> Environment:
    """Return the environment of all pages."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["notice"] = NOTICE
    return made
