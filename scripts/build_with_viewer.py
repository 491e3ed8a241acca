"""Build backend: setuptools' own, after bringing the slide viewer into the package.

Without a network to npm the build goes on, and the viewer's page says what is missing.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - a build backend is a module of hooks

VENDOR = Path(__file__).parents[1] / "wsi_pipeline" / "web" / "vendor.py"


def _vendor() -> ModuleType:
    """Return wsi_pipeline.web.vendor without importing the package: its libraries are not here."""
    spec = importlib.util.spec_from_file_location("vendor", VENDOR)
    if spec is None or spec.loader is None:
        raise ImportError(f"{VENDOR} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _bring_viewer() -> None:
    vendor = _vendor()
    try:
        vendor.install()
    except vendor.VendorError as error:
        sys.stderr.write(f"warning: built without the slide viewer: {error}\n{vendor.ADVICE}\n")


Settings = dict[str, str | list[str] | None] | None


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _bring_viewer()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _bring_viewer()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    _bring_viewer()
    return build_meta.build_sdist(sdist_directory, config_settings)
