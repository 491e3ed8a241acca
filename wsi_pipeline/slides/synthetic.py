"""The former place of `wsi_pipeline.demo`, for programs that import it from here."""

from importlib import import_module
from typing import Any

_NAMES = ("DemoTruth", "make_demo_slide")


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("wsi_pipeline.demo"), name)
