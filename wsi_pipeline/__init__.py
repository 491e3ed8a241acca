"""Delineate invasive ductal carcinoma on whole-slide images. Research use only.

>>> from wsi_pipeline import open_slide, run_slide, ProbabilityMap
>>> result = run_slide("case.tif", "out")
>>> result.state
'done'
>>> map_ = ProbabilityMap.open(result.map_path)
>>> map_.values.shape
(8, 11)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi_pipeline.demo import make_demo_slide
    from wsi_pipeline.errors import WsiPipelineError
    from wsi_pipeline.maps import ProbabilityMap
    from wsi_pipeline.pipeline.run import run_slide
    from wsi_pipeline.slides import open_slide

__version__ = "0.1.0"

NOTICE = "Research use only. Not for diagnosis."
"""Stands wherever a result is shown."""

__all__ = ["ProbabilityMap", "WsiPipelineError", "make_demo_slide", "open_slide", "run_slide"]

_HOMES = {
    "ProbabilityMap": "wsi_pipeline.maps",
    "WsiPipelineError": "wsi_pipeline.errors",
    "make_demo_slide": "wsi_pipeline.demo",
    "open_slide": "wsi_pipeline.slides",
    "run_slide": "wsi_pipeline.pipeline.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: importing the package stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names too that no one has asked for yet."""
    return sorted({*globals(), *__all__})
